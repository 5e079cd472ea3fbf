"""What a cell says as text: one rule for training and predicting, whatever the format.

A cell is its text, or nothing, or unreadable. Text is taken as it was written: `NA` or `1e5` of a
CSV, the digits of a number in JSON Lines. Parquet has values without a spelling: these get the
shortest digits that read back, ISO 8601, `true` and `false`. NaN and null are nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

_HALF_PAIR = re.compile("[\ud800-\udfff]")
NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""A byte that is not UTF-8, as `surrogateescape` brings it in."""
TOLD_NOT_UTF8 = "not UTF-8 (byte 0xNN comes out as \\udcNN); save the file as UTF-8"
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


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


class Labels:
    """The configured labels, as cells of a table name them.

    Outer white space counts for nothing, case does. Where every label is a number, so do other
    spellings of it: `1.0` is `1`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Take the names in the order of their codes."""
        self.names = tuple(names)
        self._codes = {name.strip(): code for code, name in enumerate(names)}
        values = [_value(name) for name in names]
        numeric = None not in values and len(set(values)) == len(values)
        self._by_value = dict(zip(values, range(len(names)), strict=True)) if numeric else {}

    def code_of(self, cell: str) -> int | None:
        """Place of the label that a cell names; None: it names none."""
        code = self._codes.get(cell.strip())
        if code is None and self._by_value:
            code = self._by_value.get(_value(cell)) if _value(cell) is not None else None
        return code

    def is_label(self, cell: str) -> bool:
        """Whether a cell names a label."""
        return self.code_of(cell) is not None

    def describe_respelt(self, cells: Sequence[str]) -> str:
        """A sentence about the cells that name a label in another spelling; empty: none does."""
        other = [cell for cell in cells if cell not in self.names and self.is_label(cell)]
        if not other:
            return ""
        code = self.code_of(other[0])
        assert code is not None
        return (
            f"{len(other):,} labels are spelt otherwise, such as {other[0]!r} for"
            f" {self.names[code]!r}: white space around a label, and how a number is written, do"
            " not count"
        )


def _value(text: str) -> Decimal | None:
    text = text.strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else None
