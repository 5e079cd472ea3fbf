"""Charts of the page: figures of Plotly as plain data, drawn by the page's script when seen.

Colours are names such as `@blue`: the style sheet says what they are in light, dark and print.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Trace = dict[str, Any]
Layout = dict[str, Any]

_MANY_DECADES = 300.0

LEVEL = "level"
"""Key in a trace's `meta`: the equal budget that it belongs to, chosen by the page's list."""


def chart(
    title: str, described: str, traces: Sequence[Trace], layout: Layout, *, height: int = 420
) -> str:
    """A chart with its caption; readers of the page's text hear title and description.

    Args:
        title: what is drawn against what.
        described: what there is to see, in a sentence or two.
        traces: of Plotly; texts in them are Plotly's markup, so escape what comes from data.
        layout: of Plotly; what all charts share is laid under it.
        height: in pixels.
    """
    figure = {"data": traces, "layout": _merged(_shared(), {**layout, "height": height})}
    return (
        f'<figure class="chart"><div class="plot" role="group" aria-label="{escape(title)}."'
        f' style="min-height:{height}px">{data_block(figure)}</div>\n'
        f"<figcaption><strong>{escape(title)}.</strong> {escape(described)}</figcaption></figure>\n"
    )


def data_block(value: Any) -> str:
    """A value as JSON in the page, where no text of it can end the block."""
    # Marks that a browser's parser acts on: written as JSON's own escapes.
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return f'<script type="application/json">{text}</script>'


def of_level(examples: int, *, is_shown: bool) -> Trace:
    """What ties a trace to an equal budget, in training rows seen, for the page's list."""
    return {"meta": {LEVEL: examples}, "visible": is_shown}


def axis(title: str, **more: Any) -> Layout:
    """An axis with its title, which may hold what comes from data."""
    return {"title": {"text": plotly_text(title), "standoff": 8}, **more}


def plotly_text(text: str) -> str:
    """A text as Plotly shows it as it stands; it knows no `&quot;`."""
    return escape(text, quote=False)


def rounded(values: Sequence[float], digits: int = 4) -> list[float | None]:
    """Values as short as they can be told apart on a screen; None, a gap, for what is not finite.

    `digits` are significant.
    """
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


def log_axis(title: str, values: Iterable[float]) -> Layout:
    """A logarithmic axis with ticks at 1, 2 and 5 of each power of ten that `values` span."""
    seen = [value for value in values if math.isfinite(value) and value > 0]
    low, high = min(seen, default=1.0), max(seen, default=1.0)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    digits = (1, 2, 5) if high / low < _MANY_DECADES else (1,)
    ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
    return axis(title, type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])


def _shared() -> Layout:
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "@ink", "family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 62, "r": 16, "t": 40, "b": 48},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@muted", "font": {"color": "@ink"}},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": _ruled(),
        "yaxis": _ruled(),
    }


def _ruled() -> Layout:
    return {
        "gridcolor": "@line",
        "linecolor": "@muted",
        "zerolinecolor": "@line",
        "automargin": True,
        "ticks": "outside",
        "tickcolor": "@muted",
    }


def _merged(under: Layout, over: Mapping[str, Any]) -> Layout:
    """`over` laid over `under`, mappings within mappings too."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


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
