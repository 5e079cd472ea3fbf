"""Searches whose truth is known: recorded grids of trainings, and simulated cells.

A problem holds every score that a search of its configurations could see, so that all policies are
compared on the same scores, in whatever order they ask for them. Scores are between 0 and 1.

A simulated configuration has a true quality, normal with the cell's spread; the default is at the
cell's quantile. A score adds the luck of the seed and, in cells that have it, a deviation of this
configuration on these validation rows. Splits of one pool share rows, so a part of the deviation,
n_validation / n, is the same on every split. At a rung, a score also has a bias of the
configuration, the same on every replicate: some learn slowly and end well.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.recorded import RecordedGrid
from results.rung_scores import score_at
from training.config import STUDY_LABELS
from training.errors import InputError
from tuning.config import Configuration
from tuning.rungs import EvaluationPlan, plan_of
from tuning.space import Parameters
from tuning.start import build

Floats = npt.NDArray[np.float64]

POINTS = 100
"""Points of macro-F1 in a score of 1."""

_SIMULATION_SEED, _SAMPLING_SEED = 20, 21
_ROUNDING = 5e-4
"""Constant predictors score differently on each split, by less than this."""

_MOST_CONFIGURATIONS = 72
_MOST_REPLICATES = 8
"""Replicates of a simulated problem beside that of the search."""
_NUM_ROWS, _NUM_EPOCHS = 4000, 6
"""Of a simulated problem: any rows that are enough for all rungs; epochs as `sample` has them."""
_EPOCHS = (1, 2, 3, _NUM_EPOCHS)
"""At which a simulated training is evaluated: the fewest that keep the rungs, at 1 and 3 epochs,
apart, since a score at a rung is the mean of two evaluations."""
_STAGES = (0, 1, 1, 2)
"""Of each evaluation: the first rung, the second, or the end."""
_CENTRE = 0.7
"""The score of a simulated configuration of quality 0."""
_LEARNING_RATE_STEP = 1e-4
"""Learning rates of simulated configurations are this far apart, which names them."""

SEED_DEVIATION = 0.6
"""Standard deviation of the luck of a seed, points."""
BIAS = (1.0, 0.33, 0.0)
"""Standard deviation of a configuration's bias at each rung and at the end, in spreads.

Matched to the recorded tweets, where one score and the truth have a rank correlation of 0.46 at the
first rung, 0.81 at the second and 0.83 at the end.
"""
LUCK_KEPT = (0.2, 0.7, 1.0)
"""Correlation of the luck at each rung with that at the end, as on the recorded tweets."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GridSample:
    """What a problem of a recorded grid has taken from it."""

    grid: RecordedGrid
    repeat: int
    """Number of the problem."""
    replicates: Sequence[int]
    """Positions of the replicates that a policy may see, that of the search first."""
    truths: Floats
    """Of all configurations of the grid."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """One search whose truth is known; configuration 0 is the default."""

    name: str
    configuration: Configuration
    """Of the search: its space, number of trials and training of the default."""
    plan: EvaluationPlan
    num_rows: int
    """Training rows per epoch."""
    validation_share: float
    """Validation rows over training rows."""
    parameters: Sequence[Parameters]
    """Of each configuration."""
    scores: Floats
    """[configurations, replicates, points]; replicate 0 is the search's own split and seed."""
    truths: Floats
    """[configurations]"""
    best_truth: float
    """Of all configurations that there are, those that this search does not try included."""
    sample: GridSample | None = None
    """Of a recorded grid; None: the problem is simulated."""
    constant_score: float = 0.0
    """Score of the best predictor of a single class; what scores no more counts as collapsed."""

    @property
    def num_configurations(self) -> int:
        """The number of configurations, the default included."""
        return len(self.parameters)

    def plan_of(self, configuration: Configuration) -> EvaluationPlan:
        """Return the plan of another configuration, with the same evaluations."""
        return replace(plan_of(configuration, self.num_rows), points=self.plan.points)

    def score(self, number: int, replicate: int, position: int) -> float:
        """Return the score of a configuration at an evaluation."""
        return float(self.scores[number, replicate, position])

    def truth(self, number: int) -> float:
        """Return the true score of a configuration."""
        return float(self.truths[number])

    def score_at(self, number: int, examples: int, *, replicate: int = 0) -> float:
        """Return the score of a configuration at a rung or the budget, by the rule of searches."""
        curve = [
            (point, self.score(number, replicate, position))
            for position, point in enumerate(self.plan.points)
        ]
        found = score_at(curve, examples, budget=self.plan.budget)
        assert found is not None
        return found

    def gain(self, number: int) -> float:
        """Return how much better than the default a configuration is, points."""
        return POINTS * (self.truth(number) - self.truth(0))

    def regret(self, number: int) -> float:
        """Return how much worse than the best one that there is a configuration is, points."""
        return POINTS * (self.best_truth - self.truth(number))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of simulated search; numbers are points."""

    spread: float
    """Standard deviation of the configurations' quality."""
    quantile: float
    """The share of configurations that the default is better than."""
    deviation: float
    """Standard deviation of a configuration's score over splits, beside the luck of the seed."""
    validation_share: float
    """Validation rows over training rows."""

    @property
    def seed(self) -> int:
        """Its number among all cells."""
        return CELLS.index(self)


CELLS = tuple(
    Cell(spread=spread, quantile=quantile, deviation=deviation, validation_share=share)
    for spread, quantile, deviation, share in itertools.product(
        (0.4, 0.8, 1.6), (0.5, 0.7, 0.95), (0.0, 0.5), (1 / 4, 1 / 9)
    )
)


