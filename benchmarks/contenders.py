"""The ways of searching that `python -m benchmarks.decisions` compares, by name.

A new one is a function from a problem to a `Result`, and an entry of `CONTENDERS`.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.problems import POINTS, Problem
from benchmarks.replay import replay
from benchmarks.rivals import (
    NUM_RANDOM,
    NUM_RATES,
    Plan,
    all_full_runs,
    default_alone,
    four_rates,
    one_rung,
    random_full_runs,
    successive_halving,
)
from benchmarks.smac_side import check_installed, choose_with_smac
from benchmarks.variants import ended_when_settled, paused_and_promoted, redrawn, with_prior
from training.errors import InputError

OURS, TODAY = "ours", "today"
"""This program, and its first decision rule."""
SIZES = (6, 12, 24, 72)
"""Configurations of a problem, the default included."""
_SIZE_OF_FIXED = (24,)
"""Of problems for those that train a fixed number of configurations."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one search of one problem returned, and its cost, the final training left out."""

    gain: float
    """Over the default, points."""
    regret: float
    """Against the best configuration that there is, points."""
    cost: float
    """Full trainings."""
    makespans: Mapping[int, float]
    """Time in full trainings, by number of workers; it may be known for one alone."""
    busy: Mapping[int, float] = field(default_factory=dict)
    """Share of the workers' time that they trained in the confirmation, by number of workers."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of searching."""

    name: str
    label: str
    """For the table and the plot."""
    run: Callable[[Problem, Collection[int]], Result]
    """Takes a problem and the numbers of workers to find the time for."""
    sizes: Sequence[int] = SIZES
    """Of the problems that it is given."""
    num_trials: int | None = None
    """Configurations that it trains; None: all."""
    is_variant: bool = False
    """Whether it is this program with one thing changed, which the plot leaves out."""
    is_for_simulated: bool = True
    """Whether it searches simulated problems."""
    is_for_recorded: bool = True
    """Whether it searches recorded problems."""
    decision_rule: int | None = None
    """Of the product's policy, whose harm is estimated by many more searches; None: another one."""
    check: Callable[[], None] = lambda: None
    """Raises InputError if it cannot run here, for want of a package."""


def replayed(problem: Problem, workers: Collection[int], **options: Any) -> Result:
    """Run the product's policy; what it returns and costs is that with one worker.

    Args:
        problem: to search.
        workers: numbers of workers to find the time for.
        **options: of `replay`.
    """
    outcomes = {number: replay(problem, workers=number, **options) for number in {1, *workers}}
    chosen = outcomes[1].chosen
    return Result(
        gain=problem.gain(chosen),
        regret=problem.regret(chosen),
        cost=outcomes[1].cost,
        makespans={number: outcomes[number].makespan for number in workers},
        busy={
            number: share
            for number in workers
            if (share := outcomes[number].confirmation_busy) is not None
        },
    )


def planned(
    problem: Problem, workers: Collection[int], *, plan: Callable[[Problem], Plan]
) -> Result:
    """Run a rival."""
    found = plan(problem)
    return Result(
        gain=problem.gain(found.chosen),
        regret=problem.regret(found.chosen),
        cost=found.cost,
        makespans={number: found.makespan(number) for number in workers},
    )


def with_smac(problem: Problem, workers: Collection[int]) -> Result:
    """Run SMAC3's intensifier on the whole recorded grid, at the cost of this program's search.

    With several workers it is granted that it asks for as many trainings at once and chooses alike.
    """
    sample = problem.sample
    assert sample is not None, "a simulated problem has no ranges"
    choice = choose_with_smac(
        sample.grid,
        problem.configuration.search.space,
        problem.parameters[0],
        num_trainings=max(1, round(replay(problem).cost)),
        replicates=sample.replicates,
        seed=sample.repeat,
    )
    truth = float(sample.truths[choice.configuration])
    return Result(
        gain=POINTS * (truth - problem.truth(0)),
        regret=POINTS * (problem.best_truth - truth),
        cost=choice.num_trainings,
        makespans={number: math.ceil(choice.num_trainings / number) for number in workers},
    )


def available(contenders: Sequence[Contender]) -> tuple[list[Contender], list[str]]:
    """Return the contenders that can run here, and a line for each of the others."""
    can_run, problems = list[Contender](), list[str]()
    for one in contenders:
        try:
            one.check()
        except InputError as error:
            problems.append(f"{one.name} is left out: {error}")
        else:
            can_run.append(one)
    return can_run, problems


def _variant(name: str, label: str, plan: Callable[[Problem], Plan]) -> Contender:
    """Return a variant of this program's policy, which needs both rungs of simulated problems."""
    return Contender(
        name=name,
        label=label,
        run=partial(planned, plan=plan),
        is_variant=True,
        is_for_recorded=False,
    )


CONTENDERS = (
    Contender(name=OURS, label="this program", run=replayed, decision_rule=2),
    Contender(
        name=TODAY,
        label="this program's first rule",
        run=partial(replayed, search={"decision_rule": 1}),
        decision_rule=1,
    ),
    Contender(
        name="default",
        label="the default alone",
        run=partial(planned, plan=default_alone),
        sizes=_SIZE_OF_FIXED,
        num_trials=1,
    ),
    Contender(
        name="four_rates",
        label="four learning rates, halved at each rung",
        run=partial(planned, plan=four_rates),
        sizes=_SIZE_OF_FIXED,
        num_trials=NUM_RATES,
    ),
    Contender(
        name="random_full_runs",
        label="eight random full runs, best score",
        run=partial(planned, plan=random_full_runs),
        sizes=_SIZE_OF_FIXED,
        num_trials=NUM_RANDOM,
    ),
    Contender(
        name="one_rung",
        label="one rung, the three best in full, best score",
        run=partial(planned, plan=one_rung),
    ),
    Contender(
        name="successive_halving",
        label="successive halving, best score",
        run=partial(planned, plan=successive_halving),
    ),
    Contender(
        name="all_full_runs",
        label="all in full, best score",
        run=partial(planned, plan=all_full_runs),
    ),
    Contender(
        name="smac",
        label="SMAC3's intensifier, at this program's cost",
        run=with_smac,
        sizes=SIZES[:3],
        is_for_simulated=False,
        check=check_installed,
    ),
    _variant("paused", "this program, trials paused and promoted", paused_and_promoted),
    _variant("settled", "this program, ended when settled", ended_when_settled),
    _variant("redrawn", "this program, a split for each trial", redrawn),
    _variant("prior", "this program, the last rung as a prior", with_prior),
)
