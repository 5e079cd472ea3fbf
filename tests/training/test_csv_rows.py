import io
import itertools

import pytest

from tests.training.reading import LABELS, WANTED, csv_rows, read, refusal, written
from training.csv_rows import CsvRows, find_separator
from training.errors import InputError
from training.labels import Labels
from training.table_bytes import open_source

LABEL = ("label", Labels(LABELS).is_label)


def cells_of(text, **options):
    return [list(row.cells) for row in csv_rows(text, **options)]


def test_cells_with_quotes_separators_and_line_breaks_are_whole():
    assert cells_of('id,text\r\n1,"a ""b"", c\r\nd"\r\n') == [["1", 'a "b", c\r\nd']]


def test_blank_lines_are_no_rows_and_the_last_needs_no_line_break():
    assert cells_of("id,text\n\n1,a\n   \n2,b") == [["1", "a"], ["2", "b"]]


def test_a_quote_inside_a_cell_that_does_not_start_with_one_is_text():
    assert cells_of('id,text\n1,a 5" screen\n2,call "hi"\n') == [
        ["1", 'a 5" screen'],
        ["2", 'call "hi"'],
    ]


def test_a_row_with_too_few_or_too_many_cells_has_an_error_and_keeps_its_cells():
    few, many, sound = csv_rows('id,text,note\n1,a\n1,a,b,c,"d e"\n1,2,3\n')
    assert (few.cells, few.error) == (["1", "a"], "the row has 2 cells, but the header has 3")
    assert many.error == 'the row has 5 cells, but the header has 3; extra cells: ["c", "d e"]'
    assert sound.error == ""


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('1,"kowe"x', "text follows a closing quote"),
        ('1,"kowe" ', "text follows a closing quote"),
        ('1,"a "b" c"', "text follows a closing quote"),
        ('1,"never closed', "never closed"),
        ("1,a\rb", "bare carriage return"),
        ("1", "1 cell, but the header has 2"),
    ],
)
def test_a_broken_row_has_an_error_and_the_rows_after_it_are_read(broken, reason):
    first, second, third = csv_rows(f"id,text\n{broken}\n2,b\n3,c\n")
    assert reason in first.error
    assert [second.cells, third.cells] == [["2", "b"], ["3", "c"]]
    assert (first.line, second.line, third.line) == (2, 3, 4)


def test_a_quote_that_another_quote_closes_far_below_swallows_no_row():
    text = 'text,label\n"a,baik\nb,biasa\n"c,buruk\nd,baik\n'
    rows = csv_rows(text)
    assert [list(row.cells) for row in rows] == [
        ['"a', "baik"],
        ["b", "biasa"],
        ['"c', "buruk"],
        ["d", "baik"],
    ]
    assert ["line 4" in rows[0].error, rows[1].error] == [True, ""]
    assert "never closed" in rows[2].error


def test_the_cells_before_a_quote_that_is_never_closed_are_kept():
    (row,) = csv_rows('id,text\n1,2,3,"b')
    assert row.error == 'a quote is never closed; extra cells: ["3", "\\"b"]'


def test_a_quoted_cell_ends_within_ten_million_characters():
    lines = "".join(f"{number},{'x' * 990}\n" for number in range(11_000))
    broken, *others = csv_rows('id,text\n-1,"open\n' + lines)
    assert broken.error == "a quote is not closed within 10,000,000 characters"
    assert [row.cells[0] for row in others] == [str(number) for number in range(11_000)]
    assert {row.error for row in others} == {""}


def test_each_row_may_leave_a_quote_open():
    rows = csv_rows("id,text\n" + 'a"b,"c\n' * 500)
    assert [list(row.cells) for row in rows] == [['a"b', '"c']] * 500
    assert {row.line for row in rows} == set(range(2, 502))


def test_a_null_byte_and_a_very_long_cell_are_text():
    rows = csv_rows(f"text,n\na\x00b,1\n{'x' * 200_000},2\n")
    assert [row.cells[0] for row in rows] == ["a\x00b", "x" * 200_000]


def test_bytes_that_are_not_utf8_break_only_their_own_row():
    first, second = csv_rows("id,text\n1,Z\udcfcrich\n2,b\n")
    assert first.error.startswith("not UTF-8")
    assert second.error == ""


SWALLOWED = 'text,label\n"a,baik\nb,biasa\nc,buruk",baik\nd,baik\n'
"""An unmatched quote before `a` is closed by the quote after `buruk`."""
STANZAS = 'text,label\n"first line\nsecond line, of a song\nlast",baik\n'


def test_a_quoted_cell_over_lines_that_are_rows_has_swallowed_them():
    rows = csv_rows(SWALLOWED)
    assert [row.cells[0] for row in rows] == ['"a', "b", "c", "d"]
    assert "from line 2 to line 4" in rows[0].error
    assert [len(row.cells) for row in csv_rows(SWALLOWED, multiline=True)] == [2, 2]


