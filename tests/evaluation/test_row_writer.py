import csv
import io
import json
import signal
import subprocess
import sys

from evaluation.row_writer import RowWriter


def _written(kind, columns, *calls):
    file = io.StringIO(newline="")
    writer = RowWriter(file, kind, columns)
    for rows in calls:
        writer.write(rows)
    return file.getvalue()


def test_a_written_table_is_read_back_as_it_was():
    rows = [{"t": 'a "b"\r\n,', "error": ""}, {"t": "\x00 \U0001f621 \u202e", "error": "e"}]
    text = _written("csv", ["t", "error"], rows)
    assert list(csv.DictReader(io.StringIO(text, newline=""))) == rows


def test_a_table_has_its_header_before_any_row():
    assert _written("csv", ["a", "b"]) == "a,b\n"
    assert _written("jsonl", ["a", "b"]) == ""


def test_what_the_header_has_no_column_for_comes_out_in_the_error():
    text = _written("csv", ["a", "error"], [{"a": [True], "c": "ü", "d": [2], "error": "x"}])
    assert list(csv.reader(io.StringIO(text)))[1] == [
        "[true]",
        'x; no column for {"c": "ü", "d": [2]}',
    ]


def test_rows_with_an_error_are_counted():
    rows = [{"a": 1, "error": ""}, {"a": 1, "error": "x"}, {"a": 1, "b": 2, "error": ""}]
    assert RowWriter(io.StringIO(), "csv", ["a", "error"]).write(rows) == 2
    assert RowWriter(io.StringIO(), "jsonl", []).write(rows) == 1


def test_json_lines_are_written_one_a_row():
    rows = [{"t": "a\nb", "n": 1.5, "error": ""}, {"u": None, "error": ""}]
    assert [json.loads(line) for line in _written("jsonl", [], rows).splitlines()] == rows


INTERRUPTED_WHILE_IT_WRITES = """
import sys
from evaluation.row_writer import RowWriter
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
