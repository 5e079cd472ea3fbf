"""Thousands of searches whose truth is known: how often is the result worse than not searching?

A configuration's true quality is normal with the cell's spread; the default is at the cell's
quantile. A measured score adds the luck of the seed and, in cells that have it, a deviation of
this configuration on these validation rows. The search evaluates once, on one split; a replicate
has a new seed and split. Splits of one pool share rows, so a part of the deviation,
n_validation / n, is the same on every split: no confirmation can detect that part. All numbers are
points of macro-F1. The project's own `Policy` decides which candidates are confirmed, how often,
and which one wins.
"""

import itertools
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from results.trial_states import Status
from tests.tuning.builders import configuration, evaluation
from tuning.config import Configuration
from tuning.policy import Policy
from tuning.record import choose
from tuning.rungs import EvaluationPlan
from tuning.searchers import FixedSearcher
from tuning.space import Parameters
from tuning.trials import Ending, Trial

FEW_ROWS, MANY_ROWS = 1 / 4, 1 / 9
"""Validation rows over training rows, as the configuration has them."""
NUM_TRIALS = 24
NUM_ROWS = 1000
PLAN = EvaluationPlan(budget=3 * NUM_ROWS, points=(3 * NUM_ROWS,), rungs=())
"""Each training is evaluated once, at its end."""
STEP = 1e-4
"""Learning rates of configurations are this far apart, which names them."""
SEED_DEVIATION = 0.6
WORSE = -0.3
"""A returned configuration this far from the default is a search that did harm."""
BASE = {"confirm_top": 3, "confirm_replicates": 3, "confirm_max_replicates": 5}
TWO_REPLICATES = {"confirm_top": 3, "confirm_replicates": 2, "confirm_max_replicates": 2}
ONE_CHALLENGER = {"confirm_top": 1, "confirm_replicates": 2, "confirm_max_replicates": 2}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of search."""

    spread: float
    quantile: float
    deviation: float
    validation_share: float
    """Validation rows over training rows."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The true quality of each configuration of one search, and how it is measured."""

    cell: Cell
    quality: np.ndarray
    lasting: np.ndarray
    """Part of the deviation that every split has, in standard deviations."""
    generator: np.random.Generator

    def measure(self, number: int) -> float:
        """Score of configuration `number` on a fresh seed and split, as macro-F1."""
        shared = self.cell.validation_share / (1 + self.cell.validation_share)
        passing = self.generator.normal()
        rows = np.sqrt(shared) * self.lasting[number] + np.sqrt(1 - shared) * passing
        luck = SEED_DEVIATION * self.generator.normal()
        return 0.7 + (self.quality[number] + self.cell.deviation * rows + luck) / 100


def sample_truth(cell: Cell, generator: np.random.Generator) -> Truth:
    quality = generator.normal(0, cell.spread, NUM_TRIALS)
    quality[0] = stats.norm.ppf(cell.quantile) * cell.spread
    lasting = generator.normal(0, 1, NUM_TRIALS)
    return Truth(cell=cell, quality=quality, lasting=lasting, generator=generator)


def search(truth: Truth, config: Configuration) -> tuple[int, int]:
    """What is returned, and what the best score of the search would have returned."""
    policy = Policy(
        configuration=config,
        plan=PLAN,
        num_rows=NUM_ROWS,
        validation_share=truth.cell.validation_share,
        searcher=Numbered(config.search, config.training),
    )
    while isinstance(trial := policy.next(), Trial):
        score = truth.measure(number_of(trial.parameters))
        policy.report(trial.trial_id, evaluation(PLAN.budget, score))
        policy.ended(trial.trial_id, Ending(status=Status.COMPLETED))
    searched = policy.store.searched
    naive = max(range(NUM_TRIALS), key=lambda number: searched[number].final_score or 0.0)
    chosen = choose(policy.store, policy.confirmation)
    assert chosen is not None
    return number_of(chosen), naive


class Numbered(FixedSearcher):
    """Suggests configurations that differ by their number; trial 0 is 0."""

    def suggest(self, trial_id: str, number: int) -> Parameters:
        return {"learning_rate": STEP * (1 + number)}


def number_of(parameters: Parameters) -> int:
    return round(parameters["learning_rate"] / STEP) - 1


def configuration_of(confirmation: dict[str, int]) -> Configuration:
    return configuration(
        training={"learning_rate": STEP},
        search={
            "space": {"learning_rate": {"log_uniform": ["1e-5", "1e-2"]}},
            "trials": NUM_TRIALS,
            **confirmation,
        },
    )


def simulate(cell: Cell, num_searches: int, seed: int, confirmation: dict[str, int]) -> np.ndarray:
    """Gain over the default in points, float64 [searches, 2]: confirmed, and best of the search."""
    generator, config = np.random.default_rng(seed), configuration_of(confirmation)
    gains = []
    for _ in range(num_searches):
        truth = sample_truth(cell, generator)
        gains.append([truth.quality[n] - truth.quality[0] for n in search(truth, config)])
    return np.array(gains)


HARDEST = (0.4, 0.95, 0.5)  # hardly anything to gain, and much noise
EASIER = [
    cell for cell in itertools.product((0.4, 0.8), (0.7, 0.95), (0.0, 0.5)) if cell != HARDEST
]
IN_FAULTS = [pytest.mark.slow, pytest.mark.long]
CELLS = [
    *((*cell, FEW_ROWS, 2_000) for cell in EASIER[::3]),
    *(
        pytest.param(*cell, FEW_ROWS, 2_000, marks=IN_FAULTS)
        for number, cell in enumerate(EASIER)
        if number % 3
    ),
    *(pytest.param(*HARDEST, share, 12_000, marks=IN_FAULTS) for share in (FEW_ROWS, MANY_ROWS)),
]


@pytest.mark.parametrize(
    ("spread", "quantile", "deviation", "validation_share", "num_searches"), CELLS
)
def test_a_search_returns_something_clearly_worse_than_its_default_in_under_2_percent(
    spread: float, quantile: float, deviation: float, validation_share: float, num_searches: int
) -> None:
    cell = Cell(
        spread=spread, quantile=quantile, deviation=deviation, validation_share=validation_share
    )
    confirmed, naive = simulate(cell, num_searches, 20, BASE).T
    worse, naively_worse = (float(np.mean(gains < WORSE)) for gains in (confirmed, naive))
    print(
        f"\nspread {spread} default at {quantile:.0%} rows {deviation} share"
        f" {validation_share:.2f}: worse {worse:.2%}, mean gain {confirmed.mean():+.3f};"
        f" best score wins: worse {naively_worse:.2%}, mean gain {naive.mean():+.3f}",
        file=sys.stderr,
    )
    assert worse < 0.02
    assert worse < naively_worse
    assert confirmed.mean() > -0.02


@pytest.mark.parametrize(
    "confirmation", [TWO_REPLICATES, pytest.param(ONE_CHALLENGER, marks=IN_FAULTS)]
)
def test_fewer_replicates_than_the_base_has_do_little_more_harm(
    confirmation: dict[str, int],
) -> None:
    spread, quantile, deviation = HARDEST
    cell = Cell(spread=spread, quantile=quantile, deviation=deviation, validation_share=FEW_ROWS)
    confirmed, _ = simulate(cell, 4_000, 21, confirmation).T
    worse = float(np.mean(confirmed < WORSE))
    print(
        f"\n{confirmation}: worse {worse:.2%}, mean gain {confirmed.mean():+.3f}", file=sys.stderr
    )
    assert worse < 0.04
