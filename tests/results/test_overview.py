"""The overview of a search, made from its record and rows, and its description."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from results import status_text
from results.overview import Event, RungCounts, events_of, overview_of, read_events
from tests.results.overviews import LOCATION, ROWS, overview, record, row

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_trials_are_counted_by_state_and_by_rung():
    found = overview()
    assert found.searched == {"completed": 2, "failed": 1, "running": 2, "stopped": 2}
    assert found.rungs == (
        RungCounts(epochs=0.5, reached=5, stopped=1),
        RungCounts(epochs=1.5, reached=3, stopped=1),
        RungCounts(epochs=3.0, reached=2, stopped=0, end="full budget"),
    )


def test_confirmations_that_have_not_started_are_waiting():
    rows = [*ROWS, row(7, "running", 500, source="confirm"), row(8, "running", 0, source="confirm")]
    progress = record()["progress"] | {"waiting": ["t0008"], "phase": "confirmation"}
    found = overview(rows, progress=progress)
    assert found.confirmed == {"running": 1, "waiting": 1}
    assert status_text.describe_confirmations(found) == "1 started: 1 running, 1 waiting"
    assert [trial.trial_id for trial in found.running] == ["t0005", "t0006", "t0007"]


LAST_RUNG = record()["search"] | {"ends_at_last_rung": True}
AT_LAST_RUNG = [
    row(0, "stopped", 1500, stopped_by="confirmation"),
    row(1, "stopped", 1500, stopped_by="confirmation"),
    row(2, "stopped", 500),
    row(3, "running", 750),
]


def test_trials_that_ended_at_the_last_rung_are_counted_apart_from_early_stops() -> None:
    found = overview(AT_LAST_RUNG, search=LAST_RUNG)
    assert found.searched == {"at last rung": 2, "running": 1, "stopped": 1}
    assert found.rungs == (
        RungCounts(epochs=0.5, reached=4, stopped=1),
        RungCounts(epochs=1.5, reached=2, stopped=0, end="last rung"),
    )
    assert status_text.describe_trials(found) == (
        "4 of 8 started: 2 ended at the last rung, 1 stopped early, 1 running"
    )
    assert [status_text.describe_rung(rung) for rung in found.rungs] == [
        "0.5 epochs: 4 reached, 3 promoted, 1 stopped early",
        "1.5 epochs, the last rung: 2 reached",
    ]


def test_early_stopping_saves_the_rows_up_to_the_last_rung_where_trials_end_there() -> None:
    budget = overview(AT_LAST_RUNG, search=LAST_RUNG).budget
    assert budget is not None
    assert (budget.saved, budget.full) == (1000, 24000)


def test_a_running_trial_has_the_epochs_after_which_it_ends() -> None:
    rows = [
        row(0, "running", 750),
        row(1, "running", 2000),  # not judged at the last rung
        row(2, "running", 750, source="confirm"),
    ]
    found = overview(rows, search=LAST_RUNG)
    assert [status_text.describe_running(one, found) for one in found.running] == [
        "t0000 0.75 of 1.5 epochs, macro-F1 0.5000",
        "t0001 2.00 of 3 epochs, macro-F1 0.5000",
        "t0002 0.75 of 3 epochs, macro-F1 0.5000",
    ]


def candidates(**scores: dict[str, Any]) -> dict[str, Any]:
    """Best and default of a record; the default's parameters are its own."""
    found = record()
    other = {"learning_rate": 1e-2, "batch_size": 16}
    best = found["best"] | {"search_epochs": 1.504} | scores.get("best", {})
    default = found["default"] | {"search_epochs": 1.51, "parameters": other}
    return {"search": LAST_RUNG, "best": best, "default": default | scores.get("default", {})}


def test_a_score_of_the_search_has_its_epochs_and_is_compared_at_the_same_ones() -> None:
    best = overview(**candidates()).best
    assert best is not None
    assert status_text.describe_score(best, "macro-F1") == "macro-F1 0.6000 after 1.5 of 3 epochs"
    assert status_text.describe_lead(best) == "+10.00 points over the default (0.5000)"
    best = overview(**candidates(default={"search_epochs": 0.5})).best
    assert best is not None
    assert status_text.describe_lead(best) == "the default has no comparable score yet"


def test_a_mean_over_replicates_is_compared_on_the_replicates_that_both_have() -> None:
    found = candidates(best={"score": 0.7}, default={"score": 0.65})
    scores = {"best": [0.7, None, 0.7], "default": [0.6, 0.75, None]}
    confirmation = {
        "candidates": [
            {"parameters": found[role]["parameters"], "score": of_role}
            for role, of_role in scores.items()
        ]
    }
    best = overview(**found, confirmation=confirmation).best
    assert best is not None
    assert status_text.describe_score(best, "macro-F1") == "macro-F1 0.7000 on replicates"
    assert status_text.describe_lead(best) == "+10.00 points over the default (0.6000)"
    confirmation["candidates"][1]["score"] = [None, 0.7, None]
    best = overview(**found, confirmation=confirmation).best
    assert best is not None
    assert best.lead is None


