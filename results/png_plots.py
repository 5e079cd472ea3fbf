"""PNG plots of the final evaluation: confusion matrix, training curves, calibration, class F1.

The interactive plots of `report.html` are in `results/report/charts.py`.
"""

import io
import math
import textwrap
import unicodedata
import warnings
from collections.abc import Container, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from results.files import write_bytes
from results.intervals import wilson_interval
from results.older_runs import with_tested_score
from results.score_names import capitalise

DOTS_PER_INCH = 300

# Okabe and Ito 2008: distinguishable under every common colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"


def class_labels(names: Sequence[str], *, width: int, lines: int) -> list[str]:
    """Return class names as labels of a plot, broken into lines.

    Control characters and marks that change the direction of writing are removed. A name with
    characters that the font lacks, or that is empty, begins with its code. A name of too many
    lines keeps its first lines and its last one.

    Args:
        names: [num_labels], names in the order of the codes.
        width: characters per line.
        lines: maximum number of lines of a name, at least 3.
    """
    return [_class_label(code, name, width, lines) for code, name in enumerate(names)]


def score_title(label: str) -> str:
    """Return the label of a score, which may contain the name of a class, as an axis title."""
    (title,) = class_labels([capitalise(label)], width=60, lines=3)
    return title


def escape_math(text: str) -> str:
    """Escape a text so that matplotlib reads no formula between dollar signs."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG of 300 dots per inch, replacing the file atomically.

    Raises:
        OSError: the file cannot be written.
    """
    png = io.BytesIO()
    with warnings.catch_warnings():
        # Characters that the built-in font lacks become boxes; the user cannot change that.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure)  # the canvas that requires no screen
        figure.savefig(png, format="png", dpi=DOTS_PER_INCH)
    write_bytes(path, png.getvalue())


def _class_label(code: int, name: str, width: int, most_lines: int) -> str:
    # Control characters, directions and lone surrogates are Unicode's "other" categories, C*.
    text = "".join(" " if unicodedata.category(mark)[0] == "C" else mark for mark in name)
    text = " ".join(text.split())
    if not text or not all(ord(mark) in _font_characters() for mark in text):
        text = f"{code}: {text}"
    whole = text.replace(" - ", " -\u00a0")  # no line break between a dash and the next word
    lines = textwrap.wrap(whole, width)
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 2], "...", lines[-1]]
    return escape_math("\n".join(lines))


@cache
def _font_characters() -> frozenset[int]:
    """Return the code points that the built-in font contains."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


# With more classes the labels of the columns are vertical.
_MAX_HORIZONTAL = 6

# Inches: side of a cell, and minimum and maximum side of one half of the confusion matrix.
_CELL, _MIN_SIDE, _MAX_SIDE = 1.3, 4.2, 12.0


def plot_confusion_matrix(
    path: Path,
    matrix: Sequence[Sequence[int]],
    names: Sequence[str],
    *,
    title: str = "Confusion matrix",
) -> None:
    """Plot counts and shares of each true class side by side as a 300 dpi PNG.

    Args:
        path: of the PNG file, which is replaced atomically.
        matrix: num_labels x num_labels counts; rows true, columns predicted.
        names: [num_labels], names in the order of the codes.
        title: above both halves.

    Raises:
        OSError: the file cannot be written.
    """
    save(make_confusion_matrix(matrix, names, title), path)


def make_confusion_matrix(
    matrix: Sequence[Sequence[int]], names: Sequence[str], title: str
) -> Figure:
    """Return the figure of `plot_confusion_matrix`."""
    counts = np.asarray(matrix, dtype=np.int64)
    assert counts.shape == (len(names), len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_vertical = len(names) > _MAX_HORIZONTAL
    side = min(max(_MIN_SIDE, (0.75 if is_vertical else _CELL) * len(names)), _MAX_SIDE)
    figure = Figure(figsize=(2 * side + 2.2, side + 0.8), layout="constrained")
    figure.suptitle(escape_math(title))
    left, right = figure.subplots(1, 2, sharey=True)
    size = min(12.0, 72 * side / len(names) / 3.4)  # points; five digits fit
    as_counts = [[f"{n:,}" for n in row] for row in counts]
    _plot_cells(left, counts / max(counts.max(), 1), as_counts, size)
    _plot_cells(right, shares, [[f"{share:.0%}" for share in row] for row in shares], size)
    left.set_title("Rows")
    right.set_title("Share of the true class")
    labels = class_labels(names, width=26 if is_vertical else 13, lines=4 if is_vertical else 6)
    rows = max(label.count("\n") + 1 for label in labels)
    fontsize = min(10.0, 72 * side / len(names) / (1.5 * rows))  # points
    for axes in (left, right):
        centres = np.arange(len(names)) + 0.5
        axes.set_xticks(centres, labels, rotation=90 if is_vertical else 0, fontsize=fontsize)
        axes.set_yticks(centres, labels, rotation=0, fontsize=fontsize)
        axes.set_xlabel("Predicted")
    left.set_ylabel("True")
    return figure


def plot_training_curves(
    path: Path,
    *,
    search_curve: Sequence[Mapping[str, Any]],
    final_curve: Sequence[Mapping[str, Any]],
    score_label: str,
) -> None:
    """Plot the losses and the validation score over epochs as a 300 dpi PNG.

    A value that is missing, empty or not finite leaves a gap. Values may be texts, as read from a
    CSV file.

    Args:
        path: of the PNG file, which is replaced atomically.
        search_curve: evaluations of the winner's trial in the search, each with `epoch`,
            `train_loss`, `eval_loss` and `score`.
        final_curve: logged steps of the final training, each with `epoch` and `loss`.
        score_label: name of the score for people.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    _plot_curve(losses, final_curve, "loss", "train, final training", GREEN, "-", "")
    _plot_curve(losses, search_curve, "train_loss", "train, search", BLUE, "--", "o")
    _plot_curve(losses, search_curve, "eval_loss", "validation, search", ORANGE, "-", "s")
    _plot_curve(scores, search_curve, "score", "validation, search", ORANGE, "-", "s")
    for axes, title, unit in (
        (losses, "Loss", "Class-weighted cross-entropy"),
        (scores, "Score of the winner in the search", score_title(score_label)),
    ):
        axes.set_title(title)
        axes.set_xlabel("Epoch")
        axes.set_ylabel(unit)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
        if axes.lines:
            axes.legend(frameon=False)
        else:
            axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center")
    losses.set_ylim(bottom=0)
    save(figure, path)


