"""Charts of the test: F1 of each class beside the baseline's, and reliability."""

from collections.abc import Mapping
from typing import Any

from results.report.charts import Trace, axis, chart, plotly_text


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
