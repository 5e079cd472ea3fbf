"""Simulate thousands of searches of one cell at once, to estimate how often they do harm.

The policy itself simulates a few hundred searches a second. Here the trials of the search are
vectorised over many searches, and the product's own `Standing` and rules decide the confirmation.
tests/tuning/test_simulated_searches.py compares both with the policy, search by search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.problems import BIAS, LUCK_KEPT, POINTS, SEED_DEVIATION, Cell, Floats
from tuning.config import SearchConfig
from tuning.confirmation_rule import ConfirmationRule, rule_of
from tuning.space import as_number
from tuning.standing import Confirmed, Standing

NUM_REPLICATES = 5
HARM = -0.3
"""A returned configuration this far from the default, in points, is a search that did harm."""

_SHARES = (1 / 6, 1 / 2, 1.0)
"""Rows of the first rung, of the last rung and of a full training, in full trainings."""
_FACTOR = 3
"""`search.reduction_factor`."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Many searches of one cell; configuration 0 is the default; scores are points."""

    validation_share: float
    """Validation rows over training rows."""
    quality: Floats
    """True score, float64 [searches, configurations]."""
    searched: Floats
    """Score in the search at both rungs and the budget, float64 [searches, configurations, 3]."""
    confirmed: Floats
    """Score on each replicate, float64 [searches, configurations, `NUM_REPLICATES`]."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What many searches returned and cost."""

    chosen: npt.NDArray[np.int64]
    """Number of the configuration, int64 [searches]."""
    gain: Floats
    """Lead of its true score over the default's, points, float64 [searches]."""
    search: Floats
    """Cost of the trials of the search in full trainings, float64 [searches]."""
    confirmation: Floats
    """Cost of the confirmation in full trainings, float64 [searches]."""

    @property
    def harm(self) -> float:
        """Share of the searches that did harm."""
        return float(np.mean(self.gain < HARM))


def sample_batch(cell: Cell, *, num_trials: int, num_searches: int, seed: int) -> Batch:
    """Sample searches of a cell; their scores are distributed as in `benchmarks.problems`."""
    generator = np.random.default_rng([seed, cell.seed, num_trials])
    shape = (num_searches, num_trials)
    quality = cell.spread * generator.standard_normal(shape)
    quality[:, 0] = cell.spread * stats.norm.ppf(cell.quantile)
    shared = cell.validation_share / (1 + cell.validation_share)
    lasting = np.sqrt(shared) * generator.standard_normal((*shape, 1))
    passing = np.sqrt(1 - shared) * generator.standard_normal((*shape, 1 + NUM_REPLICATES))
    rows = quality[:, :, None] + cell.deviation * (lasting + passing)
    luck = SEED_DEVIATION * generator.standard_normal((*shape, 1 + NUM_REPLICATES))
    kept, bias = np.array(LUCK_KEPT), cell.spread * np.array(BIAS)
    at_rungs = kept * luck[:, :, :1] + bias * generator.standard_normal((*shape, len(BIAS)))
    others = np.sqrt(1 - kept**2) * generator.standard_normal((*shape, len(BIAS)))
    return Batch(
        validation_share=cell.validation_share,
        quality=quality,
        searched=rows[:, :, :1] + at_rungs + SEED_DEVIATION * others,
        confirmed=rows[:, :, 1:] + luck[:, :, 1:],
    )


def run_searches(batch: Batch, search: SearchConfig) -> Results:
    """Run the searches of a batch under `asha`, one trial after another."""
    finalists, cost = _search(batch, search)
    chosen, trainings = [], []
    for scores, found in zip(batch.confirmed, finalists, strict=True):
        numbers = [0, *(int(number) for number in found if number > 0)]
        winner, rounds = confirm(scores[numbers], search, batch.validation_share)
        chosen.append(numbers[winner])
        trainings.append(sum(rounds))
    each = np.arange(len(chosen))
    return Results(
        chosen=np.array(chosen),
        gain=batch.quality[each, chosen] - batch.quality[:, 0],
        search=cost,
        confirmation=np.array(trainings, dtype=np.float64),
    )


