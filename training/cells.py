"""What a cell says as text: one rule for training and predicting, whatever the format.

A cell is its text, or nothing, or unreadable. Text is taken as it was written: `NA` or `1e5` of a
CSV, the digits of a number in JSON Lines. Parquet has values without a spelling: these get the
shortest digits that read back, ISO 8601, `true` and `false`. NaN and null are nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_HALF_PAIR = re.compile("[\ud800-\udfff]")
NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""A byte that is not UTF-8, as `surrogateescape` brings it in."""
NOT_UTF8_ERROR = "not UTF-8 (byte 0xNN comes out as \\udcNN); save the file as UTF-8"
"""The error of a row with such a byte."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A cell that holds no text; `kind` says what it holds."""

    kind: str


Cell = str | None | Unreadable


def whole_characters(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, which no file can hold."""
    return _HALF_PAIR.sub("\ufffd", text)


def matching_columns(wanted: str, columns: Sequence[str]) -> list[int]:
    """Places of the columns with this name, outer white space left aside."""
    name = wanted.strip()
    return [place for place, column in enumerate(columns) if column.strip() == name]
