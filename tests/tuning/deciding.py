"""Drive a policy in tests: start trials, report evaluations, end them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from results.trial_states import Status
from tests.tuning.builders import configuration, evaluation
from tests.tuning.builders import policy as policy_knowing
from training.metrics import Evaluation
from tuning.confirmation import Confirmation
from tuning.driver import Driver
from tuning.observers import Observer
from tuning.policy import Policy
from tuning.space import Parameters
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


def report(policy: Policy, trial: Trial, reported: Evaluation) -> bool:
    """Report an evaluation; return whether the trial continues."""
    return policy.report(trial.trial_id, reported) is Decision.CONTINUE


def reach(policy: Policy, trial: Trial, score: float, *, until: int) -> bool:
    """Report the same score at every point up to one; return whether the trial continues."""
    known, continues = trial.examples, True
    for point in policy.plan.points:
        if known < point <= until and continues:
            continues = report(policy, trial, evaluation(point, score))
    return continues


def complete(policy: Policy, trial: Trial, score: float) -> None:
    """Train a trial with the same score until a rung stops it, or to the full budget."""
    reach(policy, trial, score, until=policy.plan.budget)
    policy.ended(trial.trial_id, Ending(status=Status.COMPLETED, seconds=1.0))


def fail(policy: Policy, error: str) -> None:
    policy.ended(start(policy).trial_id, Ending(status=Status.FAILED, error=error))


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
    driver.start_experiment()
    return driver


Score = Callable[[Parameters, int], float | None]
"""The score of a configuration on a replicate; None: its training fails."""


def run_to_end(policy: Policy, score: Score, *, collapsed: frozenset[int] = frozenset()) -> None:
    """Run all remaining trials of a policy, one after the other.

    Args:
        policy: decides.
        score: of each trial at its end.
        collapsed: numbers of trials that predict one class at their end.
    """
    for trial in starting(policy):
        end(policy, trial, score, has_collapsed=trial.number in collapsed)


def cut_short(policy: Policy, score: Score) -> list[Trial]:
    """Start all trials that can run at once, end those with a score, then use up the time budget.

    Returns:
        The trials that were started.
    """
    started = list(starting(policy))
    for trial in started:
        if score(trial.parameters, trial.replicate) is not None:
            end(policy, trial, score)
    budget = policy.configuration.search.time_budget_s
    assert budget is not None
    policy.pass_time(budget * 2)
    return started


def starting(policy: Policy) -> Iterator[Trial]:
    """Yield the trials that a policy starts, until it has none for the moment."""
    while isinstance(trial := policy.next(), Trial):
        yield trial


def end(policy: Policy, trial: Trial, score: Score, *, has_collapsed: bool = False) -> None:
    """Train a trial to the last rung, or to the full budget, or let it fail."""
    reached = score(trial.parameters, trial.replicate)
    if reached is None:
        policy.ended(trial.trial_id, Ending(status=Status.FAILED, error="out of memory"))
        return
    last = policy.plan.budget if trial.is_confirmation else policy.plan.end
    if report(policy, trial, evaluation(last, reached, collapsed=has_collapsed)):
        policy.ended(trial.trial_id, Ending(status=Status.COMPLETED, seconds=1.0))


def confirmation_of(policy: Policy) -> Confirmation:
    """Return the confirmation of a policy that has reached it."""
    assert policy.confirmation is not None
    return policy.confirmation