def _plot_cells(
    axes: Axes, shares: NDArray[np.float64], texts: list[list[str]], size: float
) -> None:
    """Shade the cells of a matrix by shares from 0 to 1 and label them; `size` in points."""
    seaborn.heatmap(
        shares,
        annot=np.array(texts),
        fmt="",
        annot_kws={"fontsize": size},
        cmap="Blues",
        vmin=0.0,
        vmax=1.0,
        cbar=False,
        square=True,
        ax=axes,
    )
    axes.tick_params(length=0, labelleft=True)


def _plot_curve(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    key: str,
    label: str,
    colour: str,
    line: str,
    marker: str,
) -> None:
    points = sorted((_number(row.get("epoch")), _number(row.get(key))) for row in rows)
    points = [point for point in points if math.isfinite(point[0])]
    if not any(math.isfinite(value) for _, value in points):
        return
    epochs, values = zip(*points, strict=True)
    axes.plot(
        epochs, values, label=label, color=colour, linestyle=line, marker=marker, markersize=4
    )


def _number(value: object) -> float:
    """Return the value as a number; NaN, a gap in the plot, if it is missing or not finite."""
    if value is None or value == "":
        return math.nan
    number = float(str(value))
    return number if math.isfinite(number) else math.nan


# Note after the number of rows of a class.
_FEW = ": too few\nfor an interval"

# Inches: a plot of hundreds of classes is crowded rather than too large to open.
_MAX_HEIGHT = 60.0


