import io
import itertools
import json

import pytest

from evaluation.rows import format_of, format_that_begins, read_table
from training.errors import InputError


def _read(text, kind="csv"):
    # As the command opens a file: line breaks are left to the reader of rows.
    return list(read_table(io.StringIO(text, newline=""), kind).rows)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("a.JSONL", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.txt", None),
        ("-", None),
        ("/dev/fd/63", None),
    ],
)
def test_a_name_says_the_format_or_nothing(name, kind):
    assert format_of(name) == kind


@pytest.mark.parametrize("before", ["", " ", " \n" * 50_000])
@pytest.mark.parametrize(
    ("text", "kind"), [('{"a": 1}\n[2]\n', "jsonl"), ("a,b\n", "csv"), ("", "csv")]
)
def test_the_first_character_says_the_format_and_nothing_is_read_away(before, text, kind):
    said, lines = format_that_begins(io.StringIO(before + text, newline=""))
    assert said == kind
    assert "".join(lines) == before + text


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


def test_a_quote_that_is_never_closed_is_told_and_the_rows_after_it_are_read():
    first, broken, *others = _read('id,text\n1,"a\n"\n2,"b\r\n\n3,c\r\n4,d\n')
    assert (first.cells, first.error) == ({"id": "1", "text": "a\n"}, "")
    assert broken.cells == {"id": "2", "text": "b"}
    assert broken.error == "line 4: a quote is never closed"
    assert [dict(row.cells) for row in others] == [
        {"id": "3", "text": "c"},
        {"id": "4", "text": "d"},
    ]
    assert [row.error for row in others] == ["", ""]


def test_cells_before_a_quote_that_is_never_closed_are_kept():
    (row,) = _read('id,text\n1,2,3,"b')
    assert row.cells == {"id": "1", "text": "2"}
    assert row.error == (
        'line 2: a quote is never closed; the row has 4 cells, the header 2; beyond it ["3", "b"]'
    )


def test_a_quote_swallows_no_more_than_ten_million_characters_and_none_for_good():
    lines = (f"{number},{'x' * 990}\n" for number in itertools.count())
    table = read_table(itertools.chain(["id,text\n", '-1,"open\n'], lines), "csv")
    broken, *others = itertools.islice(table.rows, 20_000)
    assert broken.cells == {"id": "-1", "text": "open"}
    assert broken.error == "line 2: a quote is not closed within 10,000,000 characters"
    assert [row.cells["id"] for row in others] == [str(number) for number in range(19_999)]
    assert {row.error for row in others} == {""}


def test_each_row_may_leave_a_quote_open():
    rows = _read("id,text\n" + 'a"b,"c\n' * 500)
    assert [row.cells for row in rows] == [{"id": 'a"b', "text": "c"}] * 500
    assert [row.error for row in rows[::499]] == [
        f"line {line}: a quote is never closed" for line in (2, 501)
    ]


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


def test_a_header_alone_has_columns_and_no_rows():
    table = read_table(io.StringIO("id,text\n", newline=""), "csv")
    assert table.columns == ["id", "text"]
    assert list(table.rows) == []


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


@pytest.mark.parametrize("depth", [201, 500, 975, 980, 985, 990, 5_000])
@pytest.mark.parametrize("ends", ["[]", ('{"a":', "}")])
def test_what_is_nested_too_deep_to_be_written_is_not_read(depth, ends):
    opening, closing = ends
    inner = opening * (depth - 1) + "1" + closing * (depth - 1)
    broken, good = _read(f'{{"text": "a", "b": {inner}}}\n{{"text": "b"}}\n', "jsonl")
    assert list(broken.cells) == ["line"]
    assert json.loads(json.dumps(broken.cells)) == broken.cells
    assert broken.error == "not JSON that can be read: nested more than 200 deep"
    assert (good.cells, good.error) == ({"text": "b"}, "")


def test_what_is_nested_less_deep_or_beside_one_another_is_read():
    deep = json.loads("[" * 199 + "]" * 199)
    (row,) = _read(json.dumps({"text": "a", "deep": deep, "wide": [[]] * 1_000}) + "\n", "jsonl")
    assert (row.cells["deep"], row.error) == (deep, "")


@pytest.mark.parametrize(
    ("text", "kind", "cells"),
    [
        ("id,text\n1,Z\udcfcrich\n2,b\n", "csv", {"id": "1", "text": "Z\udcfcrich"}),
        ('{"text": "Z\udcfcrich"}\n{"text": "b"}\n', "jsonl", {"line": '{"text": "Z\udcfcrich"}'}),
    ],
)
def test_bytes_that_are_not_utf8_are_an_error_of_their_row_and_not_lost(text, kind, cells):
    first, second = _read(text, kind)
    assert first.cells == cells
    assert first.error.startswith("not UTF-8")
    assert (second.cells["text"], second.error) == ("b", "")


def test_a_key_that_stands_twice_is_an_error_and_neither_value_is_lost():
    line = '{"text": "a", "text": "b"}'
    (row,) = _read(line, "jsonl")
    assert (row.cells, row.error) == ({"line": line}, "the key 'text' stands twice")
    (row,) = _read('{"text": "a", "deep": {"x": 1, "x": 2}}', "jsonl")
    assert row.error == "the key 'x' stands twice"
