"""HTML that the report's sections are made of: headings, tables, folds and Plotly figures.

Figures are plain data, which the page's script plots when they scroll into view. Colours in them
are names such as `@blue`; the style sheet defines them for light, dark and print.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from results.score_names import capitalise

Trace = dict[str, Any]
Layout = dict[str, Any]

_MANY_DECADES = 300.0
"""Ratio of an axis' ends from which on only powers of ten get a tick."""


def chart(
    title: str, described: str, traces: Sequence[Trace], layout: Layout, *, height: int = 420
) -> str:
    """Return a Plotly chart with its caption.

    Args:
        title: of the chart; screen readers read it as well.
        described: how to read the chart, in a sentence or two.
        traces: Plotly traces; texts in them are Plotly markup, so escape text from data with
            `plotly_text`.
        layout: Plotly layout; it overrides the layout that all charts share.
        height: in pixels.
    """
    figure = {"data": traces, "layout": _merged(_shared_layout(), {**layout, "height": height})}
    return (
        f'<figure class="chart"><div class="plot" role="group" aria-label="{escape(title)}."'
        f' style="min-height:{height}px">{data_block(figure)}</div>\n'
        f"<figcaption><strong>{escape(title)}.</strong> {escape(described)}</figcaption></figure>\n"
    )


def data_block(value: Any) -> str:
    """Return a value as a JSON block that no text within the value can end."""
    # HTML parsers act on these characters, so they are written as JSON escapes.
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return f'<script type="application/json">{text}</script>'


def at_budget(examples: int, *, is_selected: bool) -> Trace:
    """Tie a trace to a budget, in training rows seen: `choice` displays one budget at a time."""
    return {"meta": {"budget": examples}, "visible": is_selected}


def axis(title: str, **more: Any) -> Layout:
    """Return an axis with its title, which may contain text from data."""
    return {"title": {"text": plotly_text(title), "standoff": 8}, **more}


def plotly_text(text: str) -> str:
    """Escape a text for Plotly, which does not know `&quot;`."""
    return escape(text, quote=False)


def rounded(values: Sequence[float], digits: int = 4) -> list[float | None]:
    """Round values to significant digits; None, a gap in the plot, for one that is not finite."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


def log_axis(title: str, values: Iterable[float]) -> Layout:
    """Return a logarithmic axis with ticks at 1, 2 and 5 times each power of ten in `values`."""
    positive = [value for value in values if math.isfinite(value) and value > 0]
    low, high = min(positive, default=1.0), max(positive, default=1.0)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high / low < _MANY_DECADES else (1,)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
    return axis(title, type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])


def _shared_layout() -> Layout:
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "@ink", "family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 62, "r": 16, "t": 40, "b": 48},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@muted", "font": {"color": "@ink"}},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": _axis_style(),
        "yaxis": _axis_style(),
    }


def _axis_style() -> Layout:
    return {
        "gridcolor": "@line",
        "linecolor": "@muted",
        "zerolinecolor": "@line",
        "automargin": True,
        "ticks": "outside",
        "tickcolor": "@muted",
    }


def _merged(under: Layout, over: Mapping[str, Any]) -> Layout:
    """Return `under` updated with `over`, nested mappings included."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


@dataclass(frozen=True)
class Titled:
    """A shortened text; its cell displays the whole one under the mouse."""

    text: str
    whole: str

    def __str__(self) -> str:
        """Return the shortened text."""
        return self.text


_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(\.[0-9]+)?(e[+-][0-9]+)?( points)?")
_LONG = 30
"""Characters above which a cell has a line of its own on narrow screens."""


def section(title: str, content: str) -> str:
    """Return a section with its title; the page's list of contents links to it."""
    anchor = anchor_of(title)
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{escape(title)}</h2>\n{content}</section>\n'
    )


def anchor_of(title: str) -> str:
    """Return the fragment of a section's address."""
    return "-".join(title.lower().split())


def heading(title: str) -> str:
    """Return the title of a part of a section."""
    return f"<h3>{escape(title)}</h3>\n"


def fold(summary: str, content: str, *, is_open: bool = False) -> str:
    """Return content below a line that opens and closes it; empty without content."""
    state = " open" if is_open else ""
    return (
        f"<details{state}><summary>{escape(summary)}</summary>\n{content}</details>\n"
        if content
        else ""
    )


def paragraphs(lines: Iterable[str]) -> str:
    """Return a paragraph for each line, with a capital first letter."""
    return "".join(f"<p>{escape(capitalise(line))}</p>\n" for line in lines)


def bullets(lines: Iterable[str]) -> str:
    """Return a list; empty without lines."""
    items = "".join(f"<li>{escape(capitalise(line))}</li>\n" for line in lines)
    return f"<ul>{items}</ul>\n" if items else ""


def code(text: str) -> str:
    """Return a line of code."""
    return f"<p><code>{escape(text)}</code></p>\n"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "") -> str:
    """Return a table; narrow screens display each row as a card headed by its first cell.

    Columns whose cells are all empty are left out; without rows the result is empty. Numbers are
    aligned right, texts left.
    """
    columns, kept = _without_empty_columns(header, list(rows))
    head = "".join(f'<th scope="col" role="columnheader">{escape(name)}</th>' for name in columns)
    return _table(head, columns, kept, caption, "stack") if kept else ""


