"""Pictures of a run, drawn without a screen and without matplotlib's global state."""

import io
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from results.files import write_bytes

DOTS_PER_INCH = 300

# Okabe and Ito 2008: told apart under every common colour blindness.
_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"

# A class name is broken into lines of about this many characters.
_LABEL_CHARACTERS = 13


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
    counts = np.asarray(matrix, dtype=np.int64)
    assert counts.shape == (len(names), len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(4.2, 1.3 * len(names)), 9.0)
    figure = Figure(figsize=(2 * side + 2.2, side + 0.8), layout="constrained")
    figure.suptitle(_plain(title))
    left, right = figure.subplots(1, 2, sharey=True)
    size = min(12.0, 12 * side / len(names))
    as_counts = [[f"{n:,}" for n in row] for row in counts]
    _draw_cells(left, counts / max(counts.max(), 1), as_counts, size)
    _draw_cells(right, shares, [[f"{share:.0%}" for share in row] for row in shares], size)
    left.set_title("Rows")
    right.set_title("Share of the true class")
    labels = [_wrapped(name) for name in names]
    for axes in (left, right):
        centres = np.arange(len(names)) + 0.5
        axes.set_xticks(centres, labels, rotation=90 if len(names) > 10 else 0)
        axes.set_yticks(centres, labels, rotation=0)
        axes.set_xlabel("Predicted")
    left.set_ylabel("True")
    _save(figure, path)


def plot_training_curves(
    path: Path,
    *,
    search_curve: Sequence[Mapping[str, Any]],
    final_curve: Sequence[Mapping[str, Any]],
) -> None:
    """Draw the losses and the validation score over epochs, 300 dpi PNG.

    A value that is missing, empty or not finite leaves a gap. Values may be text, as csv reads
    them.

    Args:
        path: the picture, replaced whole.
        search_curve: evaluations of the winner's run in the search, each with `epoch`,
            `train_loss`, `eval_loss` and `f1_macro`.
        final_curve: logged steps of the final training, each with `epoch` and `loss`.

    Raises:
        OSError: the file cannot be written.
    """
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    _draw_curve(losses, final_curve, "loss", "train, final training", _GREEN, "-", "")
    _draw_curve(losses, search_curve, "train_loss", "train, search", _BLUE, "--", "o")
    _draw_curve(losses, search_curve, "eval_loss", "validation, search", _ORANGE, "-", "s")
    _draw_curve(scores, search_curve, "f1_macro", "validation, search", _ORANGE, "-", "s")
    for axes, title, unit in (
        (losses, "Loss", "Class-weighted cross-entropy"),
        (scores, "Score of the winner in the search", "Macro-F1"),
    ):
        axes.set_title(title)
        axes.set_xlabel("Epoch")
        axes.set_ylabel(unit)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8))
        if axes.lines:
            axes.legend(frameon=False)
        else:
            axes.text(0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center")
    losses.set_ylim(bottom=0)
    _save(figure, path)


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


def _wrapped(name: str) -> str:
    whole = name.replace(" - ", " -\u00a0")  # a dash stays with the word that follows it
    return _plain("\n".join(textwrap.wrap(whole, _LABEL_CHARACTERS)) or name)


def _plain(text: str) -> str:
    # matplotlib reads what stands between two dollar signs as a formula.
    return text.replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # Scripts that the built-in font lacks are drawn as boxes; nobody could act on it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasAgg(figure)  # the one canvas that needs no screen
        figure.savefig(picture, format="png", dpi=DOTS_PER_INCH)
    write_bytes(path, picture.getvalue())
