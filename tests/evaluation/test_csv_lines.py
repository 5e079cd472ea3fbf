import itertools

import pytest

from evaluation.csv_lines import CsvLines, UnclosedQuoteError


def test_lines_that_are_read_again_come_in_order_and_none_is_lost():
    lines = CsvLines("abcdef")
    lines.begin_row()
    assert [next(lines) for _ in range(3)] == ["a", "b", "c"]
    assert lines.read_again() == "a"
    assert lines.number == 1
    lines.begin_row()
    assert lines.number == 2
    assert [next(lines) for _ in range(2)] == ["b", "c"]
    assert lines.read_again() == "b"
    lines.begin_row()
    assert [next(lines) for _ in range(4)] == ["c", "d", "e", "f"]


def test_the_end_is_none_of_a_row_that_asks_for_more():
    lines = CsvLines(["a"])
    lines.begin_row()
    next(lines)
    with pytest.raises(UnclosedQuoteError, match="never closed"):
        next(lines)
    lines.begin_row()
    with pytest.raises(StopIteration):
        next(lines)


def test_a_row_of_one_line_may_be_of_any_length():
    lines = CsvLines(["x" * 10_000_001, "y"])
    assert len(next(lines)) == 10_000_001
    lines.begin_row()
    assert next(lines) == "y"


def test_lines_that_are_read_again_are_not_looked_through_to_the_end_for_each_of_them():
    lines = CsvLines(itertools.repeat("x" * 1_000))
    for longest in (10_000_000, 10_000, 10_000):
        lines.begin_row()
        with pytest.raises(UnclosedQuoteError, match=f"{longest:,}"):
            for _ in lines:
                pass
        lines.read_again()
