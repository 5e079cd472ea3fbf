"""When a terminal is drawn on, and which lines are written where it is not."""

import logging
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from results.live_view import is_due, is_live, lines_when_due, shown
from results.overview import Best
from tests.results.overviews import overview


def on(monkeypatch, *, is_terminal: bool = True, encoding: str = "utf-8", **variables: str) -> None:
    """Put a standard output in place, and variables of the environment."""
    monkeypatch.delenv("CI", raising=False)
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    output = SimpleNamespace(encoding=encoding, isatty=lambda: is_terminal)
    monkeypatch.setattr(sys, "stdout", output)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TERM", "xterm-256color", True),
        ("TERM", "dumb", False),
        ("TERM", "", False),
        ("CI", "true", False),
        ("CI", "1", False),
        ("CI", "", True),
    ],
)
def test_a_terminal_is_drawn_on_unless_it_is_dumb_or_a_machine_s(
    monkeypatch, name, value, expected
):
    on(monkeypatch, **{name: value})
    assert is_live() is expected


def test_what_is_no_terminal_or_cannot_show_the_signs_gets_lines(monkeypatch):
    on(monkeypatch, encoding="latin-1")
    assert not is_live()
    on(monkeypatch, is_terminal=False)
    assert not is_live()


def best(trial_id: str) -> Best:
    return replace(overview().best, trial_id=trial_id)


@pytest.mark.parametrize(
    ("changes", "seconds", "elapsed", "expected"),
    [
        ({}, 59, 100, False),
        ({}, 60, 100, True),
        ({}, 599, 3600, False),  # the longer it takes, the more seldom
        ({}, 600, 3600, True),
        ({"phase": "confirmation"}, 1, 100, True),
        ({"best": best("t0003")}, 1, 100, True),
        ({"best": replace(best("t0001"), score=0.61)}, 1, 100, False),
    ],
)
def test_a_line_is_due_for_another_best_another_phase_or_enough_time(
    changes, seconds, elapsed, expected
):
    told = overview()
    assert is_due(told, replace(told, seconds=float(elapsed), **changes), seconds) is expected


def test_eight_hours_without_news_are_fewer_than_forty_lines():
    found, lines, last = overview(), 0, 0
    for second in range(8 * 3600):
        if is_due(found, replace(found, seconds=float(second)), second - last):
            lines, last = lines + 1, second
    assert lines < 40


def test_lines_tell_the_parameters_only_of_a_new_best():
    looks = iter([overview(), overview(), replace(overview(), phase="confirmation")])
    lines = list(lines_when_due(lambda: next(looks), wait=iter([True, True, True, False]).__next__))
    assert len(lines) == 2
    assert "best t0001 learning_rate 0.001, batch_size 16, 0.6000 (+10.00 points)" in lines[0]
    assert "best t0001 0.6000 (+10.00 points)" in lines[1]


def test_a_look_that_fails_ends_no_search_and_leaves_no_thread(capsys):
    import threading

    before = threading.active_count()
    with shown(lambda: None):
        logging.getLogger("tuning").debug("nothing to show yet")
    assert threading.active_count() == before
    assert capsys.readouterr().out == ""
