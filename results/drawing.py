"""What every picture shares: colours, labels that fit, and a canvas without global state."""

import io
import textwrap
import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from results.files import write_bytes
from results.metric_names import capitalised

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
    (title,) = class_labels([capitalised(label)], width=60, lines=3)
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
