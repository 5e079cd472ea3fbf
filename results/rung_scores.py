"""Score a trial at a rung or at the budget: the one rule of search, resume and report."""

from collections.abc import Sequence

Curve = Sequence[tuple[int, float]]
"""Evaluations of a trial in order: (training rows seen, score)."""


def score_at(curve: Curve, examples: int, *, budget: int) -> float | None:
    """Return the score of a trial at a rung or at the budget; None if it has not reached it.

    At the budget the score is that of the last evaluation, the learning rate being decayed to 0. At
    a rung it is the mean of the last two evaluations due at or before it, since a single one is
    noisy. An evaluation is due at a rung if it is the first one at or after it.

    Args:
        curve: of the trial.
        examples: the rung or the budget, training rows seen.
        budget: training rows that a full training sees.
    """
    scores = [score for _, score in curve]
    reached = [position for position, (seen, _) in enumerate(curve) if seen >= examples]
    if not reached:
        return None
    if examples >= budget:
        return scores[-1]
    return mean_of_last_two(scores[: reached[0] + 1])


def mean_of_last_two(scores: Sequence[float]) -> float:
    """Return the mean of the last two scores, or the only one."""
    last = scores[-2:]
    return sum(last) / len(last)
