"""The live view in a real pseudo-terminal, however its process ends."""

import signal
import sys
import time

import pytest

from tests.results.ptys import Terminal, open_terminal

SCRIPT = """
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


def run_in_terminal(ends: str = "pass", **variables: str) -> Terminal:
    found = open_terminal([sys.executable, "-c", SCRIPT.format(ends=ends)], **variables)
    found.process.wait(timeout=60)
    time.sleep(0.2)
    return found


def test_log_lines_are_printed_above_the_view_whose_last_state_stays():
    text = run_in_terminal().text
    assert text.count("running, search") >= 3
    last = text.rindex("running, search")
    for line in ("a warning of [ours]", "an error of a library", "a warning of Python"):
        assert text.count(line) == 1, line
        assert text.index(line) < last
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
def test_the_cursor_is_visible_however_the_process_ends(ends):
    text = run_in_terminal(ends.replace("{number}", str(int(signal.SIGTERM)))).text
    assert "running, search" in text
    assert HIDES_CURSOR not in text
    assert "broken" not in ends or "ValueError: broken in the middle" in text


def test_no_colour_disables_colours():
    text = run_in_terminal(NO_COLOR="1").text
    assert "running, search" in text
    assert "\x1b[3" not in text


def test_in_ci_there_are_lines_even_on_a_terminal():
    text = run_in_terminal(CI="true").text
    assert "running, search" not in text
    assert "best t0001 learning_rate 0.001, batch_size 16, 0.6000" in text
