"""Pictures of a run: which classes are taken for which, and how training went."""

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

# Okabe and Ito 2008: told apart under every common colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"


def class_labels(names: Sequence[str], *, width: int, lines: int) -> list[str]:
    """Class names as a picture can show them, broken into lines.

    Marks that turn the direction of writing and control characters are left out; a name with
    characters that the font lacks, or with nothing left, is told by its code too; a name of too
    many lines keeps its first ones and its end.

    Args:
        names: [num_labels], names in the order of the codes.
        width: characters a line.
        lines: most lines of a name, at least 3.
    """
    return [_class_label(code, name, width, lines) for code, name in enumerate(names)]


def score_title(label: str) -> str:
    """A score's label, in which a class may be named, as the title of an axis."""
    (title,) = class_labels([capitalise(label)], width=60, lines=3)
    return title


def plain(text: str) -> str:
    """The text as matplotlib shows it as it stands, without formulas between dollar signs."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Replace `path` with the figure as a PNG of 300 dots an inch.

    Raises:
        OSError: the file cannot be written.
    """
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # Scripts that the built-in font lacks are drawn as boxes; nobody could act on it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure)  # the one canvas that needs no screen
        figure.savefig(picture, format="png", dpi=DOTS_PER_INCH)
    write_bytes(path, picture.getvalue())


def _class_label(code: int, name: str, width: int, most_lines: int) -> str:
    # Controls, directions and lone surrogates (Unicode's "other" categories) draw nothing sound.
    shown = "".join(" " if unicodedata.category(mark)[0] == "C" else mark for mark in name)
    shown = " ".join(shown.split())
    if not shown or not all(ord(mark) in _drawable() for mark in shown):
        shown = f"{code}: {shown}"
    whole = shown.replace(" - ", " -\u00a0")  # a dash stays with the word that follows it
    lines = textwrap.wrap(whole, width)
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 2], "...", lines[-1]]
    return plain("\n".join(lines))


@cache
def _drawable() -> frozenset[int]:
    """Code points that the built-in font has."""
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


# Above this many classes the labels below stand upright.
_MOST_LEVEL = 6

# Inches of one half of the confusion matrix: a cell each, but never more than a page holds.
_CELL, _SMALLEST, _LARGEST = 1.3, 4.2, 12.0


def plot_confusion_matrix(
    path: Path,
    matrix: Sequence[Sequence[int]],
    names: Sequence[str],
    *,
    title: str = "Confusion matrix",
) -> None:
    """Draw counts and shares of each true class side by side, 300 dpi PNG.

    Args:
        path: the picture, replaced whole.
        matrix: num_labels x num_labels counts; rows true, columns predicted.
        names: [num_labels], names in the order of the codes.
        title: stands above both halves.

    Raises:
        OSError: the file cannot be written.
    """
    save(make_confusion_matrix(matrix, names, title), path)


def make_confusion_matrix(
    matrix: Sequence[Sequence[int]], names: Sequence[str], title: str
) -> Figure:
    """The figure of `plot_confusion_matrix`."""
    counts = np.asarray(matrix, dtype=np.int64)
    assert counts.shape == (len(names), len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    upright = len(names) > _MOST_LEVEL
    side = min(max(_SMALLEST, (0.75 if upright else _CELL) * len(names)), _LARGEST)
    figure = Figure(figsize=(2 * side + 2.2, side + 0.8), layout="constrained")
    figure.suptitle(plain(title))
    left, right = figure.subplots(1, 2, sharey=True)
    size = min(12.0, 72 * side / len(names) / 3.4)  # points; five digits fit
    as_counts = [[f"{n:,}" for n in row] for row in counts]
    _draw_cells(left, counts / max(counts.max(), 1), as_counts, size)
    _draw_cells(right, shares, [[f"{share:.0%}" for share in row] for row in shares], size)
    left.set_title("Rows")
    right.set_title("Share of the true class")
    labels = class_labels(names, width=26 if upright else 13, lines=4 if upright else 6)
    rows = max(label.count("\n") + 1 for label in labels)
    fitting = min(10.0, 72 * side / len(names) / (1.5 * rows))  # points
    for axes in (left, right):
        centres = np.arange(len(names)) + 0.5
        axes.set_xticks(centres, labels, rotation=90 if upright else 0, fontsize=fitting)
        axes.set_yticks(centres, labels, rotation=0, fontsize=fitting)
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
    """Draw the losses and the validation score over epochs, 300 dpi PNG.

    A value that is missing, empty or not finite leaves a gap. Values may be text, as csv reads
    them.

    Args:
        path: the picture, replaced whole.
        search_curve: evaluations of the winner's run in the search, each with `epoch`,
            `train_loss`, `eval_loss` and `score`.
        final_curve: logged steps of the final training, each with `epoch` and `loss`.
        score_label: what the scores are, for people.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    _draw_curve(losses, final_curve, "loss", "train, final training", GREEN, "-", "")
    _draw_curve(losses, search_curve, "train_loss", "train, search", BLUE, "--", "o")
    _draw_curve(losses, search_curve, "eval_loss", "validation, search", ORANGE, "-", "s")
    _draw_curve(scores, search_curve, "score", "validation, search", ORANGE, "-", "s")
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
            axes.text(0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center")
    losses.set_ylim(bottom=0)
    save(figure, path)


def _draw_cells(
    axes: Axes, shares: NDArray[np.float64], texts: list[list[str]], size: float
) -> None:
    """Shade a matrix of shares 0 to 1 and write each text in its cell, `size` in points."""
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


def _draw_curve(
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
    """The value as a number; NaN, which is not drawn, for what is missing or not finite."""
    if value is None or value == "":
        return math.nan
    number = float(str(value))
    return number if math.isfinite(number) else math.nan


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
    save(make_class_f1(names, report), path)


def make_class_f1(names: Sequence[str], report: Mapping[str, Any]) -> Figure:
    """The figure of `plot_class_f1`."""
    report = with_tested_score(report)
    label = capitalise(report["objective"]["label"])
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
