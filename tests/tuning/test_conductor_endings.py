"""How a phase ends: the time is up, a signal, a full disk, trials that fail alike."""

import errno
import time

import pytest

from tests.tuning.builders import evaluation, trial
from tests.tuning.conducting import complete, conductor, fail, reach, start
from tuning import conductor as module
from tuning.conductor import NUM_ALIKE
from tuning.trials import Ending, Trial


def test_first_trials_that_fail_alike_end_the_search() -> None:
    phase = conductor()
    for _ in range(NUM_ALIKE):
        assert not phase.is_ending
        fail(phase, "RuntimeError: the same")
    assert phase.is_ending
    assert phase.aborted_by == "RuntimeError: the same"
    assert phase.next_trial() == "finished"


def test_first_trials_that_fail_each_in_its_way_do_not_end_the_search() -> None:
    phase = conductor()
    for number in range(NUM_ALIKE):
        fail(phase, f"RuntimeError: {number}")
    assert not phase.is_ending


def test_alike_failures_after_a_success_do_not_end_the_search() -> None:
    phase = conductor()
    complete(phase, start(phase), 0.5)
    for _ in range(NUM_ALIKE):
        fail(phase, "RuntimeError: the same")
    assert not phase.is_ending


def test_after_the_deadline_no_trial_begins_and_the_running_ones_are_closed() -> None:
    phase = conductor()
    running, done = start(phase), start(phase)
    complete(phase, done, 0.4)
    reach(phase, running, 0.5, until=500)
    phase.deadline, phase.slack_s = time.monotonic(), 60.0
    assert phase.is_ending
    assert phase.next_trial() == "finished"
    assert not phase.is_halting  # its next evaluation is waited for
    assert not phase.is_over
    assert not phase.report(running.trial_id, evaluation(750, 0.9))
    assert phase.is_over
    phase.cut_short()
    assert (running.status, running.stopped_by) == ("stopped", "end of search")
    assert done.status == "completed"


def test_a_deadline_ahead_ends_nothing() -> None:
    phase = conductor()
    phase.deadline = time.monotonic() + 60
    assert not phase.is_ending


def test_an_interrupt_ends_the_phase() -> None:
    phase = conductor()
    start(phase)
    phase.interrupt()
    assert phase.is_ending
    assert phase.is_halting
    assert not phase.is_over
    assert phase.next_trial() == "finished"


def test_files_that_cannot_be_written_end_the_phase_and_keep_the_first_error() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    def write(_trial: Trial) -> None:
        raise full

    phase = conductor()
    phase.on_change = write
    start(phase)
    assert phase.broken_by is full
    assert phase.is_ending


def test_trials_that_never_began_are_closed_with_the_phase() -> None:
    phase = conductor(known=[trial(0)])
    phase.deadline = time.monotonic()
    phase.cut_short()
    assert phase.trials["t0000"].stopped_by == "end of search"
    assert phase.trials["t0000"].row()["examples"] == 0


def test_trials_that_halt_stay_running_and_nothing_more_is_waited_for() -> None:
    phase = conductor()
    first, second = start(phase), start(phase)
    phase.interrupt()
    for one in (first, second):
        assert not phase.is_over
        phase.end(one.trial_id, Ending(status="halted"))
        assert not phase.is_over  # Ray has not yet seen its end
        phase.end(one.trial_id, Ending(status="failed", error="it ended without saying how"))
    assert phase.is_over
    assert [first.status, second.status] == ["running", "running"]


def test_a_trial_that_does_not_halt_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = conductor()
    start(phase)
    phase.interrupt()
    assert not phase.is_over
    monkeypatch.setattr(module, "HALT_S", 0.0)
    assert phase.is_over


def test_an_evaluation_that_comes_while_trials_halt_is_kept() -> None:
    phase = conductor()
    running = start(phase)
    phase.interrupt()
    assert phase.report(running.trial_id, evaluation(250, 0.4))
    assert running.evaluations[-1].examples == 250


def test_trials_that_come_to_no_evaluation_after_the_deadline_halt_and_are_closed() -> None:
    phase = conductor()
    running = start(phase)
    phase.deadline, phase.slack_s = time.monotonic() - 2.0, 1.0
    assert phase.is_halting
    for status in ("halted", "failed"):
        phase.end(running.trial_id, Ending(status=status))
    assert phase.is_over
    phase.cut_short()
    assert (running.status, running.stopped_by) == ("stopped", "end of search")


def test_a_checkpoint_that_cannot_be_written_ends_the_phase_and_leaves_the_trial_to_go_on() -> None:
    phase = conductor()
    running = start(phase)
    phase.end(running.trial_id, Ending(status="broken", error="no space left"))
    assert str(phase.broken_by) == "no space left"
    assert phase.is_over
    assert running.status == "running"


def rungs_of_three(last: float) -> list[Trial]:
    """The default ended and a trial at the first rung; the driver was lost before its decision."""
    other = {"learning_rate": 2e-3, "batch_size": 32}
    return [
        trial(0, (250, 0.5), (500, 0.5), (3000, 0.5), status="completed"),
        trial(1, (250, last), (500, last), parameters=other),
    ]


def test_the_decision_that_a_lost_driver_had_not_taken_is_taken_at_the_resume() -> None:
    behind = conductor(known=rungs_of_three(0.1), trials=2)
    behind.decide_again("t0001")
    assert (behind.trials["t0001"].status, behind.trials["t0001"].stopped_by) == (
        *("stopped", "scheduler"),
    )
    assert behind.next_trial() == "finished"
    ahead = conductor(known=rungs_of_three(0.9), trials=2)
    ahead.decide_again("t0001")
    assert ahead.next_trial() is ahead.trials["t0001"]


def test_a_trial_that_had_ended_is_not_decided_on_again() -> None:
    known = rungs_of_three(0.1)
    phase = conductor(known=known, trials=2)
    phase.decide_again("t0000")
    assert known[0].status == "completed"


def test_trials_that_were_lost_together_begin_again_before_new_ones() -> None:
    phase = conductor()
    ended, *lost = (start(phase) for _ in range(3))
    complete(phase, ended, 0.5)
    phase.begin_again()
    assert [start(phase) for _ in range(2)] == lost
    assert start(phase).trial_id == "t0003"
