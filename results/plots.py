"""Pictures of a run: which classes are taken for which, and how training went."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from results.drawing import BLUE, GREEN, ORANGE, class_labels, plain, save, score_title

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
    save(draw_confusion_matrix(matrix, names, title), path)


def draw_confusion_matrix(
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
