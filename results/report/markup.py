"""Pieces of a page: whatever they are given comes out as text, never as markup."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(\.[0-9]+)?(e[+-][0-9]+)?")
_LONG = 30
"""Characters from which on a cell's text may be broken anywhere."""


def section(title: str, content: str) -> str:
    """A section under its title, which the page's list of contents leads to."""
    anchor = anchor_of(title)
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{escape(title)}</h2>\n{content}</section>\n'
    )


def anchor_of(title: str) -> str:
    """What a section's address ends with."""
    return "-".join(title.lower().split())


def heading(title: str) -> str:
    """The title of a part of a section."""
    return f"<h3>{escape(title)}</h3>\n"


def paragraphs(lines: Iterable[str]) -> str:
    """A paragraph a line, its first letter a capital."""
    return "".join(f"<p>{escape(line[:1].upper() + line[1:])}</p>\n" for line in lines)


def code(text: str) -> str:
    """A line of code."""
    return f"<p><code>{escape(text)}</code></p>\n"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "") -> str:
    """A table; cells are texts, or numbers, which stand on the right."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    return _table(head, rows, caption, "")


def sortable_table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str) -> str:
    """A table that its header's buttons sort; empty cells stay last."""
    head = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in header
    )
    return _table(head, rows, caption, ' class="sortable"')


def _table(head: str, rows: Iterable[Sequence[Any]], caption: str, attributes: str) -> str:
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    # In a box that scrolls by itself, so that no wide table makes the page scroll sideways.
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(caption or "table")}">'
        f"<table{attributes}>{told}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
        "</div>\n"
    )


def grid(parts: Iterable[str]) -> str:
    """Parts beside each other where there is room."""
    return f'<div class="grid">{"".join(parts)}</div>\n'


def cards(pairs: Iterable[tuple[str, str, str]]) -> str:
    """Figures to be seen first: (name, value, what it means) each."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd><b>{escape(value)}</b>{escape(meaning)}</dd></div>"
        for name, value, meaning in pairs
    )
    return f'<dl class="cards">{items}</dl>\n'


def choice(label: str, options: Mapping[str, str], *, selected: str) -> str:
    """A list to choose from, {value: text}; the page's script acts on it."""
    items = "".join(
        f'<option value="{escape(value)}"{" selected" if value == selected else ""}>'
        f"{escape(text)}</option>"
        for value, text in options.items()
    )
    return f'<p><label>{escape(label)} <select class="level">{items}</select></label></p>\n'


def shaded_table(
    header: Sequence[str],
    rows: Iterable[tuple[str, Sequence[tuple[str, float]]]],
    *,
    caption: str,
) -> str:
    """A table whose cells, (text, share from 0 to 1), are the darker the larger their share."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(
            f'<td class="number shaded" style="--share:{share:.3f}">{escape(text)}</td>'
            for text, share in cells
        )
        + "</tr>\n"
        for name, cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>\n"
        f"<tbody>{body}</tbody></table></div>\n"
    )


def number(value: Any) -> str:
    """A score with four decimals; nothing for what is missing; a text as it stands."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def interval(bounds: Sequence[float] | None) -> str:
    """The two ends; nothing where there are none."""
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else ""


def _cell(value: Any) -> str:
    text = str(value)
    kind = ""
    if isinstance(value, int | float) or _NUMBER.fullmatch(text):
        kind = ' class="number"'
    elif len(text) > _LONG:
        kind = ' class="long"'
    return f"<td{kind}>{escape(text)}</td>"
