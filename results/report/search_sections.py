"""Sections of `report.html` on the search: verdict, data, repetition."""

from collections.abc import Iterator, Mapping
from typing import Any

from results.environment import recorded_version
from results.report.markup import (
    cards,
    code,
    number,
    paragraphs,
    shaded_table,
    table,
)
from results.report.run_data import RunData
from results.score_names import name_three_scores
from results.trial_states import SearchStatus
from results.verdict import (
    confirmed_score,
    describe_result,
    describe_significance,
    format_parameters,
    when_taken,
)

NOT_TESTED = "The winner has not been evaluated on the test set."


def describe_verdict(data: RunData) -> str:
    """Write the key figures, the verdict of the search and of the test, and the three scores."""
    record, test = data.record, data.test
    if record.get("best") is None:
        return paragraphs([f"The search is {record['status']}; no trial has a score yet."])
    lines = [
        *_warn_of_unfinished(record),
        test["summary"] if test else NOT_TESTED,
        *describe_result(record),
        *_describe_label_noise(record["data"]),
    ]
    sentences = [line if line.endswith(".") else f"{line}." for line in lines]
    return cards(_key_figures(record, test)) + paragraphs(sentences) + _three_scores(record, test)


def _warn_of_unfinished(record: Mapping[str, Any]) -> Iterator[str]:
    if record["status"] != SearchStatus.COMPLETED:
        yield f"The search is {record['status']}: this is not its final result."


def _key_figures(
    record: Mapping[str, Any], test: Mapping[str, Any] | None
) -> Iterator[tuple[str, str, str]]:
    best, label = record["best"], record["objective"]["label"]
    yield "winner", best["trial_id"], format_parameters(best["parameters"])
    yield "lead over the default", *_lead(record, best, record.get("default") or {})
    if test is None:
        yield f"test {label}", "not evaluated", "python -m evaluation.final evaluates it, once"
        return
    low, high = test["confidence_intervals"]["score"]
    baseline = f"95 % interval {low:.3f} to {high:.3f}; baseline {test['baseline']['score']:.3f}"
    yield f"test {label}", f"{test['score']:.3f}", baseline
    yield "gates met", *_count_gates(test)


