"""The live view in a real pseudo-terminal, whatever ends the process that draws it."""

import signal
import sys
import time

import pytest

from tests.results.ptys import Terminal, open_terminal

DRAWS = """
import logging, os, sys, time, warnings
from results.log import log_to_terminal
from results.live_view import display
from tests.results.overviews import overview
log_to_terminal()
library = logging.getLogger("library")
library.addHandler(logging.StreamHandler(sys.stderr))
with display(overview):
    time.sleep(0.7)
    logging.getLogger("tuning").warning("a warning of [ours]")
    library.error("an error of a library")
    warnings.warn("a warning of Python")
    time.sleep(0.7)
    {ends}
print("after it")
"""
HIDES_CURSOR = "\x1b[?25l"


def drawn(ends: str = "pass", **variables: str) -> Terminal:
    found = open_terminal([sys.executable, "-c", DRAWS.format(ends=ends)], **variables)
    found.process.wait(timeout=60)
    time.sleep(0.2)
    return found


def test_what_is_said_meanwhile_stands_above_the_view_and_the_last_state_stays():
    text = drawn().text
    assert text.count("running, search") >= 3
    last = text.rindex("running, search")
    for said in ("a warning of [ours]", "an error of a library", "a warning of Python"):
        assert text.count(said) == 1, said
        assert text.index(said) < last
    assert text.index("after it") > last
    assert HIDES_CURSOR not in text


@pytest.mark.parametrize(
    "ends",
    [
        "raise ValueError('broken in the middle')",
        "os._exit(3)",
        "os.kill(os.getpid(), {number})",
    ],
)
def test_the_cursor_is_there_whatever_ends_the_process(ends):
    text = drawn(ends.replace("{number}", str(int(signal.SIGTERM)))).text
    assert "running, search" in text
    assert HIDES_CURSOR not in text
    assert "broken" not in ends or "ValueError: broken in the middle" in text


def test_colours_are_left_out_where_the_user_wants_none():
    text = drawn(NO_COLOR="1").text
    assert "running, search" in text
    assert "\x1b[3" not in text


def test_in_ci_there_are_lines_even_on_a_terminal():
    text = drawn(CI="true").text
    assert "running, search" not in text
    assert "best t0001 learning_rate 0.001, batch_size 16, 0.6000" in text
