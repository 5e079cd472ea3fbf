"""A conductor of the search and what trials tell it, as the tests of it need them."""

from typing import Any

from tests.tuning.builders import configuration, evaluation
from tuning.conductor import Conductor, search_phase
from tuning.proposers import make_proposer
from tuning.rungs import plan_evaluations
from tuning.trials import Ending, Trial

NUM_ROWS = 1000  # rungs at 500 and 1,500; budget 3,000


def conductor(num_slots: int = 99, known: list[Trial] | None = None, **search: Any) -> Conductor:
    config = configuration(search=search)
    return search_phase(
        config,
        plan_evaluations(NUM_ROWS, config.training.epochs, config.search),
        NUM_ROWS,
        make_proposer(config.search, config.training),
        lambda: num_slots,
        known=known or [],
    )


def start(phase: Conductor) -> Trial:
    started = phase.next_trial()
    assert isinstance(started, Trial)
    return started


def reach(phase: Conductor, trial: Trial, score: float, *, until: int) -> bool:
    """Report the same score at every point up to one; return whether the trial may go on."""
    shown = trial.evaluations[-1].examples if trial.evaluations else 0
    goes_on = True
    for point in phase.plan.points:
        if shown < point <= until and goes_on:
            goes_on = phase.report(trial.trial_id, evaluation(point, score))
    return goes_on


def complete(phase: Conductor, trial: Trial, score: float) -> None:
    reach(phase, trial, score, until=phase.plan.budget)
    phase.end(trial.trial_id, Ending(status="completed", seconds=1.0))


def fail(phase: Conductor, error: str) -> None:
    phase.end(start(phase).trial_id, Ending(status="failed", error=error))
