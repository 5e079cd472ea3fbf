"""The view of a search on a terminal, drawn at the widths that terminals have."""

import io

import pytest
from rich.console import Console

from results.live_view import LiveView
from results.overview import Event, Overview
from tests.results.overviews import overview, row

LONG = "t0002 lost its process or node (" + "a reason " * 20 + ")"
EVENTS = tuple(
    Event(at="10:00:00", text=text, is_warning=False)
    for text in ("t0002 stopped by the scheduler after 0.50 epochs, macro-F1 0.4000, 11 s", LONG)
)


def drawn(found: Overview, width: int, **options: object) -> list[str]:
    console = Console(
        width=width, file=io.StringIO(), markup=False, highlight=False, emoji=False, **options
    )
    console.print(LiveView(found))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 116, 140, 200])
def test_no_line_is_wider_than_the_terminal_and_all_fit_on_a_screen(width):
    lines = drawn(overview(events=EVENTS), width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24


@pytest.mark.parametrize("width", [80, 140])
def test_the_view_tells_states_rungs_best_pace_and_time_left(width):
    text = "\n".join(drawn(overview(events=EVENTS), width))
    for part in (
        "first · running, search · ",
        "7 of 8 begun: 2 completed, 2 stopped, 1 failed, 2 running",
        "t0001 macro-F1 0.6000",
        "+10.00 points over trial 0 (0.5000)",
        "learning_rate 0.001, batch_size 16",
        "4,000 saved by early stopping (31%)",
        "90 rows a second",
        "t0005 0.75 of 3 epochs, macro-F1 0.5000",
        "went on",
        EVENTS[0].text,
    ):
        assert part in text, part


def test_what_looks_like_markup_is_shown_as_it_stands():
    text = "t0001 failed: [red]no[/red] :smile: [/] \\["
    found = overview(events=(Event(at="10:00:00", text=text, is_warning=True),))
    assert text in "\n".join(drawn(found, 140))


def test_without_colour_nothing_but_text_is_written(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    lines = drawn(overview(events=EVENTS), 80, force_terminal=True)
    assert not any("\x1b[3" in line for line in lines)


def test_many_running_trials_are_not_all_told():
    rows = [row(number, "running", 500) for number in range(64)]
    lines = drawn(overview(rows, trials={"requested": 64}), 80)
    assert any("and 60 more" in line for line in lines)
    assert len(lines) <= 24


def test_the_body_is_drawn_anew_only_for_another_overview_or_width(monkeypatch):
    calls = []
    monkeypatch.setattr("results.live_view._body", lambda *a: calls.append(a) or "body")
    view, console = LiveView(overview()), Console(width=80, file=io.StringIO())
    for _ in range(3):
        console.print(view)
    view.show(overview(seconds=200.0))
    console.print(view)
    assert len(calls) == 2
