"""The section of `report.html` on the confirmation: how it decides, and the replicates' scores."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from results.report.charts import plot_replicates
from results.report.markup import number, paragraphs, table
from results.report.run_data import RunData
from results.rung_scores import mean
from results.verdict import describe_sensitivity, format_parameters

_RULE_1 = (
    "A replicate trains every candidate again with a fresh seed and a fresh split. The default"
    " comes first. These scores were used for the selection."
)
_RULE_2 = (
    "A replicate trains the candidates from scratch to the full budget with a fresh seed and a"
    " fresh split. After each replicate the finalist furthest behind is dropped, until one is left."
    " The default comes first. These scores were used for the selection."
)
_DEFAULT_ALONE = (
    "No other configuration ended the search with a score, so that the default alone was trained on"
    " replicates: each with a fresh seed and a fresh split."
)


def describe_confirmation(data: RunData) -> str:
    """Write how the confirmation decides, and the scores of each candidate on the replicates."""
    found = data.record.get("confirmation")
    if not found:
        return paragraphs(
            ["Not confirmed: a search score is the best of many trials and therefore too high."]
        )
    candidates, label = found["candidates"], data.score_label
    header = ["candidate", "configuration", f"{label} on each replicate", "mean", "standard error"]
    header += ["lead over the default", "dropped"]
    names = [_candidate_name(candidate, data) for candidate in candidates]
    rows = [_row(name, one, candidates[0]) for name, one in zip(names, candidates, strict=True)]
    return (
        paragraphs([*_describe_rule(data.record), *describe_sensitivity(found)])
        + plot_replicates(names, candidates, label)
        + table(header, rows, caption="Candidates on the replicates")
    )


def _describe_rule(record: Mapping[str, Any]) -> Iterator[str]:
    found = record["confirmation"]
    if record.get("decision_rule", 1) == 1:
        yield _RULE_1
        return
    required = found["required_probabilities"]
    if len(found["candidates"]) == 1:
        yield _DEFAULT_ALONE
        return
    yield _RULE_2
    thresholds = [f"{probability:.1%} after {num}" for num, probability in required.items()]
    yield (
        "A finalist replaces the default if the probability that its lead is real is above"
        f" {', '.join(thresholds)} replicates. The probability is that of Student's t for the mean"
        " difference on shared replicates; its standard error accounts for rows that the splits"
        " share."
    )
    yield from _describe_lead(found["winner_beats_default"])


def _describe_lead(lead: Mapping[str, Any] | None) -> Iterator[str]:
    if lead is None:
        return
    num_replicates, points = lead["draws"], lead["difference"] * 100
    ahead = "leads the default by" if points >= 0 else "is behind the default by"
    yield (
        f"On {num_replicates} shared replicates the best finalist {ahead} {abs(points):.2f} points;"
        f" the probability that this sign is right is {_percent(lead['probability_of_lead'])}."
    )


def _percent(probability: float) -> str:
    return "above 99.9%" if probability > 0.9995 else f"{probability:.1%}"


def _row(name: str, candidate: Mapping[str, Any], default: Mapping[str, Any]) -> list[str]:
    last = candidate.get("dropped_after")
    scores = candidate["score"][:last]
    return [
        name,
        format_parameters(candidate["parameters"]),
        ", ".join(number(score) or "none" for score in scores),
        number(candidate["mean"]),
        number(candidate["standard_error"]),
        "" if candidate is default else _lead(candidate["score"], default["score"]),
        "" if last is None else f"after replicate {last}",
    ]


def _lead(scores: Sequence[float | None], of_default: Sequence[float | None]) -> str:
    """Return the mean difference over the replicates on which both have a score, in points."""
    differences = [
        score - other
        for score, other in zip(scores, of_default, strict=False)
        if score is not None and other is not None
    ]
    return f"{mean(differences) * 100:+.2f} points" if differences else ""


def _candidate_name(candidate: Mapping[str, Any], data: RunData) -> str:
    default = data.record.get("default") or {}
    if candidate["parameters"] == default.get("parameters"):
        return "default"
    same = [t for t in data.searched if t.parameters == candidate["parameters"]]
    return same[0].trial_id if same else format_parameters(candidate["parameters"])
