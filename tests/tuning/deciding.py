"""A policy and what trials report to it, as the tests of it need them."""

from collections.abc import Callable, Iterable
from typing import Any

from tests.tuning.builders import configuration, evaluation
from tests.tuning.builders import policy as policy_knowing
from training.metrics import Evaluation
from tuning.driver import Driver
from tuning.observers import Observer
from tuning.policy import Policy
from tuning.trials import Decision, Ending, Trial


def policy_of(
    known: Iterable[Trial] = (), last_evaluated: str | None = None, **search: Any
) -> Policy:
    config = configuration(search=search)
    return policy_knowing(known, config=config, last_evaluated=last_evaluated)


def start(policy: Policy) -> Trial:
    started = policy.next()
    assert isinstance(started, Trial), started
    return started


def report(policy: Policy, trial: Trial, shown: Evaluation) -> bool:
    """Report an evaluation; return whether the trial continues."""
    return policy.report(trial.trial_id, shown) is Decision.CONTINUE


def reach(policy: Policy, trial: Trial, score: float, *, until: int) -> bool:
    """Report the same score at every point up to one; return whether the trial continues."""
    known, continues = trial.examples, True
    for point in policy.plan.points:
        if known < point <= until and continues:
            continues = report(policy, trial, evaluation(point, score))
    return continues


def complete(policy: Policy, trial: Trial, score: float) -> None:
    reach(policy, trial, score, until=policy.plan.budget)
    policy.ended(trial.trial_id, Ending(status="completed", seconds=1.0))


def fail(policy: Policy, error: str) -> None:
    policy.ended(start(policy).trial_id, Ending(status="failed", error=error))


def driver_of(
    policy: Policy,
    *observers: Observer,
    clock: Callable[[], float] = lambda: 0.0,
    **changes: Any,
) -> Driver:
    parts: dict[str, Any] = {
        "capacity": lambda: 9,
        "halt": lambda _: None,
        "outer_error": lambda: None,
        "memory_limits": {},
    }
    driver = Driver(policy=policy, observers=observers, clock=clock, **(parts | changes))
    driver.begin_experiment()
    return driver