def simulated_problem(cell: Cell, num_configurations: int, *, repeat: int) -> Problem:
    """Sample a problem of a cell, a function of the arguments alone.

    Problems of fewer configurations hold the first ones of the largest problem.

    Args:
        cell: one of `CELLS`.
        num_configurations: the default included, at most 72.
        repeat: number of the problem.
    """
    generator = np.random.default_rng([_SIMULATION_SEED, cell.seed, repeat])
    quality = cell.spread * generator.standard_normal(_MOST_CONFIGURATIONS)
    quality[0] = cell.spread * stats.norm.ppf(cell.quantile)
    scores = quality[:, None, None] + _noise(cell, generator)
    configuration = _simulated_configuration(num_configurations)
    return Problem(
        name="simulated",
        configuration=configuration,
        plan=replace(
            plan_of(configuration, _NUM_ROWS),
            points=tuple(_NUM_ROWS * epoch for epoch in _EPOCHS),
        ),
        num_rows=_NUM_ROWS,
        validation_share=cell.validation_share,
        parameters=_simulated_parameters(num_configurations),
        scores=_CENTRE + scores[:num_configurations][:, :, _STAGES] / POINTS,
        truths=_CENTRE + quality[:num_configurations] / POINTS,
        best_truth=_CENTRE + quality.max() / POINTS,
    )


def _noise(cell: Cell, generator: np.random.Generator) -> Floats:
    """Return scores minus qualities in points, float64 [configurations, replicates, stages]."""
    stages = len(BIAS)
    shape = (_MOST_CONFIGURATIONS, 1 + _MOST_REPLICATES)
    lasting = generator.standard_normal((_MOST_CONFIGURATIONS, 1))
    shared = cell.validation_share / (1 + cell.validation_share)
    passing = generator.standard_normal(shape)
    rows = np.sqrt(shared) * lasting + np.sqrt(1 - shared) * passing
    kept = np.array(LUCK_KEPT)
    luck = kept * generator.standard_normal((*shape, 1))
    luck += np.sqrt(1 - kept**2) * generator.standard_normal((*shape, stages))
    bias = np.array(BIAS) * generator.standard_normal((_MOST_CONFIGURATIONS, 1, stages))
    noise = cell.deviation * rows[:, :, None] + SEED_DEVIATION * luck + cell.spread * bias
    return np.asarray(noise, dtype=np.float64)


@cache
def _simulated_parameters(num: int) -> tuple[Parameters, ...]:
    return tuple({"learning_rate": _LEARNING_RATE_STEP * (1 + number)} for number in range(num))


@cache
def _simulated_configuration(num: int) -> Configuration:
    return build(
        {
            "data": {"labels": STUDY_LABELS},
            "training": {
                "epochs": _NUM_EPOCHS,
                "learning_rate": _LEARNING_RATE_STEP,
                "warmup_steps": 0,
            },
            "search": {
                "space": {"learning_rate": {"log_uniform": [1e-5, 1e-2]}},
                "trials": num,
            },
        }
    )


def recorded_problem(grid: RecordedGrid, num_configurations: int, *, repeat: int) -> Problem:
    """Sample a problem of a recorded grid, a function of the arguments alone.

    The default and `num_configurations - 1` others are taken without replacement. The replicates
    are shuffled: one for the search, those of the confirmation, and the others, whose mean final
    score is the truth.

    Raises:
        InputError: the grid has too few configurations or replicates.
    """
    configuration = _recorded_configuration(num_configurations, grid.epochs, len(grid.points))
    num_seen = 1 + configuration.search.confirm_max_replicates
    _check_size(grid, num_configurations, num_seen + 1)
    generator = np.random.default_rng([_SAMPLING_SEED, repeat])
    others = 1 + generator.permutation(len(grid.parameters) - 1)
    numbers = np.concatenate([[0], others])[:num_configurations]
    replicates = generator.permutation(grid.scores.shape[1])
    scores = grid.scores[numbers][:, replicates]
    truths = grid.scores[:, replicates[num_seen:], -1].mean(axis=1)
    return Problem(
        name=grid.name,
        configuration=configuration,
        plan=plan_of(configuration, grid.num_rows),
        num_rows=grid.num_rows,
        validation_share=grid.validation_share,
        parameters=[_typed(grid.parameters[number]) for number in numbers],
        scores=scores[:, :num_seen],
        truths=truths[numbers],
        best_truth=float(truths.max()),
        sample=GridSample(
            grid=grid, repeat=repeat, replicates=replicates[:num_seen].tolist(), truths=truths
        ),
        constant_score=(grid.constant_score or 0.0) + _ROUNDING,
    )


def _check_size(grid: RecordedGrid, num_configurations: int, num_replicates: int) -> None:
    for what, there, needed in (
        ("configurations", len(grid.parameters), num_configurations),
        ("replicates", grid.scores.shape[1], num_replicates),
    ):
        if there < needed:
            raise InputError(
                f"the grid {grid.name} has {there} {what}, but must have at least {needed}; record"
                " more with python -m benchmarks.record"
            )


def _typed(parameters: Mapping[str, float]) -> Parameters:
    """Return whole numbers as integers, as a search has them."""
    return {
        name: int(value) if value == int(value) else float(value)
        for name, value in parameters.items()
    }


@cache
def _recorded_configuration(num: int, epochs: int, num_points: int) -> Configuration:
    return build(
        {
            "data": {"labels": STUDY_LABELS},
            "training": {"epochs": epochs},
            "search": {"trials": num, "evaluations_per_epoch": num_points // epochs},
        }
    )
