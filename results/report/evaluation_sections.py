"""Sections of `report.html` on the final evaluation: test scores, mistakes, calibration, gates."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from results.report.charts import plot_calibration, plot_class_f1
from results.report.markup import (
    heading,
    interval,
    number,
    paragraphs,
    shaded_table,
    table,
)
from results.report.run_data import RunData
from results.score_names import (
    CALIBRATION,
    LOW_CONFIDENCE,
    OVERALL,
    TOO_FEW_ROWS,
)
from results.verdict import describe_seed_variation

_MOST_CONFIDENT = 20
_LONGEST_TEXT = 400


def describe_evaluation(data: RunData, *, with_texts: bool) -> dict[str, str]:
    """Return the sections on the test set by title, in order, without parts that have no data.

    Args:
        data: of a run that was evaluated on the test set.
        with_texts: whether the hardest mistakes include the texts of their rows.
    """
    test = data.test
    assert test is not None
    parts = {
        "Scores": _scores(test),
        "Confusion matrix": _confusion(test),
        "Classes": plot_class_f1(test),
        "Calibration": _calibration(test.get("calibration")),
        "Hardest mistakes": _hardest(data, with_texts=with_texts),
        "Error analysis": _errors(data.analysis),
        "Rows of low confidence": _low_confidence(test.get("low_confidence")),
        "Retrain": _retrain(test.get("retrain")),
    }
    written = [heading(title) + content for title, content in parts.items() if content]
    return {"Test": "".join(written), "Gates": _gates(test)}


def _scores(test: Mapping[str, Any]) -> str:
    intervals, against, method = test["confidence_intervals"], test["baseline"], test["method"]
    overall = [
        [name, *_beside(key, test, intervals, against)]
        for key, name in _metrics(test["objective"]).items()
        if key in test
    ]
    of_baseline, few = against.get("per_class", {}), method.get("few_rows", {})
    classes = [
        [
            *(name, *(number(row[key]) for key in ("precision", "recall", "f1"))),
            _class_interval(intervals, name, few),
            number(of_baseline.get(name, {}).get("f1")),
            row["support"],
        ]
        for name, row in test["per_class"].items()
    ]
    accesses = [[access["at"], access["reason"]] for access in test["test_openings"]]
    header = ["class", "precision", "recall", "F1", "95 % interval", "F1 of the baseline", "rows"]
    return (
        paragraphs([f"The baseline is {against['name']}, fitted on the same training rows."])
        + table(["metric", "test", "95 % interval", "baseline", "its 95 % interval"], overall)
        + paragraphs(
            [f"Intervals cover {method['intervals_cover']}.", describe_seed_variation(test)]
        )
        + table(header, classes)
        + paragraphs([f"{method['labels']}."])
        + table(["evaluated on the test set at", "reason"], accesses)
    )


def _metrics(objective: Mapping[str, Any]) -> dict[str, str]:
    """Return key and name of the metrics of all classes, the objective of the search first."""
    name, label = objective["name"], objective["label"]
    others = {key: other for key, other in OVERALL.items() if key != name and other != label}
    return {"score": label, **others}


def _beside(
    key: str, test: Mapping[str, Any], intervals: Mapping[str, Any], against: Mapping[str, Any]
) -> list[str]:
    """Return the model's value and interval, then the baseline's."""
    of_baseline = against.get("confidence_intervals", {})
    return [
        *(number(test[key]), interval(intervals.get(key))),
        *(number(against.get(key)), interval(of_baseline.get(key))),
    ]


def _class_interval(intervals: Mapping[str, Any], name: str, few: Mapping[str, int]) -> str:
    """Return the interval of a class's F1, with a note where the class has too few rows."""
    ends = interval(intervals.get(f"f1 of {name}"))
    return f"{ends} ({TOO_FEW_ROWS})" if ends and name in few else ends


def _retrain(found: Mapping[str, Any] | None) -> str:
    """Describe how the evaluated model was trained, and the attempts that were rejected."""
    if not found:
        return ""
    rejected = found["rejected_attempts"]
    return paragraphs(
        [
            f"The winner was retrained on {found['rows']:,} rows in {found['seconds']:.0f} s with"
            f" seed {found['seed']}. Attempts rejected before the evaluation on the test set:"
            f" {len(rejected)}.",
            *(f"Rejected attempt: {problem}." for problem in rejected),
        ]
    )


def _confusion(test: Mapping[str, Any]) -> str:
    matrix, labels = test.get("confusion_matrix") or [], list(test["per_class"])
    rows = [
        (label, [(f"{count:,} ({share:.0%})", share) for count, share in _with_shares(row)])
        for label, row in zip(labels, matrix, strict=False)
    ]
    header = ["true class, predicted class", *labels]
    caption = "Test rows by true class (row) and predicted class (column), share of the true class"
    return shaded_table(header, rows, caption=caption) if rows else ""


