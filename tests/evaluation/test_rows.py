import csv
import io
import json

import pytest

from evaluation.rows import RowWriter, format_of, read_rows
from training.errors import InputError


def _read(text, kind="csv"):
    # As the command opens a file: line breaks are left to the reader of rows.
    return list(read_rows(io.StringIO(text, newline=""), kind))


def _written(kind, *calls):
    file = io.StringIO(newline="")
    writer = RowWriter(file, kind)
    for rows in calls:
        writer.write(rows)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", "csv"), ("a.JSONL", "jsonl"), ("a.ndjson", "jsonl"), ("a.txt", "csv"), ("-", "csv")],
)
def test_the_name_says_the_format(name, kind):
    assert format_of(name) == kind


def test_standard_output_has_the_format_of_the_input():
    assert format_of("-", "jsonl") == "jsonl"


def test_cells_with_quotes_commas_and_line_breaks_are_whole():
    (row,) = _read('id,text\r\n1,"a ""b"", c\r\nd"\r\n')
    assert row.cells == {"id": "1", "text": 'a "b", c\r\nd'}
    assert row.error == ""


def test_blank_lines_are_no_rows_and_the_last_needs_no_line_break():
    assert [row.cells["id"] for row in _read("id,text\n\n1,a\n\n2,b")] == ["1", "2"]


def test_too_few_cells_are_an_error_and_the_others_are_kept():
    (row,) = _read("id,text,note\n1,a\n")
    assert row.cells == {"id": "1", "text": "a", "note": ""}
    assert row.error == "the row has 2 cells, the header 3"


def test_too_many_cells_are_an_error_that_holds_what_has_no_column():
    (row,) = _read('id,text\n1,a,b,"c d"\n')
    assert row.cells == {"id": "1", "text": "a"}
    assert row.error == 'the row has 4 cells, the header 2; beyond it ["b", "c d"]'


def test_a_quote_that_is_never_closed_is_told_and_swallows_nothing_unseen():
    first, last = _read('id,text\n1,a\n2,"b\n3,c\n')
    assert first.error == ""
    assert last.error == "a quote is never closed"
    assert last.cells == {"id": "2", "text": "b\n3,c\n"}


def test_a_null_byte_and_a_very_long_cell_are_text():
    rows = _read(f"text\na\x00b\n{'x' * 200_000}\n")
    assert [row.cells["text"] for row in rows] == ["a\x00b", "x" * 200_000]
    assert [row.error for row in rows] == ["", ""]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line is empty"),
        ("\n1,2\n", "first line is empty"),
        ("a,b,a\n", "stands twice"),
        ('a,"b\n1,2\n', "opens a quote"),
    ],
)
def test_a_header_that_is_none_is_an_error(text, words):
    with pytest.raises(InputError, match=words):
        _read(text)


def test_a_header_alone_has_no_rows():
    assert _read("id,text\n") == []


def test_json_lines_keep_their_values():
    (row,) = _read('{"id": 1, "text": "a", "more": [1, null, true]}\n', "jsonl")
    assert row.cells == {"id": 1, "text": "a", "more": [1, None, True]}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "a"', "not JSON"),
        ("[1]", "must be an object, not list"),
        ("null", "must be an object, not NoneType"),
        ("[" * 100_000, "not JSON"),
        ('{"n": 1' + "0" * 5000 + "}", "not JSON"),
    ],
)
def test_a_broken_json_line_comes_out_as_it_came_with_its_error(line, words):
    broken, good = _read(f'{line}\n\n{{"text": "b"}}\n', "jsonl")
    assert broken.cells == {"line": line}
    assert words in broken.error
    assert good.cells == {"text": "b"}


def test_a_written_table_is_read_back_as_it_was():
    rows = [{"t": 'a "b"\r\n,', "error": ""}, {"t": "\x00 \U0001f621 \u202e", "error": "e"}]
    assert list(csv.DictReader(io.StringIO(_written("csv", rows), newline=""))) == rows


def test_a_table_has_the_columns_of_all_first_rows_and_names_what_has_none_later():
    first = [{"line": "{", "error": "not JSON"}, {"a": 1, "b": None, "error": ""}]
    text = _written("csv", first, [{"a": [True], "c": 2, "error": ""}])
    header, broken, good, later = csv.reader(io.StringIO(text))
    assert header == ["line", "error", "a", "b"]
    assert broken == ["{", "not JSON", "", ""]
    assert good == ["", "", "1", ""]
    assert later == ["", "no column for c", "[true]", ""]


def test_json_lines_are_written_one_a_row():
    rows = [{"t": "a\nb", "n": 1.5, "error": ""}, {"u": None, "error": ""}]
    assert [json.loads(line) for line in _written("jsonl", rows).splitlines()] == rows
