"""Read one cell of a table, in every file format: it is text, nothing, or unreadable.

Text is kept as it was written: `NA` or `1e5` in a CSV, the digits of a number in JSON Lines.
Parquet values have no written form: numbers get the shortest digits that read back to the same
value, dates ISO 8601, truth values `true` and `false`. NaN and null are nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_HALF_PAIR = re.compile("[\ud800-\udfff]")
NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""A byte that is not UTF-8, as `surrogateescape` decodes it."""
NOT_UTF8_ERROR = "not UTF-8 (byte 0xNN comes out as \\udcNN); save the file as UTF-8"
"""The error of a row with such a byte."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A cell that holds no text; `kind` names what it holds instead."""

    kind: str


Cell = str | None | Unreadable


def whole_characters(text: str) -> str:
    """Replace each half of a surrogate pair, which no file can hold, by U+FFFD."""
    return _HALF_PAIR.sub("\ufffd", text)


def matching_columns(wanted: str, columns: Sequence[str]) -> list[int]:
    """Return the positions of the columns with this name; outer white space is ignored."""
    name = wanted.strip()
    return [position for position, column in enumerate(columns) if column.strip() == name]