def _lead(
    record: Mapping[str, Any], best: Mapping[str, Any], default: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the lead in points of the score, and whether it is significant."""
    if best["trial_id"] == default.get("trial_id"):
        return "none", "the default stays: no configuration was confirmed to be better"
    confirmation = record.get("confirmation") or {}
    found = confirmation.get("winner_beats_default")
    if not found:
        return "not known", confirmation.get("verdict", "not confirmed on replicates")
    num_replicates = found["draws"]
    return (
        f"{found['difference'] * 100:+.2f} points",
        f"{describe_significance(found)} on {num_replicates} replicates, standard error"
        f" {found['standard_error'] * 100:.2f}",
    )


def _count_gates(test: Mapping[str, Any]) -> tuple[str, str]:
    stages = [gate for checks in test.get("stages", {}).values() for gate in checks.values()]
    quality = list(test.get("gates", {}).values())
    checks = [*quality, *stages]
    met = sum(gate["met"] for gate in checks)
    kinds = "quality and stage gates" if quality else "stage gates; no quality gate was requested"
    return f"{met} of {len(checks)}", kinds


def _three_scores(record: Mapping[str, Any], test: Mapping[str, Any] | None) -> str:
    """Write the winner's search, confirmed and test score side by side, and their gaps."""
    best, taken = record["best"], when_taken(record, "best")
    final = (test or {}).get("search") or {}
    confirmed = final.get("confirmed_score", confirmed_score(record, "best"))
    searched = final.get("search_score", best["search_score"])
    tested = test["score"] if test else None
    rows = [
        [name, number(score) or ("not evaluated" if name == "test" else "none"), origin]
        for name, score, origin in name_three_scores(searched, confirmed, tested, taken=taken)
    ]
    selected = {"search": searched, "confirmation": confirmed}
    return table([f"{record['objective']['label']} of the winner", "score", "origin"], rows) + (
        paragraphs(_describe_optimism(selected, tested, taken=taken))
    )


def _describe_optimism(
    selected: Mapping[str, float | None], tested: float | None, *, taken: str
) -> Iterator[str]:
    """Describe the gap between each score that was used for the selection and the test score.

    A search score of a shorter training (`taken`: after how many epochs) has no such gap.
    """
    if taken and tested is not None:
        yield (
            f"The search score was taken {taken}, so that its distance to the test score is no"
            " measure of optimism."
        )
        selected = {name: score for name, score in selected.items() if name != "search"}
    for name, score in selected.items():
        if score is None or tested is None:
            continue
        gap = round((score - tested) * 100, 2)
        if gap == 0:
            yield f"The {name} score equals the test score: no optimism."
        elif gap > 0:
            yield f"The {name} score is {gap:.2f} points above the test score: optimism."
        else:
            yield f"The {name} score is {-gap:.2f} points below the test score: no optimism."


def _describe_label_noise(found: Mapping[str, Any]) -> Iterator[str]:
    """Report how often repeated texts have labels that disagree."""
    noise = found.get("label_noise")
    if noise:
        yield (
            f"Of the texts that occur more than once, {noise:.1%} have labels that disagree: no"
            " model can be expected to predict all of these labels."
        )


def describe_data(found: Mapping[str, Any]) -> str:
    """Write the rows kept and dropped, the classes of each split, groups and label noise.

    Args:
        found: `data` of `search.json`.
    """
    counts = found.get("class_counts", {})
    labels = list(next(iter(counts.values()), {}))
    rows = [
        (
            split,
            [(f"{of[label]:,} ({_share(of, label):.1%})", _share(of, label)) for label in labels],
        )
        for split, of in counts.items()
    ]
    dropped = [[reason, count] for reason, count in found.get("dropped", {}).items()]
    kept = f"{found.get('kept', 0):,} of {found.get('rows', 0):,} rows kept"
    return (
        paragraphs(
            [
                f"Data {found.get('path')}: {kept}; SHA-256 {found.get('sha256')}.",
                *_describe_groups(found),
                *_describe_label_noise(found),
            ]
        )
        + shaded_table(["split", *labels], rows, caption="Rows of each class, share of the split")
        + table(["reason", "rows"], dropped, caption="Rows that were dropped, by reason")
    )


def _share(counts: Mapping[str, int], label: str) -> float:
    return counts[label] / max(sum(counts.values()), 1)


def _describe_groups(found: Mapping[str, Any]) -> Iterator[str]:
    if "duplicate_groups" in found:
        yield (
            f"{found['duplicate_groups']:,} groups of similar texts; all rows of a group are in the"
            " same split."
        )
    if repeated := found.get("repeated_test_rows"):
        yield (
            f"{repeated:,} test rows repeat the text of another test row. The file fixes the test"
            " set, so none of its rows was dropped; each text is one group."
        )


def describe_repetition(record: Mapping[str, Any]) -> str:
    """Write the command that repeats the search, and the versions and files that it ran with."""
    exact = "exactly" if record.get("repeatable") else "except for effects of timing and hardware"
    environment = record.get("environment") or {}
    model = environment.get("model") or {}
    facts = [
        ["status", record["status"]],
        ["started", record.get("started_at", "")],
        ["seconds", f"{record['seconds']:,.0f}"],
        ["version of this program", recorded_version(record)],
        ["commit of this program", environment.get("commit") or "not known"],
        ["model", model.get("name", "")],
        ["revision of the model", model.get("revision") or "none given"],
        ["SHA-256 of the model", model.get("sha256") or "none: initialised at random"],
        ["SHA-256 of the data", record["data"].get("sha256", "")],
        ["devices", ", ".join(map(str, environment.get("devices", [])))],
        ["Python", environment.get("python", "")],
        *([package, version] for package, version in environment.get("packages", {}).items()),
    ]
    return (
        code(record.get("command", ""))
        + paragraphs(
            [
                f"This command repeats the scores {exact}.",
                "In the same directory: config.yaml, the resolved configuration; best.yaml, the"
                " winner.",
            ]
        )
        + table(["item", "value"], facts, caption="Versions and files of the search")
    )
