"""The report's sections that the search fills: scores side by side, confirmation, trials, data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from results import score_wording
from results.markup import code, number, paragraphs, table


def three_scores(record: Mapping[str, Any], test: Mapping[str, Any] | None) -> str:
    """The winner's search score, confirmed mean and test score side by side, and the gap.

    Args:
        record: content of `search.json`.
        test: content of `evaluation_report.json`; None before the test is opened.
    """
    best = record.get("best")
    if best is None:
        return paragraphs(["No trial has a score yet."])
    confirmed = best["f1_macro"] if record.get("confirmation") else None
    told = (test or {}).get("search") or {}
    confirmed = told.get("confirmed_f1_macro", confirmed)
    searched = told.get("search_f1_macro", best["search_f1_macro"])
    tested = test["f1_macro"] if test else None
    rows = [
        [name, number(score) or ("not opened" if name == "test" else "none"), on]
        for name, score, on in score_wording.three_scores(searched, confirmed, tested)
    ]
    return table(["macro-F1 of the winner", "score", "on"], rows) + paragraphs(
        _optimism({"search": searched, "confirmation": confirmed}, tested)
    )


def _optimism(selected: Mapping[str, float | None], tested: float | None) -> Iterator[str]:
    """The gap between each score that was selected on and the test, in words."""
    for name, score in selected.items():
        if score is None or tested is None:
            continue
        gap = (score - tested) * 100
        if gap > 0:
            yield f"Optimism of the {name}: its score is {gap:.2f} points above the test's."
        else:
            yield f"The {name} shows no optimism: its score is {-gap:.2f} points below the test's."


def confirmation(found: Mapping[str, Any] | None) -> str:
    """The scores of each candidate on fresh draws."""
    if not found:
        return paragraphs(
            ["None: scores of the search are the best of many and therefore too high."]
        )
    rows = [
        [
            _parameters(candidate["parameters"]),
            ", ".join(number(score) for score in candidate["f1_macro"]),
            number(candidate["mean"]),
            number(candidate["standard_error"]),
        ]
        for candidate in found["candidates"]
    ]
    header = ["configuration", "macro-F1 on each fresh draw", "mean", "standard error"]
    return paragraphs(["Selected on; the default comes first."]) + table(header, rows)


def trials(rows: Sequence[Mapping[str, str]]) -> str:
    """All trials, the best first."""
    ranked = sorted(rows, key=_rank)
    header = list(rows[0]) if rows else []
    return table(header, [[_shortened(row[name]) for name in header] for row in ranked])


def data(found: Mapping[str, Any]) -> str:
    """Rows kept and dropped, and the classes of each split."""
    dropped = [[reason, count] for reason, count in found["dropped"].items()]
    labels = list(next(iter(found["class_counts"].values()), {}))
    counts = [
        [split, *(by_label[label] for label in labels)]
        for split, by_label in found["class_counts"].items()
    ]
    kept = f"{found['kept']} of {found['rows']} rows kept"
    return (
        paragraphs([f"Data {found['path']}: {kept}; SHA-256 {found['sha256']}."])
        + table(["split", *labels], counts)
        + table(["dropped for", "rows"], dropped)
    )


def repeat(record: Mapping[str, Any]) -> str:
    """The command, and with what it ran."""
    exact = "to the last digit" if record["repeatable"] else "but for timing and hardware"
    environment = record["environment"]
    commit = environment.get("commit") or "not known"
    return (
        code(record["command"])
        + paragraphs([f"The scores repeat {exact}.", f"Commit {commit}."])
        + table(["package", "version"], [list(pair) for pair in environment["packages"].items()])
    )


def _parameters(values: Mapping[str, float]) -> str:
    """A configuration's searched values in one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _shortened(cell: str) -> str:
    try:
        return cell if cell.isdecimal() else f"{float(cell):.5g}"
    except ValueError:
        return cell


def _rank(row: Mapping[str, str]) -> tuple[bool, bool, float]:
    """Trials of the search first, full budgets before others, best scores first."""
    score = float(row["f1_macro"]) if row["f1_macro"] else float("-inf")
    return row["source"] == "confirm", row["status"] != "completed", -score
