"""What a recorded curve is worth at equal budgets: the one rule of search, resume and report."""

from collections.abc import Sequence

Curve = Sequence[tuple[int, float]]
"""Evaluations of a trial in order: (training rows seen, score)."""


def score_at(curve: Curve, level: int, *, budget: int) -> float | None:
    """Score of a trial at a rung or at the budget; None while it has not got there.

    At the budget it is the last evaluation, the learning rate decayed to 0; at a rung the mean
    of the last two evaluations due at or before it, since one is noise. An evaluation is due at
    a rung if it is the first one at or after it.

    Args:
        curve: of the trial.
        level: the rung or the budget, training rows seen.
        budget: training rows that a full training sees.
    """
    scores = [score for _, score in curve]
    reached = [number for number, (examples, _) in enumerate(curve) if examples >= level]
    if not reached:
        return None
    if level >= budget:
        return scores[-1]
    return mean_of_last_two(scores[: reached[0] + 1])


def mean_of_last_two(scores: Sequence[float]) -> float:
    """Mean of the last two scores, or of the only one."""
    last = scores[-2:]
    return sum(last) / len(last)