def _with_shares(row: Sequence[int]) -> list[tuple[int, float]]:
    return [(count, count / max(sum(row), 1)) for count in row]


def _calibration(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    rows = [[name, number(found.get(key))] for key, name in CALIBRATION.items()]
    caption = "Calibration of the test rows"
    return plot_calibration(found) + table(["metric", "value"], rows, caption=caption)


def _hardest(data: RunData, *, with_texts: bool) -> str:
    """List the most confident mistakes, with their texts where these are allowed."""
    mistakes = data.mistakes[:_MOST_CONFIDENT]
    if not mistakes:
        return ""
    header = ["row", "label", "prediction", "confidence"]
    rows = [
        [
            *(row["row"], row["label"], row["prediction"], f"{float(row['confidence']):.3f}"),
            *([_cut(row["text"])] if with_texts else []),
        ]
        for row in mistakes
    ]
    left_out = "Texts are left out of this copy. " if not with_texts else ""
    explained = (
        f"{left_out}Row is the number of the record in the data. All mistakes are in"
        " misclassified.csv."
    )
    caption = f"The {len(rows)} most confident mistakes"
    return paragraphs([explained]) + table([*header, "text"][: len(rows[0])], rows, caption=caption)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " ..."


def _low_confidence(low: Mapping[str, Any] | None) -> str:
    """Report the scores on the test rows that the confidence filter removed from the test set."""
    if not low:
        return ""
    intervals, few = low.get("confidence_intervals", {}), low.get("few_rows", {})
    overall = [
        [name, number(low[key]), interval(intervals.get(key))]
        for key, name in LOW_CONFIDENCE.items()
        if key in low
    ]
    classes = [
        [name, number(row["f1"]), _class_interval(intervals, name, few), row["support"]]
        for name, row in low.get("per_class", {}).items()
        if row["support"]
    ]
    note = low.get("note") or "The confidence filter removed them; no test score includes them."
    return (
        paragraphs([f"{low['rows']:,} rows. {note}"])
        + table(["metric", "these rows", "95 % interval"], overall)
        + (table(["class", "F1", "95 % interval", "rows"], classes) if classes else "")
    )


def _errors(analysis: Mapping[str, Any]) -> str:
    if not analysis:
        return ""
    tables = "".join(
        _subheading(f"Errors by {_words(key.removeprefix('by_'))}") + _rates(value)
        for key, value in analysis.items()
        if key.startswith("by_") and value
    )
    not_analysed = [
        f"Errors by {_words(key.removeprefix('by_'))} are left out: {reason}."
        for key, reason in analysis.get("not_analysed", {}).items()
    ]
    return (
        paragraphs([f"{analysis['errors']:,} of {analysis['rows']:,} test rows are wrong."])
        + paragraphs(analysis.get("findings", []))
        + tables
        + paragraphs(not_analysed)
    )


def _subheading(title: str) -> str:
    return f"<h4>{escape(title)}</h4>\n"


def _rates(found: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> str:
    """Return a table of bins; of a mapping, a table of its named parts and one of each list."""
    if not isinstance(found, Mapping):
        return _lines(found)
    named = [
        {"group": _words(name), **part} for name, part in found.items() if isinstance(part, Mapping)
    ]
    lists = [part for part in found.values() if isinstance(part, list)]
    return "".join(_lines(part) for part in (named, *lists) if part)


def _lines(parts: Sequence[Mapping[str, Any]]) -> str:
    """Return records with the same keys as a table."""
    header = list(parts[0])
    rows = [[_figure(key, part.get(key)) for key in header] for part in parts]
    return table([_words(key) for key in header], rows)


def _figure(key: str, value: Any) -> Any:
    """Format rates, shares and intervals in percent, counts unchanged, other numbers short."""
    if isinstance(value, list):
        return " to ".join(f"{end:.1%}" for end in value)
    if not isinstance(value, float):
        return "" if value is None else value
    return f"{value:.1%}" if "rate" in key or "share" in key else number(value)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _gates(test: Mapping[str, Any]) -> str:
    gates = [
        [
            *(name, number(gate["threshold"]), number(gate["value"])),
            *(number(gate.get("p_value")), _yes(gate["met"])),
        ]
        for name, gate in test.get("gates", {}).items()
    ]
    stages = [
        [stage, name, _yes(found["met"]), number(found["value"]), found["rule"]]
        for stage, checks in test.get("stages", {}).items()
        for name, found in checks.items()
    ]
    of_gates = ["quality gate", "must be above", "value", "p (must be below 0.05)", "met"]
    of_stages = ["stage", "check", "met", "value", "rule"]
    return (table(of_gates, gates) if gates else "") + (table(of_stages, stages) if stages else "")


def _yes(met: bool) -> str:
    return "yes" if met else "no"