def plot_reliability(path: Path, calibration: Mapping[str, Any]) -> None:
    """Plot accuracy against confidence, bin by bin, and the rows of each bin, as a 300 dpi PNG.

    The intervals of the accuracy are Wilson intervals, which assume independent rows.

    Args:
        path: of the PNG file, which is replaced atomically.
        calibration: `expected_calibration_error`, `brier_score`, `negative_log_likelihood` and
            `bins` [{confidence, accuracy, count}] in order of confidence.

    Raises:
        OSError: the file cannot be written.
    """
    bins = calibration["bins"]
    confidence = np.array([row["confidence"] for row in bins], dtype=np.float64)
    figure = Figure(figsize=(6.2, 7.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    _plot_bins(upper, bins, confidence)
    figure.suptitle("Calibration of the probabilities of the test rows")
    upper.set_title(
        f"calibration error {calibration['expected_calibration_error']:.3f}, Brier score"
        f" {calibration['brier_score']:.3f}, negative log-likelihood"
        f" {calibration['negative_log_likelihood']:.3f}",
        fontsize="medium",
    )
    lower.bar(confidence, [row["count"] for row in bins], 0.012, color=BLUE, alpha=0.5)
    lower.set_xlim(0, 1)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("Rows in the bin")
    lower.set_xlabel("Confidence (highest probability of a row)")
    lower.grid(alpha=0.3)
    save(figure, path)


def plot_class_f1(path: Path, names: Sequence[str], report: Mapping[str, Any]) -> None:
    """Plot F1 of each class and the score, of model and baseline, as a 300 dpi PNG.

    Args:
        path: of the PNG file, which is replaced atomically.
        names: [num_labels], names in the order of the codes.
        report: content of `evaluation_report.json`: `objective`, `score`, `per_class` {name: {f1,
            support}}, `confidence_intervals` {`score`, `f1 of NAME`: [low, high]} and `baseline`
            with score, classes and, optionally, intervals; the classes in its `method.few_rows`
            are marked.

    Raises:
        OSError: the file cannot be written.
    """
    save(make_class_f1(names, report), path)


def make_class_f1(names: Sequence[str], report: Mapping[str, Any]) -> Figure:
    """Return the figure of `plot_class_f1`."""
    report = with_tested_score(report)
    label = capitalise(report["objective"]["label"])
    *class_names, score = class_labels([*names, label], width=26, lines=4)
    few = report.get("method", {}).get("few_rows", {})
    labels = [
        f"{label}\n({report['per_class'][name]['support']:,} rows{_FEW if name in few else ''})"
        for label, name in zip(class_names, names, strict=True)
    ]
    heights = np.array([*range(len(names)), len(names) + 0.3])  # the score is set apart
    per_class = max(0.65, *(0.19 * (label.count("\n") + 1) for label in labels))  # inches
    total = min(1.8 + per_class * len(heights), _MAX_HEIGHT)
    figure = Figure(figsize=(9.0, total), layout="constrained")
    axes = figure.subplots()
    against = report["baseline"]
    _plot_f1(axes, heights - 0.16, names, report, few, (BLUE, "o", "model"))
    _plot_f1(axes, heights + 0.16, names, against, few, (ORANGE, "s", escape_math(against["name"])))
    axes.axhline(len(names) - 0.35, color=GREY, linewidth=0.8)
    axes.set_yticks(heights, [*labels, score])
    axes.set_ylim(heights[-1] + 0.6, -0.6)
    axes.set_xlim(min(0.0, *_ends(report), *_ends(against)), 1)
    axes.set_title("F1 of each class: model and baseline")
    is_f1 = report["objective"]["name"].startswith("f1")
    metric = "F1" if is_f1 else f"F1, and last {escape_math(report['objective']['label'])},"
    axes.set_xlabel(f"{metric} of the test rows, with 95 % intervals")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    return figure


def _ends(scores: Mapping[str, Any]) -> list[float]:
    """Return the score and the ends of its interval; a score other than F1 can be below 0."""
    return [scores["score"], *scores.get("confidence_intervals", {}).get("score", ())]


def _plot_bins(
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


def _plot_f1(
    axes: Axes,
    heights: NDArray[np.float64],
    names: Sequence[str],
    scores: Mapping[str, Any],
    few: Container[str],
    style: tuple[str, str, str],
) -> None:
    """Plot values with intervals, the score last; the intervals of the classes in `few` are dotted.

    Args:
        axes: to plot on.
        heights: [num_labels + 1], vertical positions.
        names: [num_labels], names of the classes.
        scores: of the model or the baseline, with `per_class`, `score` and intervals.
        few: classes of too few rows for an interval.
        style: colour, marker, label.
    """
    colour, marker, label = style
    values = [*(scores["per_class"][name]["f1"] for name in names), scores["score"]]
    axes.plot(values, heights, color=colour, marker=marker, linestyle="", label=label)
    intervals = scores.get("confidence_intervals", {})
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    metrics = [*(f"f1 of {name}" for name in names), "score"]
    lines = [*(":" if name in few else "-" for name in names), "-"]
    for y, metric, value, line in zip(heights, metrics, values, lines, strict=True):
        if metric in intervals:
            axes.plot(intervals[metric], [y, y], line, color=colour, linewidth=2, alpha=0.6)
        axes.text(1.01, y, f"{value:.3f}", color=colour, transform=beside, va="center")
