"""Score a trial at a rung or at the budget: the one rule of search, resume and report."""

from collections.abc import Sequence

Curve = Sequence[tuple[int, float]]
"""Evaluations of a trial in order: (training rows seen, score)."""


def score_at(curve: Curve, examples: int, *, budget: int) -> float | None:
    """Return the score of a trial at a rung or at the budget; None if it has not reached it.

    Args:
        curve: of the trial.
        examples: the rung or the budget, training rows seen.
        budget: training rows that a full training sees.
    """
    positions = positions_at([seen for seen, _ in curve], examples, budget=budget)
    return mean([curve[position][1] for position in positions]) if positions else None


def positions_at(seen: Sequence[int], examples: int, *, budget: int) -> range:
    """Return which evaluations of a trial make its score at a rung or at the budget.

    At the budget the score is that of the last evaluation, the learning rate being decayed to 0. At
    a rung it is the mean of the last two evaluations due at or before it, since a single one is
    noisy. An evaluation is due at a rung if it is the first one at or after it.

    Args:
        seen: training rows seen at each evaluation, ascending.
        examples: the rung or the budget, training rows seen.
        budget: training rows that a full training sees.

    Returns:
        Positions in `seen`; none if the trial has not reached `examples`.
    """
    reached = next((position for position, rows in enumerate(seen) if rows >= examples), None)
    if reached is None:
        return range(0)
    if examples >= budget:
        return range(len(seen) - 1, len(seen))
    return last_two(reached + 1)


def last_two(count: int) -> range:
    """Return the positions of the last two of `count` evaluations, or of the only one."""
    return range(max(count - 2, 0), count)


def mean(scores: Sequence[float]) -> float:
    """Return the mean of at least one score."""
    return sum(scores) / len(scores)