def sortable_table(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    caption: str,
    marked: Mapping[str, str] | None = None,
) -> str:
    """Return a table with buttons in its header that sort it; empty cells stay last.

    The page's script displays its first rows and a button for the others.

    Args:
        header: names of the columns.
        rows: the cells of each row; columns whose cells are all empty are left out.
        caption: of the table.
        marked: class of the style sheet for rows, by their first cell.
    """
    columns, kept = _without_empty_columns(header, list(rows))
    head = "".join(
        f'<th scope="col" role="columnheader"><button type="button">{escape(name)}</button></th>'
        for name in columns
    )
    return _scrolling(_table(head, columns, kept, caption, "stack sortable", marked or {}), caption)


def _without_empty_columns(
    header: Sequence[str], rows: list[Sequence[Any]]
) -> tuple[list[str], list[list[Any]]]:
    kept = [n for n in range(len(header)) if any(str(row[n]) for row in rows)]
    return [header[n] for n in kept], [[row[n] for n in kept] for row in rows]


def _table(
    head: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    caption: str,
    kind: str,
    marked: Mapping[str, str] | None = None,
) -> str:
    body = "".join(_row(row, columns, (marked or {}).get(str(row[0]), "")) for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    # Cards on narrow screens are no table for browsers, so that its roles are written out.
    return (
        f'<table class="{kind}" role="table">{title}<thead role="rowgroup"><tr role="row">{head}'
        f'</tr></thead>\n<tbody role="rowgroup">{body}</tbody></table>\n'
    )


def _row(row: Sequence[Any], columns: Sequence[str], kind: str) -> str:
    first, *others = row
    cells = "".join(map(_cell, others, columns[1:]))
    attributes = f' class="{kind}"' if kind else ""
    return (
        f'<tr role="row"{attributes}><th scope="row" role="rowheader"{_title(first)}>'
        f"{escape(str(first))}</th>"
        f"{cells}</tr>\n"
    )


def _cell(value: Any, column: str) -> str:
    text = str(value)
    kind = ""
    if isinstance(value, int | float) or _NUMBER.fullmatch(text):
        kind = ' class="number"'
    elif len(text) > _LONG:
        kind = ' class="long"'
    return f'<td role="cell" data-label="{escape(column)}"{kind}{_title(value)}>{escape(text)}</td>'


def _title(value: Any) -> str:
    """Return the attribute of a cell whose text is shortened; else empty."""
    is_short = isinstance(value, Titled) and value.text != value.whole
    return f' title="{escape(value.whole)}"' if is_short else ""


def _scrolling(content: str, label: str) -> str:
    """Return content that scrolls in its own box if it is wider than the page."""
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(label)}">{content}'
        "</div>\n"
    )


def grid(parts: Iterable[str]) -> str:
    """Return parts side by side, as many as fit the width."""
    return f'<div class="grid">{"".join(parts)}</div>\n'


def choice(label: str, options: Mapping[str, str], *, selected: str) -> str:
    """Return a list of budgets to choose from, {value: text}; the page's script acts on it."""
    items = "".join(
        f'<option value="{escape(value)}"{" selected" if value == selected else ""}>'
        f"{escape(text)}</option>"
        for value, text in options.items()
    )
    return f'<p><label>{escape(label)} <select class="budget">{items}</select></label></p>\n'


def matrix(labels: Sequence[str], cells: Sequence[Sequence[tuple[int, float]]]) -> str:
    """Return a confusion matrix: the larger a cell's share of its row, the darker.

    Narrow screens display the numbers of the columns instead of their names.

    Args:
        labels: [num_labels], name of each row and column.
        cells: [num_labels, num_labels], number of rows and their share of the true class.
    """
    caption = "Test rows by true class (row) and predicted class (column)"
    head = "".join(
        f'<th scope="col"><span class="wide">{escape(name)}</span>'
        f'<span class="narrow" aria-hidden="true">{number}</span></th>'
        for number, name in enumerate(labels, 1)
    )
    body = "".join(
        f'<tr><th scope="row"><span class="narrow" aria-hidden="true">{number} </span>'
        f"{escape(name)}</th>{''.join(_shaded(*cell) for cell in row)}</tr>\n"
        for number, (name, row) in enumerate(zip(labels, cells, strict=False), 1)
    )
    content = (
        f'<table class="matrix"><caption>{caption}</caption><thead><tr>'
        f"<td></td>{head}</tr></thead>\n<tbody>{body}</tbody></table>\n"
    )
    return _scrolling(content, caption)


def _shaded(count: int, share: float) -> str:
    return (
        f'<td class="number" style="--share:{share:.3f}">{count:,}'
        f'<span class="share"> {share:.0%}</span></td>'
    )


def number(value: Any) -> str:
    """Format a score with three decimals; None becomes empty, a text stays as it is."""
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def interval(bounds: Sequence[float] | None) -> str:
    """Format the two ends of an interval; None becomes empty."""
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else ""
