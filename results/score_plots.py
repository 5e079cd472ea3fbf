"""Pictures of scores: whether probabilities can be trusted, and F1 against the baseline."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from results.drawing import BLUE, GREY, ORANGE, class_labels, plain, save
from results.metric_names import capitalised
from results.older_runs import with_tested_score
from results.proportions import wilson_interval

# After the number of rows of a class.
_FEW = ": too few\nfor its interval"

# Inches; a picture of hundreds of classes is crowded rather than too large to open.
_HIGHEST = 60.0


def plot_reliability(path: Path, calibration: Mapping[str, Any]) -> None:
    """Draw accuracy against confidence, bin by bin, over the rows of each bin, 300 dpi PNG.

    A bin's accuracy has its Wilson interval (Wilson 1927), which takes rows as independent.

    Args:
        path: the picture, replaced whole.
        calibration: `expected_calibration_error`, `brier_score`, `negative_log_likelihood` and
            `bins` [{confidence, accuracy, count}], by rising confidence.

    Raises:
        OSError: the file cannot be written.
    """
    bins = calibration["bins"]
    confidence = np.array([row["confidence"] for row in bins], dtype=np.float64)
    figure = Figure(figsize=(6.2, 7.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    _draw_reliability(upper, bins, confidence)
    figure.suptitle("Reliability of the test rows' probabilities")
    upper.set_title(
        f"calibration error {calibration['expected_calibration_error']:.3f}, Brier score"
        f" {calibration['brier_score']:.3f}, negative log-likelihood"
        f" {calibration['negative_log_likelihood']:.3f}",
        fontsize="medium",
    )
    lower.bar(confidence, [row["count"] for row in bins], 0.012, color=BLUE, alpha=0.5)
    lower.set_xlim(0, 1)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("Rows of the bin")
    lower.set_xlabel("Confidence (highest probability of a row)")
    lower.grid(alpha=0.3)
    save(figure, path)


def plot_class_f1(path: Path, names: Sequence[str], report: Mapping[str, Any]) -> None:
    """Draw F1 of each class and the score, the model's above the baseline's, 300 dpi PNG.

    Args:
        path: the picture, replaced whole.
        names: [num_labels], names in the order of the codes.
        report: content of `evaluation_report.json`: `objective`, `score`, `per_class` {name: {f1,
            support}}, `confidence_intervals` {`score`, `f1 of NAME`: [low, high]} and `baseline`
            with score and classes and, where it has them, the intervals; the classes that its
            `method.few_rows` names are marked.

    Raises:
        OSError: the file cannot be written.
    """
    save(draw_class_f1(names, report), path)


def draw_class_f1(names: Sequence[str], report: Mapping[str, Any]) -> Figure:
    """The figure of `plot_class_f1`."""
    report = with_tested_score(report)
    label = capitalised(report["objective"]["label"])
    *shown, score = class_labels([*names, label], width=26, lines=4)
    few = report.get("method", {}).get("few_rows", {})
    labels = [
        f"{label}\n({report['per_class'][name]['support']:,} rows{_FEW if name in few else ''})"
        for label, name in zip(shown, names, strict=True)
    ]
    places = np.array([*range(len(names)), len(names) + 0.3])  # the score stands apart
    height = max(0.65, *(0.19 * (label.count("\n") + 1) for label in labels))  # inches
    figure = Figure(figsize=(9.0, min(1.8 + height * len(places), _HIGHEST)), layout="constrained")
    axes = figure.subplots()
    against = report["baseline"]
    _draw_f1(axes, places - 0.16, names, report, few, (BLUE, "o", "model"))
    _draw_f1(axes, places + 0.16, names, against, few, (ORANGE, "s", plain(against["name"])))
    axes.axhline(len(names) - 0.35, color=GREY, linewidth=0.8)
    axes.set_yticks(places, [*labels, score])
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_xlim(min(0.0, *_ends(report), *_ends(against)), 1)
    axes.set_title("F1 of each class: the model and the baseline")
    is_f1 = report["objective"]["name"].startswith("f1")
    drawn = "F1" if is_f1 else f"F1, and last {plain(report['objective']['label'])},"
    axes.set_xlabel(f"{drawn} of the test rows, with 95 % intervals")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure


def _ends(scores: Mapping[str, Any]) -> list[float]:
    """The score and its interval: one that is not an F1 can be below 0."""
    return [scores["score"], *scores.get("confidence_intervals", {}).get("score", ())]


def _draw_reliability(
    axes: Axes, bins: Sequence[Mapping[str, Any]], confidence: NDArray[np.float64]
) -> None:
    accuracy = np.array([row["accuracy"] for row in bins], dtype=np.float64)
    ends = np.array(
        [wilson_interval(round(row["accuracy"] * row["count"]), row["count"]) for row in bins]
    )
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="confidence = accuracy")
    axes.errorbar(
        confidence,
        accuracy,
        yerr=np.abs(ends.T - accuracy),
        color=BLUE,
        ecolor=BLUE,
        elinewidth=0.9,
        capsize=2,
        fmt="o",
        markersize=5,
        label="accuracy of a bin, 95 % interval",
    )
    axes.set_ylabel("Accuracy")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)


def _draw_f1(
    axes: Axes,
    places: NDArray[np.float64],
    names: Sequence[str],
    scores: Mapping[str, Any],
    few: Container[str],
    style: tuple[str, str, str],
) -> None:
    """Points with intervals at heights `places`, the score last; dotted for the classes in `few`.

    `style`: colour, marker, label.
    """
    colour, marker, label = style
    values = [*(scores["per_class"][name]["f1"] for name in names), scores["score"]]
    axes.plot(values, places, color=colour, marker=marker, linestyle="", label=label)
    intervals = scores.get("confidence_intervals", {})
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    metrics = [*(f"f1 of {name}" for name in names), "score"]
    lines = [*(":" if name in few else "-" for name in names), "-"]
    for place, metric, value, line in zip(places, metrics, values, lines, strict=True):
        if metric in intervals:
            axes.plot(intervals[metric], [place, place], line, color=colour, linewidth=2, alpha=0.6)
        axes.text(1.01, place, f"{value:.3f}", color=colour, transform=beside, va="center")
