import io
import os
import pty
import re

from evaluation.progress import Progress


def test_a_short_command_says_its_last_line_alone():
    stream = io.StringIO()
    progress = Progress(stream)
    progress.add(1_000, 2)
    progress.add(200, 1)
    assert stream.getvalue() == ""
    progress.finish()
    assert re.fullmatch(r"1,200 rows, 3 with an error, [\d,]+ rows/s\n", stream.getvalue())


def test_a_log_gets_a_line_each_time():
    stream = io.StringIO()
    progress = Progress(stream, seconds_between=0)
    progress.add(10, 0)
    progress.add(10, 1)
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert [line.split(", ")[:2] for line in lines] == [
        ["10 rows", "0 with an error"],
        ["20 rows", "1 with an error"],
        ["20 rows", "1 with an error"],
    ]


def test_a_terminal_shows_one_line_that_is_written_over():
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        progress = Progress(stream, seconds_between=0)
        progress.add(123_456, 0)
        progress.add(10, 0)
        progress.finish()
        shown = ""
        while not shown.endswith("\n"):  # it comes in pieces
            shown += os.read(reader, 10_000).decode("utf-8")
    os.close(reader)
    assert shown.count("\n") == 1
    assert shown.endswith("\n")
    assert [part[:12] for part in shown.split("\r") if part.strip()] == [
        "123,456 rows",
        "123,466 rows",
        "123,466 rows",
    ]


def test_the_steps_between_are_seconds():
    stream = io.StringIO()
    progress = Progress(stream, seconds_between=60)
    for _ in range(100):
        progress.add(1, 0)
    assert stream.getvalue() == ""
    assert progress.num_rows == 100