def test_a_quoted_cell_of_several_lines_is_text_where_no_line_is_a_row():
    poem = 'id,text\n1,"one\ntwo\nthree"\n'
    assert cells_of(poem) == [["1", "one\ntwo\nthree"]]
    one_column = 'text\n"one\ntwo\nthree"\n'
    assert cells_of(one_column) == [["one\ntwo\nthree"]]


def test_in_training_only_a_known_label_reveals_swallowed_rows(tmp_path):
    path = written(tmp_path, "a.csv", STANZAS)
    assert read(path, label=LABEL).cells["text"] == [
        "first line\nsecond line, of a song\nlast",
    ]
    path = written(tmp_path, "b.csv", SWALLOWED)
    assert "from line 2 to line 4" in refusal(path, label=LABEL)
    assert read(path, label=LABEL, multiline=True).num_rows == 2


def test_a_swallowed_row_of_two_lines_is_recognised_by_its_first_line(tmp_path):
    path = written(tmp_path, "a.csv", 'text,label\n"a,baik\nb 5",biasa\nc,baik\n')
    assert "from line 2 to line 3" in refusal(path, label=LABEL)


def test_a_broken_table_is_refused_with_its_first_rows_and_how_many_there_are(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\n" + "a\n" * 7 + "b,baik\n")
    with pytest.raises(InputError) as caught:
        read(path)
    *first, last = caught.value.problems
    assert [line.split(": ", 1)[1] for line in first] == [
        f"line {line}: the row has 1 cell, but the header has 2" for line in (2, 3, 4)
    ]
    assert last == f"{path}: 4 more rows are broken"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_from_the_first_lines(tmp_path, separator):
    content = f"id{separator}text{separator}label\n1{separator}a, b; c{separator}baik\n"
    if separator in ",;":
        content = content.replace("a, b; c", '"a, b; c"')
    path = written(tmp_path, "a.csv", content)
    columns = read(path)
    assert columns.cells["text"] == ["a, b; c"]
    assert columns.format == f"CSV separated by {separator!r}"


def test_commas_in_texts_do_not_hide_another_separator():
    head = b"text;label\nno, never, not;a\nyes, well;b\n"
    assert find_separator(head, ["text", "label"]) == ";"


def test_a_header_of_commas_and_semicolons_is_split_where_the_columns_are():
    assert find_separator(b"text,label;note\na,b;c\n", ["text"]) == ","
    assert find_separator(b"a,b;text;label\n1,2;x;y\n", ["text", "label"]) == ";"


def test_a_table_of_one_column_has_no_separator_to_find():
    assert find_separator(b"text\na; b\n", ["text"]) == ","


def test_the_configured_separator_has_priority_over_the_one_that_would_be_found(tmp_path):
    path = written(tmp_path, "a.csv", "text;label|x\na;b|c\n")
    columns = read(path, {"text;label": "data.text_column"}, separator="|")
    assert columns.cells == {"text;label": ["a;b"]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "first line is empty"),
        ("\n1,2\n", "first line is empty"),
        (",,\n1,2,3\n", "first line is empty"),
        ('a,"b\n1,2\n', "no header"),
        ("sep=;\ntext;label\na;b\n", "Excel's mark of the separator"),
        ('"a"b,c\n1,2\n', "no header"),
    ],
)
def test_a_first_line_that_is_no_header_is_refused(tmp_path, content, reason):
    assert reason in refusal(written(tmp_path, "a.csv", content))


@pytest.mark.parametrize("header", ["text,label,text", "text,label, text "])
def test_a_wanted_column_that_is_there_twice_is_refused_by_name(tmp_path, header):
    line = refusal(written(tmp_path, "a.csv", f"{header}\na,b,c\n"))
    assert "2 columns are named 'text' (data.text_column)" in line


def test_another_column_may_be_there_twice(tmp_path):
    path = written(tmp_path, "a.csv", "note,text,label,note\n1,a,b,2\n")
    assert read(path, WANTED).cells == {"text": ["a"], "label": ["b"]}


def test_rows_are_read_before_the_file_has_ended():
    def endless():
        yield b"id,text\n"
        for number in itertools.count():
            yield f"{number},a\n".encode()

    class Pipe(io.RawIOBase):
        parts = endless()

        def readable(self):
            return True

        def read(self, _size=-1):
            return next(self.parts)

    with open_source(Pipe(), name="-", where="here") as source:
        rows = CsvRows(source, separator=",", multiline=False)
        assert [next(rows).cells[0] for _ in range(5)] == ["0", "1", "2", "3", "4"]