def test_trainings_that_the_confirmation_stopped_are_not_called_stopped_early() -> None:
    rows = [row(7, "completed", 3000, source="confirm"), row(8, "stopped", 750, source="confirm")]
    text = status_text.describe_confirmations(overview(rows))
    assert text == "2 started: 1 completed, 1 stopped"


def test_rows_saved_are_those_that_trials_stopped_early_had_left():
    budget = overview().budget
    assert budget is not None
    assert (budget.trained, budget.saved, budget.full) == (9000, 2500 + 1500, 24000)
    assert list(status_text.describe_budget(budget)) == [
        "9,000 trained, 38% of the full budget of all trials",
        "4,000 saved by early stopping (31%)",
    ]


def test_many_rungs_are_grouped_and_every_stopped_trial_is_counted():
    rungs = list(range(250, 3000, 250))
    plan = {"rows_per_epoch": 1000, "budget": 3000, "rungs": rungs}
    rows = [row(k + 1, "stopped", rung) for k, rung in enumerate(rungs)]
    counts = overview(rows, search=plan).rungs
    assert len(counts) <= 7
    assert sum(rung.stopped for rung in counts) == len(rungs)


def test_a_run_of_an_older_version_has_no_rungs_and_no_budget():
    old = {key: value for key, value in record().items() if key not in ("search", "progress")}
    found = overview_of(old, ROWS, location=LOCATION, is_alive=True)
    assert (found.rungs, found.budget, found.seconds_left) == ((), None, None)
    assert not any(line.startswith(("rung", "budget")) for line in status_text.describe(found, AT))


def test_the_time_left_shrinks_between_two_records():
    found, later = overview(), AT + timedelta(seconds=60)
    assert status_text.elapsed_seconds(found, later) == 160
    assert status_text.describe_time_left(found, AT) == "about 2 min left"
    assert status_text.describe_time_left(found, later) == "about 1 min left"
    assert status_text.describe_time_left(found, AT + timedelta(hours=1)) == "longer than expected"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (3, "about 10 s left"),
        (44, "about 40 s left"),
        (58, "about 1 min left"),
        (217, "about 4 min left"),
        (1210, "about 20 min left"),
        (3590, "about 1 h left"),
        (5_000, "about 1 h 30 min left"),
        (50_000, "about 14 h left"),
    ],
)
def test_the_time_left_is_rounded_as_a_person_would(seconds: float, expected: str):
    found = overview(progress=record()["progress"] | {"seconds_left": seconds})
    assert status_text.describe_time_left(found, AT) == expected


def test_the_range_of_an_older_version_is_read_as_its_middle():
    found = overview(progress=record()["progress"] | {"seconds_left": [60.0, 200.0]})
    assert found.seconds_left == 130.0


def test_a_search_that_has_ended_has_no_time_left_and_its_mean_pace():
    done = overview_of(record(status="completed"), ROWS, location=LOCATION, is_alive=False)
    assert (done.seconds_left, done.running, done.rows_per_second) == (None, (), 90.0)
    assert status_text.describe_pace(done) == "90 rows a second on average"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (125, "2 min 05 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds, expected):
    assert status_text.format_duration(seconds) == expected


def test_events_are_ended_and_resumed_trials_and_warnings():
    log = [
        "2026-01-01 10:00:00,001 INFO tuning.log_lines: trial t0001 started: learning_rate 0.1",
        "2026-01-01 10:00:01,001 DEBUG tuning.log_lines: trial t0001: other hyperparameters",
        "2026-01-01 10:00:02,001 INFO tuning.log_lines: trial t0001 stopped early at rung 1 of 2",
        "2026-01-01 10:00:03,001 WARNING tuning.ray_tune: t0002 lost its process or node",
        "2026-01-01 10:00:04,001 INFO tuning.log_lines: trial t0002 resumed after 0.50 epochs",
        "2026-01-01 10:00:05,001 INFO tuning.log_lines: trial t0003 ended at the last rung: 0.5",
        "a line of something else",
    ]
    assert list(events_of(log)) == [
        Event(at="10:00:02", text="trial t0001 stopped early at rung 1 of 2", is_warning=False),
        Event(at="10:00:03", text="t0002 lost its process or node", is_warning=True),
        Event(at="10:00:04", text="trial t0002 resumed after 0.50 epochs", is_warning=False),
        Event(at="10:00:05", text="trial t0003 ended at the last rung: 0.5", is_warning=False),
    ]


def test_events_of_the_log_of_an_older_version_are_found():
    log = [
        "2026-01-01 10:00:02,001 INFO tuning.log_lines: t0001 stopped at rung 1 of 2: score 0.5",
        "2026-01-01 10:00:04,001 INFO tuning.log_lines: t0002 goes on after 0.50 epochs",
    ]
    assert [event.text[:13] for event in events_of(log)] == ["t0001 stopped", "t0002 goes on"]


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    log = tmp_path / "search.log"
    line = "2026-01-01 10:00:00,001 INFO tuning.log_lines: trial t{:04d} failed: no reason\n"
    log.write_text("".join(line.format(number) for number in range(5000)))
    assert [event.text[:11] for event in read_events(log, 2)] == ["trial t4998", "trial t4999"]
    assert read_events(tmp_path / "none", 2) == ()
