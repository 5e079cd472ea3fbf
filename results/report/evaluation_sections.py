"""Sections that the final evaluation fills; what a report lacks is left out."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from results.report.markup import (
    Trace,
    axis,
    chart,
    heading,
    interval,
    number,
    paragraphs,
    plotly_text,
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


def class_f1(test: Mapping[str, Any]) -> str:
    """F1 of each class with its interval, the model's and the baseline's.

    Args:
        test: content of `evaluation_report.json`.
    """
    labels = list(test["per_class"])
    traces = [
        _dots("the model", "@blue", "circle", labels, test),
        _dots("the baseline", "@orange", "square", labels, test["baseline"]),
    ]
    layout = {
        **{"scattermode": "group", "scattergap": 0.75},
        "yaxis": axis("F1", range=[0, 1]),
        "xaxis": axis("", type="category"),
    }
    described = "Lines are 95 % intervals; classes of few rows have wide ones."
    return chart("F1 of each class", described, [t for t in traces if t["x"]], layout, height=380)


def _dots(
    name: str, colour: str, symbol: str, labels: list[str], scores: Mapping[str, Any]
) -> Trace:
    of_class = scores.get("per_class", {})
    intervals = scores.get("confidence_intervals", {})
    shown = [label for label in labels if label in of_class]
    values = [of_class[label]["f1"] for label in shown]
    ends = [intervals.get(f"f1 of {label}") or [of_class[label]["f1"]] * 2 for label in shown]
    pairs = list(zip(ends, values, strict=True))
    return {
        **{"type": "scatter", "mode": "markers", "name": name},
        "x": [plotly_text(label) for label in shown],
        "y": values,
        "marker": {"color": colour, "symbol": symbol, "size": 10},
        "error_y": {
            **{"type": "data", "symmetric": False, "color": colour},
            "array": [max(high - value, 0.0) for (_, high), value in pairs],
            "arrayminus": [max(value - low, 0.0) for (low, _), value in pairs],
        },
        "hovertemplate": "%{x}: %{y:.3f}<extra></extra>",
    }


def reliability(calibration: Mapping[str, Any]) -> str:
    """Accuracy against confidence, bin by bin; empty without bins.

    Args:
        calibration: of `evaluation_report.json`: `bins` [{confidence, accuracy, count}].
    """
    bins = calibration.get("bins") or []
    if not bins:
        return ""
    traces: list[Trace] = [
        {
            **{"type": "scatter", "mode": "lines", "name": "as sure as right"},
            **{"x": [0, 1], "y": [0, 1], "hoverinfo": "skip"},
            "line": {"color": "@muted", "dash": "dash", "width": 1},
        },
        {
            **{"type": "scatter", "mode": "lines+markers", "name": "test rows"},
            "x": [row["confidence"] for row in bins],
            "y": [row["accuracy"] for row in bins],
            "text": [f"{row['count']:,} rows" for row in bins],
            "marker": {"color": "@blue", "size": 8},
            "line": {"color": "@blue"},
            "hovertemplate": "confidence %{x:.3f}, accuracy %{y:.3f}, %{text}<extra></extra>",
        },
    ]
    layout = {
        "xaxis": axis("confidence", range=[0, 1]),
        "yaxis": axis("accuracy", range=[0, 1.02]),
    }
    described = (
        "Bins of equal count by the highest probability of a row. Below the dashed line the model"
        " is too sure of itself."
    )
    return chart("Accuracy against confidence", described, traces, layout, height=380)


_MOST_CONFIDENT = 20
_LONGEST_TEXT = 400


def describe_evaluation(data: RunData, *, with_texts: bool) -> dict[str, str]:
    """Sections of an opened test by title, in their order.

    Args:
        data: of the run; its `test` is there.
        with_texts: whether texts of rows are shown among the hardest mistakes.
    """
    test = data.test
    assert test is not None
    parts = {
        "Scores": _scores(test),
        "Confusion matrix": _confusion(test),
        "Classes": class_f1(test),
        "Calibration": _calibration(test.get("calibration")),
        "Hardest mistakes": _hardest(data, with_texts=with_texts),
        "Error analysis": _errors(data.analysis),
        "Rows of low confidence": _low_confidence(test.get("low_confidence")),
        "Retrain": _retrain(test.get("retrain")),
    }
    shown = [heading(title) + content for title, content in parts.items() if content]
    return {"Test": "".join(shown), "Gates": _gates(test)}


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
    openings = [[opening["at"], opening["reason"]] for opening in test["test_openings"]]
    header = ["class", "precision", "recall", "F1", "95 % interval", "F1 of the baseline", "rows"]
    return (
        paragraphs([f"The baseline is {against['name']}, fitted on the same rows."])
        + table(["metric", "test", "95 % interval", "baseline", "its 95 % interval"], overall)
        + paragraphs(
            [f"Intervals cover {method['intervals_cover']}.", describe_seed_variation(test)]
        )
        + table(header, classes)
        + paragraphs([f"{method['labels']}."])
        + table(["test rows opened at", "because"], openings)
    )


def _metrics(objective: Mapping[str, Any]) -> dict[str, str]:
    """Keys and names of the metrics of all classes, the one that the search decided by first."""
    name, label = objective["name"], objective["label"]
    others = {key: other for key, other in OVERALL.items() if key != name and other != label}
    return {"score": label, **others}


def _beside(
    key: str, test: Mapping[str, Any], intervals: Mapping[str, Any], against: Mapping[str, Any]
) -> list[str]:
    """The model's value and interval, then the baseline's."""
    of_baseline = against.get("confidence_intervals", {})
    return [
        *(number(test[key]), interval(intervals.get(key))),
        *(number(against.get(key)), interval(of_baseline.get(key))),
    ]


def _class_interval(intervals: Mapping[str, Any], name: str, few: Mapping[str, int]) -> str:
    """The interval of a class's F1, marked where its rows are too few for one."""
    ends = interval(intervals.get(f"f1 of {name}"))
    return f"{ends} ({TOO_FEW_ROWS})" if ends and name in few else ends


