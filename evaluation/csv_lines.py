"""Lines of a CSV that can be read again where a quote opens that nothing closes."""

from collections import deque
from collections.abc import Iterable, Iterator

_LONGEST_ROW = 10_000_000
# Lines that are read again may each open a quote: looking far from each would take for ever.
_LONGEST_ROW_AGAIN = 10_000


class UnclosedQuoteError(Exception):
    """A row asks for more lines than it can have; the message says why."""


class CsvLines(Iterator[str]):
    """What `csv.reader` reads from, row by row: it asks for a second line only inside a quote."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Take the lines, with their ends."""
        self._coming, self._again = iter(lines), deque[str]()
        self._row: list[str] = []
        self._size = 0
        self.number = 1
        """Of the line that the row begins with, from 1."""

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self.number += len(self._row)
        self._row, self._size = [], 0

    def __next__(self) -> str:
        """The next line.

        Raises:
            UnclosedQuoteError: there is none, or the row is too long, and a quote is open.
        """
        longest = _LONGEST_ROW_AGAIN if self._again else _LONGEST_ROW
        if self._row and self._size > longest:
            raise UnclosedQuoteError(f"a quote is not closed within {longest:,} characters")
        line = self._again.popleft() if self._again else next(self._coming, None)
        if line is None:
            if self._row:
                raise UnclosedQuoteError("a quote is never closed")
            raise StopIteration
        self._row.append(line)
        self._size += len(line)
        return line

    def read_again(self) -> str:
        """The first line of the row, which is then the whole row; those after it come again."""
        first, *others = self._row
        self._again.extendleft(reversed(others))
        self._row = [first]
        return first
