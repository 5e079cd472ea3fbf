"""The section of `report.html` on the confirmation: how it decides, and the replicates' scores."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from results.parameter_values import format_parameters, short_model_names
from results.report.charts import plot_replicates
from results.report.markup import fold, number, paragraphs, table
from results.report.run_data import RunData
from results.rung_scores import mean
from results.trial_states import SearchStatus
from results.verdict import (
    confirmed_score,
    describe_sensitivity,
    describe_significance,
    when_taken,
)

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
    """Write whether the winner is better than the default, and the scores on the replicates."""
    found, record = data.record.get("confirmation"), data.record
    if not found:
        return paragraphs([_describe_missing(record)])
    candidates, label = found["candidates"], data.score_label
    header = ["candidate", "configuration", f"{label} on each replicate", "mean", "standard error"]
    header += ["lead over the default", "dropped"]
    names = [_candidate_name(candidate, data) for candidate in candidates]
    models = data.model_names
    rows = [
        _row(name, one, candidates[0], models) for name, one in zip(names, candidates, strict=True)
    ]
    return (
        paragraphs(
            [*_describe_outcome(record), *_compare_scores(record, is_tested=data.test is not None)]
        )
        + plot_replicates(names, candidates, label)
        + fold("Scores on each replicate", table(header, rows))
        + fold(
            "How the confirmation decides",
            paragraphs([*_describe_rule(record), *describe_sensitivity(found)]),
        )
    )


def _describe_missing(record: Mapping[str, Any]) -> str:
    if record["status"] == SearchStatus.RUNNING:
        return "The best trials are trained on replicates when the search has ended."
    return "Not confirmed: a search score is the best of many trials and therefore too high."


def _describe_outcome(record: Mapping[str, Any]) -> Iterator[str]:
    found, best = record["confirmation"], record.get("best")
    lead = found.get("winner_beats_default")
    if best and lead and lead.get("replaces_default"):
        num_replicates = lead["draws"]
        values = format_parameters(best["parameters"], short_model_names(record))
        yield (
            f"The winner, {best['trial_id']} ({values}), replaces"
            f" the default: {_describe_lead(lead)} on {num_replicates} shared replicates,"
            f" {describe_significance(lead)}."
        )
    elif verdict := found.get("verdict"):
        yield f"{verdict}."


def _describe_lead(lead: Mapping[str, Any]) -> str:
    interval = lead.get("interval")  # older records have none
    points = f"{lead['difference'] * 100:+.1f} points"
    if not interval or interval[0] == interval[1]:
        return points
    low, high = (end * 100 for end in interval)
    return f"{points} (95 % interval {low:+.1f} to {high:+.1f})"


def _compare_scores(record: Mapping[str, Any], *, is_tested: bool) -> Iterator[str]:
    """Explain why the winner's score in the search, its mean and its test score differ."""
    confirmed = confirmed_score(record, "best") if record.get("best") else None
    if confirmed is None:
        return
    taken, count = when_taken(record, "best"), len(record["confirmation"]["replicates"])
    searched = number(record["best"]["search_score"]) or "none"
    link, test, first = ",", " and its test score", "the first two"
    quoted = "quote the test score alone"
    if not is_tested:
        link, test, first = " and", "", "both"
        quoted = "only a score on the test set will be free of that selection"
    yield (
        f"The winner's search score, {searched} ({f'{taken}, ' if taken else ''}one training){link}"
        f" its mean on {count} replicate{'s' * (count != 1)} (full trainings with other seeds and"
        f" splits){test} differ because each is of other trainings and rows; {first} were used to"
        f" select it: {quoted}."
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


def _row(
    name: str,
    candidate: Mapping[str, Any],
    default: Mapping[str, Any],
    models: Mapping[str, str],
) -> list[str]:
    last = candidate.get("dropped_after")
    scores = candidate["score"][:last]
    return [
        name,
        format_parameters(candidate["parameters"], models),
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
    return f"{mean(differences) * 100:+.1f} points" if differences else ""


def _candidate_name(candidate: Mapping[str, Any], data: RunData) -> str:
    default = data.record.get("default") or {}
    if candidate["parameters"] == default.get("parameters"):
        return "default"
    same = [t for t in data.searched if t.parameters == candidate["parameters"]]
    if same:
        return same[0].trial_id
    return format_parameters(candidate["parameters"], data.model_names)
