"""Pieces of a page: whatever they are given comes out as text, never as markup."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

# Pixels of an embedded picture's longer side: sharp on a screen, and the page stays small.
_LONGEST_SIDE = 1600


def section(title: str, content: str) -> str:
    """A section under its title."""
    return f"<section><h2>{escape(title)}</h2>\n{content}</section>\n"


def heading(title: str) -> str:
    """The title of a part of a section."""
    return f"<h3>{escape(title)}</h3>\n"


def paragraphs(lines: Iterable[str]) -> str:
    """A paragraph a line, its first letter a capital."""
    return "".join(f"<p>{escape(line[:1].upper() + line[1:])}</p>\n" for line in lines)


def code(text: str) -> str:
    """A line of code."""
    return f"<p><code>{escape(text)}</code></p>\n"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; cells are texts, or numbers, which stand on the right."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f'<table tabindex="0"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>\n'


def picture(path: Path, text: str) -> str:
    """A smaller copy of a PNG, inside the page; nothing where the file is missing or broken.

    Args:
        path: the picture.
        text: what it shows, for those who do not see it.
    """
    try:
        with Image.open(path) as image:
            image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
            # Few colours are drawn, so that a palette of them costs nothing that can be seen.
            small = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    except (OSError, SyntaxError):  # Pillow says SyntaxError of a bad PNG
        return ""
    content = io.BytesIO()
    small.save(content, format="PNG", optimize=True)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f'<p><img alt="{escape(text)}" src="data:image/png;base64,{encoded}"></p>\n'


def number(value: Any) -> str:
    """A score with four decimals; nothing for what is missing; a text as it stands."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def interval(bounds: Sequence[float] | None) -> str:
    """The two ends; nothing where there are none."""
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else ""


def _cell(value: Any) -> str:
    kind = ' class="number"' if isinstance(value, int | float) else ""
    return f"<td{kind}>{escape(str(value))}</td>"