def _retrain(found: Mapping[str, Any] | None) -> str:
    """With which seed the model that was tested came to be, and what was rejected before it."""
    if not found:
        return ""
    rejected = found["rejected_attempts"]
    told = f"the winner was retrained on {found['rows']:,} rows in {found['seconds']:.0f} s"
    before = "rejected before the test was opened"
    return paragraphs(
        [f"{told}, with seed {found['seed']}; attempts {before}: {len(rejected)}."]
        + [f"An attempt was {before}: {problem}." for problem in rejected]
    )


def _confusion(test: Mapping[str, Any]) -> str:
    matrix, labels = test.get("confusion_matrix") or [], list(test["per_class"])
    rows = [
        (label, [(f"{count:,} ({share:.0%})", share) for count, share in _with_shares(row)])
        for label, row in zip(labels, matrix, strict=False)
    ]
    header = ["true class, then predicted as", *labels]
    caption = "Test rows by true class and prediction, with the share of the true class"
    return shaded_table(header, rows, caption=caption) if rows else ""


def _with_shares(row: Sequence[int]) -> list[tuple[int, float]]:
    return [(count, count / max(sum(row), 1)) for count in row]


def _calibration(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    rows = [[name, number(found.get(key))] for key, name in CALIBRATION.items()]
    header = ["calibration of the test rows", "value"]
    return reliability(found) + table(header, rows, caption="Calibration of the test rows")


def _hardest(data: RunData, *, with_texts: bool) -> str:
    """Mistakes that the model was surest of; their texts only where asked for."""
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
    told = f"{left_out}Row is the record number in the data; all are in misclassified.csv."
    caption = f"The {len(rows)} wrong rows that the model was surest of"
    return paragraphs([told]) + table([*header, "text"][: len(rows[0])], rows, caption=caption)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " ..."


def _low_confidence(low: Mapping[str, Any] | None) -> str:
    """Rows that the confidence filter took from the test part, never mixed with the test."""
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
    note = low.get("note") or "The confidence filter took these rows; no test score counts them."
    return (
        paragraphs([f"{low['rows']:,} rows. {note}"])
        + table(["metric", "these rows", "95 % interval"], overall)
        + (table(["class", "F1", "95 % interval", "rows"], classes) if classes else "")
    )


def _errors(analysis: Mapping[str, Any]) -> str:
    if not analysis:
        return ""
    tables = "".join(
        _part(f"Errors by {_words(key.removeprefix('by_'))}") + _rates(value)
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


def _part(title: str) -> str:
    return f"<h4>{escape(title)}</h4>\n"


def _rates(found: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> str:
    """Bins, a line each; or parts under names, a line each, then the lists that are among them."""
    if not isinstance(found, Mapping):
        return _lines(found)
    named = [
        {"rows that are": _words(name), **part}
        for name, part in found.items()
        if isinstance(part, Mapping)
    ]
    lists = [part for part in found.values() if isinstance(part, list)]
    return "".join(_lines(part) for part in (named, *lists) if part)


def _lines(parts: Sequence[Mapping[str, Any]]) -> str:
    """Records of the same keys as a table."""
    header = list(parts[0])
    rows = [[_figure(key, part.get(key)) for key in header] for part in parts]
    return table([_words(key) for key in header], rows)


def _figure(key: str, value: Any) -> Any:
    """Rates, shares and their intervals in percent, counts as they are, other numbers short."""
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
    of_gates, of_stages = ["above", "value", "p, below 0.05", "met"], ["met", "found", "rule"]
    return (table(["quality gate", *of_gates], gates) if gates else "") + (
        table(["stage", "check", *of_stages], stages) if stages else ""
    )


def _yes(met: bool) -> str:
    return "yes" if met else "no"
