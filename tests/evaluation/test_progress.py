import io
import os
import pty
import re

from evaluation.progress import RowProgress


def test_a_short_command_prints_only_its_last_line():
    stream = io.StringIO()
    progress = RowProgress(stream)
    progress.add(1_000, 2)
    progress.add(200, 1)
    assert stream.getvalue() == ""
    progress.finish()
    assert re.fullmatch(r"1,200 rows, 3 with an error, [\d,]+ rows/s\n", stream.getvalue())


def test_a_log_gets_plain_lines():
    stream = io.StringIO()
    progress = RowProgress(stream, seconds_between=0)
    progress.add(10, 0)
    progress.add(10, 1)
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert [line.split(", ")[:2] for line in lines] == [
        ["10 rows", "0 with an error"],
        ["20 rows", "1 with an error"],
        ["20 rows", "1 with an error"],
    ]


def test_a_log_gets_a_line_only_every_few_seconds():
    stream = io.StringIO()
    progress = RowProgress(stream, seconds_between=60)
    for _ in range(100):
        progress.add(1, 0)
    assert stream.getvalue() == ""
    assert progress.num_rows == 100


def _printed_in_a_terminal(monkeypatch, **options) -> str:
    """What a terminal receives from a progress of two chunks."""
    monkeypatch.setenv("TERM", "xterm")
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        progress = RowProgress(stream, **options)
        progress.add(123_456, 0)
        progress.add(10, 1)
        progress.finish()
        received = ""
        while not received.endswith("rows/s\r\n"):  # it arrives in parts
            received += os.read(reader, 10_000).decode("utf-8")
    os.close(reader)
    return received


def test_a_terminal_displays_a_live_line_and_keeps_only_the_last_one(monkeypatch):
    received = _printed_in_a_terminal(monkeypatch)
    *live, last = received.rsplit("\x1b[2K", 1)  # the live line is erased
    assert "123,456 rows" in "".join(live)
    assert re.fullmatch(r"\s*123,466 rows, 1 with an error, [\d,]+ rows/s\r\n", last)


def test_a_terminal_that_displays_rows_as_well_has_no_live_line(monkeypatch):
    received = _printed_in_a_terminal(monkeypatch, may_be_live=False)
    assert re.fullmatch(r"123,466 rows, 1 with an error, [\d,]+ rows/s\r\n", received)