def _search(batch: Batch, search: SearchConfig) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the finalists of each search, best first (0: none), and the cost of its trials."""
    first, last, full = np.moveaxis(batch.searched, -1, 0)
    is_early = search.decision_rule > 1
    at_last = _promoted(first, np.full(first.shape, True), counts_default=not is_early)
    at_last[:, 0] = True
    if is_early:
        cost = _SHARES[0] + at_last * (_SHARES[1] - _SHARES[0])
        rank = np.where(at_last, last + _FAR, first)
    else:
        at_end = _promoted(last, at_last, counts_default=True)
        at_end[:, 0] = True
        cost = _SHARES[0] + at_last * (_SHARES[1] - _SHARES[0]) + at_end * (1 - _SHARES[1])
        rank = np.where(at_end, full, -np.inf)
    rank[:, 0] = -np.inf
    finalists = np.argsort(-rank, axis=1, kind="stable")[:, : search.confirm_top]
    is_ranked = np.take_along_axis(rank, finalists, axis=1) > -np.inf
    return np.where(is_ranked, finalists, 0), cost.sum(axis=1)


_FAR = 1e4
"""Points that lift every score at the last rung above all scores at the first."""


def _promoted(
    scores: Floats, reached: npt.NDArray[np.bool_], *, counts_default: bool
) -> npt.NDArray[np.bool_]:
    """Return which trials are promoted at a rung, in order of their numbers, bool [searches, n]."""
    seen = np.full(scores.shape, -np.inf)
    if counts_default:
        seen[:, 0] = scores[:, 0]
    promoted = np.zeros(scores.shape, dtype=bool)
    for number in range(1, scores.shape[1]):
        seen[:, number] = np.where(reached[:, number], scores[:, number], -np.inf)
        num_kept = np.maximum((seen > -np.inf).sum(axis=1) // _FACTOR, 1)
        rank = (seen > scores[:, number, None]).sum(axis=1)
        promoted[:, number] = reached[:, number] & (rank < num_kept)
    return promoted


def confirm(
    scores: Floats,
    search: SearchConfig,
    validation_share: float,
    *,
    prior: Sequence[float] | None = None,
) -> tuple[int, list[int]]:
    """Confirm one search's candidates.

    Args:
        scores: points, float64 [candidates, replicates], the default first.
        search: with the rule and its settings.
        validation_share: validation rows over training rows.
        prior: of each challenger, a lead over the default that counts in which ones are dropped,
            in points times the replicates that it is worth; the product has none.

    Returns:
        The position of the winner among the candidates, and the trainings on each replicate.
    """
    if len(scores) < 2:
        return 0, []
    rule, table = rule_of(search), np.asarray(scores / POINTS).tolist()
    rounds: list[Sequence[int]] = []
    challengers: Sequence[int] | None = range(1, len(scores))
    while challengers is not None:
        rounds.append([0, *challengers])
        standing = _standing(table, rounds, rule, validation_share)
        kept = standing.next_round(len(rounds), last=search.confirm_max_replicates)
        challengers = None if kept is None else [_position(one) for one in kept]
        if challengers and prior is not None:
            sums = (scores[:, : len(rounds)] - scores[0, : len(rounds)]).sum(axis=1)
            ahead = sorted(rounds[-1][1:], key=lambda one: -(sums[one] + prior[one - 1]))
            challengers = ahead[: len(challengers)]
    return _position(standing.winner()), [len(one) for one in rounds]


def _standing(
    table: Sequence[Sequence[float]],
    rounds: Sequence[Sequence[int]],
    rule: ConfirmationRule,
    validation_share: float,
) -> Standing:
    candidates = [
        Confirmed(
            parameters={"position": position},
            scores={k: scores[k - 1] for k, one in enumerate(rounds, 1) if position in one},
        )
        for position, scores in enumerate(table)
    ]
    kept = rounds[-1] if rule.drops else range(len(candidates))
    return Standing(
        default=candidates[0],
        challengers=[one for one in candidates[1:] if _position(one) in kept],
        dropped=[one for one in candidates[1:] if _position(one) not in kept],
        rule=rule,
        validation_share=validation_share,
    )


def _position(candidate: Confirmed) -> int:
    return int(as_number(candidate.parameters["position"]))
