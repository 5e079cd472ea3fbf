"""The live view of a search, rendered at the widths that terminals have."""

import io
import logging
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from results.live_view import LiveView, display, is_due, is_live, lines_when_due
from results.overview import Best, Event, Overview, RunningTrial
from tests.results.overviews import overview, record, row
from training.baseline import NAME

LONG = "t0002 lost its process or node (" + "a reason " * 20 + ")"
EVENTS = tuple(
    Event(at="10:00:00", text=text, is_warning=False)
    for text in ("trial t0002 stopped early at rung 1 of 2: macro-F1 0.4000", LONG)
)

BASELINE = {"name": NAME, "score": 0.55}


def rendered(found: Overview, width: int, **options: object) -> list[str]:
    console = Console(
        width=width, file=io.StringIO(), markup=False, highlight=False, emoji=False, **options
    )
    console.print(LiveView(found))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 116, 140, 200])
def test_no_line_is_wider_than_the_terminal_and_all_fit_on_a_screen(width):
    lines = rendered(overview(events=EVENTS, baseline=BASELINE), width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24


@pytest.mark.parametrize("width", [80, 140])
def test_the_view_contains_states_rungs_best_trial_pace_and_time_left(width):
    text = "\n".join(rendered(overview(events=EVENTS, baseline=BASELINE), width))
    for part in (
        "first · running, search · ",
        "7 of 8 started: 2 completed, 2 stopped early, 1 failed, 2 running",
        "t0001 macro-F1 0.6000",
        "+10.00 points over the default (0.5000)",
        "learning_rate 0.001, batch_size 16",
        "to beat  macro-F1 0.5500 by TF-IDF (word 1-2, char_wb 2-5)",
        "4,000 saved by early stopping (31%)",
        "90 rows a second",
        "t0005 0.75 of 3 epochs, macro-F1 0.5000",
        "promoted",
        EVENTS[0].text,
    ):
        assert part in text, part


def test_the_table_of_rungs_ends_where_trials_end():
    plan = record()["search"] | {"ends_at_last_rung": True}
    rows = [row(n, "stopped", 1500, stopped_by="confirmation") for n in range(3)]
    text = "\n".join(rendered(overview(rows, search=plan), 80))
    assert "3 of 8 started: 3 ended at the last rung" in text
    assert "last rung" in text.partition("promoted")[2]
    assert "full budget" not in text.partition("promoted")[2]
    assert "full budget" in "\n".join(rendered(overview(), 80)).partition("promoted")[2]


def test_markup_in_text_is_not_interpreted():
    text = "t0001 failed: [red]no[/red] :smile: [/] \\["
    found = overview(events=(Event(at="10:00:00", text=text, is_warning=True),))
    assert text in "\n".join(rendered(found, 140))


def test_without_colour_only_text_is_written(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    lines = rendered(overview(events=EVENTS), 80, force_terminal=True)
    assert not any("\x1b[3" in line for line in lines)


def test_only_some_of_many_running_trials_are_listed():
    rows = [row(number, "running", 500) for number in range(64)]
    lines = rendered(overview(rows, trials={"requested": 64}), 80)
    assert any("and 60 more" in line for line in lines)
    assert len(lines) <= 24


def test_the_body_is_rendered_again_only_for_another_overview_or_width(monkeypatch):
    calls = []
    monkeypatch.setattr("results.live_view._body", lambda *a: calls.append(a) or "body")
    view, console = LiveView(overview()), Console(width=80, file=io.StringIO())
    for _ in range(3):
        console.print(view)
    view.update(overview(seconds=200.0))
    console.print(view)
    assert len(calls) == 2


def on(monkeypatch, *, is_terminal: bool = True, encoding: str = "utf-8", **variables: str) -> None:
    """Replace the standard output and set environment variables."""
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
def test_a_terminal_is_live_unless_it_is_dumb_or_in_ci(monkeypatch, name, value, expected):
    on(monkeypatch, **{name: value})
    assert is_live() is expected


def test_without_terminal_or_unicode_output_is_not_live(monkeypatch):
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
        ({}, 599, 3600, False),  # lines become rarer with time
        ({}, 600, 3600, True),
        ({"phase": "confirmation"}, 1, 100, True),
        ({"best": best("t0003")}, 1, 100, True),
        ({"best": replace(best("t0001"), score=0.61)}, 1, 100, False),
    ],
)
def test_a_line_is_due_for_another_best_another_phase_or_enough_time(
    changes, seconds, elapsed, expected
):
    last = overview()
    assert is_due(last, replace(last, seconds=float(elapsed), **changes), seconds) is expected


def test_the_first_line_is_due_when_a_worker_has_started_a_trial():
    waiting = replace(overview(), best=None, running=())
    assert not is_due(None, waiting, 5)
    trial = RunningTrial(trial_id="t0000", epochs=0, score=None, worker=None, is_confirmation=False)
    assert not is_due(None, replace(waiting, running=(trial,)), 5)
    placed = replace(trial, worker={"node": "here", "process": "1"})
    assert is_due(None, replace(waiting, running=(placed,)), 5)


def test_eight_hours_without_a_change_are_fewer_than_forty_lines():
    found, lines, last = overview(), 0, 0
    for second in range(8 * 3600):
        if is_due(found, replace(found, seconds=float(second)), second - last):
            lines, last = lines + 1, second
    assert lines < 40


def test_lines_contain_the_parameters_only_of_a_new_best_trial():
    overviews = iter([overview(), overview(), replace(overview(), phase="confirmation")])
    lines = list(
        lines_when_due(lambda: next(overviews), wait=iter([True, True, True, False]).__next__)
    )
    assert len(lines) == 2
    best = "best t0001 learning_rate 0.001, batch_size 16, 0.6000"
    assert f"{best} (+10.00 points to the default in the search)" in lines[0]
    assert "best t0001 0.6000 (+10.00 points to the default in the search)" in lines[1]


def test_a_view_without_an_overview_prints_nothing_and_leaves_no_thread(capsys):
    import threading

    before = threading.active_count()
    with display(lambda: None):
        logging.getLogger("tuning").debug("no overview yet")
    assert threading.active_count() == before
    assert capsys.readouterr().out == ""
