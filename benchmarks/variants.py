"""Variants of the product's policy that were tried: each changes one thing.

The search is that of one worker; the confirmation is the product's own `Standing` and rule.
"""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.many_searches import confirm
from benchmarks.problems import POINTS, Problem
from benchmarks.rivals import Plan
from tuning.rungs import is_promoted

LIKELY = 0.1
"""Probability that a random trial enters the finalists below which the search ends."""
PRIOR_REPLICATES = 0.3
"""Replicates that the lead at the last rung is worth as a prior."""
_COMMON = 0.29
"""Deviation of a split that all configurations share, over their own deviations: on the recorded
tweets 1.5 and 5.2 points."""
_REDRAWING_SEED = 22

Score = Callable[[int, int], float]
"""Score of a configuration in the search at a rung."""


def paused_and_promoted(problem: Problem) -> Plan:
    """Pause every trial at the first rung, and promote one as soon as it is among the best third.

    Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, algorithm 2.
    """
    first = problem.plan.rungs[0]
    factor = problem.configuration.search.reduction_factor
    paused, promoted = list[int](), list[int]()
    for number in range(1, problem.num_configurations):
        paused.append(number)
        ranked = sorted(paused, key=lambda one: (-problem.score_at(one, first), one))
        promoted += [one for one in ranked[: len(ranked) // factor] if one not in promoted]
    return _confirmed(problem, paused, promoted, problem.score_at)


def ended_when_settled(problem: Problem) -> Plan:
    """End the search when a further random trial is unlikely to enter the finalists.

    After t trials the next one is among the best k with probability k / (t + 1).
    """
    num_finalists = problem.configuration.search.confirm_top
    num = min(problem.num_configurations, int(num_finalists / LIKELY))
    trials = range(1, num)
    return _confirmed(problem, trials, _promoted(problem, trials, problem.score_at))


def redrawn(problem: Problem) -> Plan:
    """Give each configuration of the search its own train/validation split.

    Nagler et al. 2024, Reshuffling Resampling Splits Can Improve Generalization of Hyperparameter
    Optimization. The part of a split's deviation that all configurations share no longer cancels.
    """
    own = problem.scores[:, 1:, -1] - problem.scores[:, 1:, -1].mean(axis=1, keepdims=True)
    deviation = _COMMON * float(own.std())
    generator = np.random.default_rng(_REDRAWING_SEED)
    common = deviation * generator.standard_normal(problem.num_configurations)

    def score(number: int, rung: int) -> float:
        return problem.score_at(number, rung) + float(common[number])

    trials = range(1, problem.num_configurations)
    return _confirmed(problem, trials, _promoted(problem, trials, score), score)


def with_prior(problem: Problem) -> Plan:
    """Let the lead at the last rung count as a weak prior when finalists are dropped."""
    trials = range(1, problem.num_configurations)
    promoted = _promoted(problem, trials, problem.score_at)
    return _confirmed(problem, trials, promoted, weight=PRIOR_REPLICATES)


def _promoted(problem: Problem, trials: Sequence[int], score: Score) -> list[int]:
    """Return the trials that are promoted at the first rung, as the product decides."""
    first, search = problem.plan.rungs[0], problem.configuration.search
    promoted, seen = list[int](), list[float]()
    for number in trials:
        seen.append(score(number, first))
        if is_promoted(seen[-1], seen, search, constant_score=problem.constant_score):
            promoted.append(number)
    return promoted


def _confirmed(
    problem: Problem,
    trials: Sequence[int],
    promoted: Sequence[int],
    score: Score | None = None,
    *,
    weight: float = 0.0,
) -> Plan:
    """Confirm the best of the promoted trials; the others follow by their score at the first rung.

    Args:
        problem: that was searched.
        trials: configurations that were tried, the default left out.
        promoted: those of them that reached the last rung.
        score: in the search; None: that of the problem.
        weight: replicates that the lead at the last rung is worth.
    """
    score, search = score or problem.score_at, problem.configuration.search
    first, last = problem.plan.rungs
    ranked = [
        *sorted(promoted, key=lambda one: (-score(one, last), one)),
        *sorted(set(trials) - set(promoted), key=lambda one: (-score(one, first), one)),
    ]
    finalists = ranked[: search.confirm_top]
    prior = [weight * POINTS * (score(one, last) - score(0, last)) for one in finalists]
    numbers = [0, *finalists]
    winner, rounds = confirm(
        POINTS * problem.scores[numbers, 1:, -1],
        search,
        problem.validation_share,
        prior=prior if weight else None,
    )
    budget = problem.plan.budget
    searched = [(last if one in promoted else first) / budget for one in trials]
    return Plan(
        chosen=numbers[winner],
        stages=[[last / budget, *searched], *([1.0] * num for num in rounds)],
    )
