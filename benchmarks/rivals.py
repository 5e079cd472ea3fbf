"""Simple ways of choosing a configuration, each at its own cost, without confirmation.

What they choose has the best score on the search's own split and seed, with which all their
trainings run. A stage of trainings starts when the one before it has finished.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.problems import Problem
from tuning.space import Parameters, Space, as_number

NUM_RANDOM = 8
NUM_RATES = 4
NUM_FINALISTS = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was chosen, and the trainings that it took."""

    chosen: int
    """The configuration."""
    stages: Sequence[Sequence[float]] = ()
    """The length of each training in each stage, full trainings."""

    @property
    def cost(self) -> float:
        """Full trainings of all stages together."""
        return math.fsum(length for stage in self.stages for length in stage)

    def makespan(self, workers: int) -> float:
        """Return the time of all stages in full trainings.

        A free worker takes the next training of the stage.
        """
        return math.fsum(_makespan(stage, workers) for stage in self.stages)


def _makespan(lengths: Iterable[float], workers: int) -> float:
    ends = [0.0] * workers
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


def default_alone(problem: Problem) -> Plan:  # noqa: ARG001
    """Train nothing before the final training of the default."""
    return Plan(chosen=0)


def random_full_runs(problem: Problem) -> Plan:
    """Train the first eight configurations beside the default to the full budget."""
    return _promote_best(problem, range(1, 1 + NUM_RANDOM), rungs=(), num_kept=lambda _: 1)


def all_full_runs(problem: Problem) -> Plan:
    """Train every configuration to the full budget."""
    return _promote_best(problem, range(problem.num_configurations), rungs=(), num_kept=lambda _: 1)


def four_rates(problem: Problem) -> Plan:
    """Train four learning rates, and stop the worse half at each rung."""
    return _promote_best(
        problem, rates(problem), rungs=problem.plan.rungs, num_kept=lambda num: max(1, num // 2)
    )


def one_rung(problem: Problem) -> Plan:
    """Train every configuration to the first rung, and the three best ones to the full budget."""
    return _promote_best(
        problem,
        range(problem.num_configurations),
        rungs=problem.plan.rungs[:1],
        num_kept=lambda num: min(num, NUM_FINALISTS),
    )


def successive_halving(problem: Problem) -> Plan:
    """Promote the best third at each rung, once all have reached it.

    Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification and Hyperparameter
    Optimization.
    """
    factor = problem.configuration.search.reduction_factor
    return _promote_best(
        problem,
        range(problem.num_configurations),
        rungs=problem.plan.rungs,
        num_kept=lambda num: max(1, num // factor),
    )


def _promote_best(
    problem: Problem,
    numbers: Iterable[int],
    *,
    rungs: Sequence[int],
    num_kept: Callable[[int], int],
) -> Plan:
    """Train configurations from rung to rung, and choose the best score at the full budget.

    Args:
        problem: whose configurations are trained.
        numbers: of the configurations.
        rungs: training rows, ascending.
        num_kept: returns how many of a number of configurations are promoted at a rung.
    """
    budget, before = problem.plan.budget, 0
    kept, stages = list(numbers), []
    for rung in (*rungs, budget):
        stages.append([(rung - before) / budget] * len(kept))
        scores = {number: problem.score_at(number, rung) for number in kept}
        ranked = sorted(kept, key=lambda number: (-scores[number], number))
        kept, before = ranked[: num_kept(len(ranked))], rung
    return Plan(chosen=kept[0], stages=stages)


def rates(problem: Problem) -> list[int]:
    """Return the configurations nearest to four learning rates with the default's other values.

    The learning rates have equal ratios, from the lower to the upper end of their range. In a
    simulated problem learning rates only name configurations: these are the default and three
    random ones.
    """
    space, chosen = problem.configuration.search.space, list[int]()
    low, high = space["learning_rate"].bounds
    for step in range(NUM_RATES):
        rate = low * (high / low) ** (step / (NUM_RATES - 1))
        wanted = {**problem.parameters[0], "learning_rate": rate}
        others = [n for n in range(problem.num_configurations) if n not in chosen]
        chosen.append(
            min(others, key=lambda number: _distance(problem.parameters[number], wanted, space))
        )
    return sorted(chosen)


def _distance(one: Parameters, other: Parameters, space: Space) -> float:
    """Return the squared distance of two configurations, each field in units of its range."""
    return math.fsum(
        (
            (_scaled(as_number(one[name])) - _scaled(as_number(other[name])))
            / (_scaled(high) - _scaled(low))
        )
        ** 2
        if domain.log_uniform
        else ((as_number(one[name]) - as_number(other[name])) / (high - low)) ** 2
        for name, domain in space.items()
        for low, high in [domain.bounds]
    )


def _scaled(value: float) -> float:
    return math.log(value)
