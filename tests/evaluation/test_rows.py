import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from evaluation.rows import RowWriter, format_of, open_output, part_of, read_table
from training.errors import InputError


def _read(text, kind="csv"):
    # As the command opens a file: line breaks are left to the reader of rows.
    return list(read_table(io.StringIO(text, newline=""), kind).rows)


def _written(kind, columns, *calls):
    file = io.StringIO(newline="")
    writer = RowWriter(file, kind, columns)
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


def test_a_written_table_is_read_back_as_it_was():
    rows = [{"t": 'a "b"\r\n,', "error": ""}, {"t": "\x00 \U0001f621 \u202e", "error": "e"}]
    text = _written("csv", ["t", "error"], rows)
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == rows


def test_a_table_has_its_header_before_any_row():
    assert _written("csv", ["a", "b"]) == "a,b\n"
    assert _written("jsonl", ["a", "b"]) == ""


def test_a_row_names_the_columns_that_the_header_lacks():
    text = _written("csv", ["a", "error"], [{"a": [True], "c": 2, "error": "x"}])
    assert list(csv.reader(io.StringIO(text)))[1] == ["[true]", "x; no column for c"]


def test_rows_with_an_error_are_counted():
    rows = [{"a": 1, "error": ""}, {"a": 1, "error": "x"}, {"a": 1, "b": 2, "error": ""}]
    assert RowWriter(io.StringIO(), "csv", ["a", "error"]).write(rows) == 2
    assert RowWriter(io.StringIO(), "jsonl", []).write(rows) == 1


def test_json_lines_are_written_one_a_row():
    rows = [{"t": "a\nb", "n": 1.5, "error": ""}, {"u": None, "error": ""}]
    assert [json.loads(line) for line in _written("jsonl", [], rows).splitlines()] == rows


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("what was there", encoding="utf-8")
    with open_output(str(target)) as file:
        file.write("new")
        assert target.read_text("utf-8") == "what was there"
    assert target.read_text("utf-8") == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_work_that_ends_too_soon_leaves_the_part_beside_the_old_file(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("what was there", encoding="utf-8")

    def write_and_fail():
        with open_output(str(target)) as file:
            file.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert target.read_text("utf-8") == "what was there"
    assert part_of(str(target)) == tmp_path / "out.csv.part"
    assert part_of(str(target)).read_text("utf-8") == "new"


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path):
    target, link = tmp_path / "real.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    with open_output(str(link)) as file:
        file.write("new")
    assert link.is_symlink()
    assert target.read_text("utf-8") == "new"


def test_a_named_pipe_is_written_to_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text("utf-8")))
    reader.start()
    with open_output(str(pipe)) as file:
        file.write("new")
    reader.join(timeout=10)
    assert got == ["new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


INTERRUPTED_WHILE_IT_WRITES = """
import sys
from evaluation.rows import RowWriter
rows = [{"t": "x" * 1000, "error": ""}] * 1000
with open(sys.stdout.fileno(), "w", closefd=False) as file:
    writer = RowWriter(file, "jsonl", [])
    print("ready", file=sys.stderr, flush=True)
    try:
        while True:
            writer.write(rows)
    except KeyboardInterrupt:
        pass
"""


def test_ctrl_c_cuts_no_line(tmp_path):
    path = tmp_path / "out.jsonl"
    with path.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED_WHILE_IT_WRITES], stdout=out, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        assert process.stderr.readline() == b"ready\n"
        while path.stat().st_size < 5_000_000:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, b"")
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    lines = text.splitlines()
    assert len(lines) % 1000 == 0
    assert all(json.loads(line)["t"] == "x" * 1000 for line in lines[-1000:])
