"""Let SMAC3 choose a configuration of a recorded grid, at the cost of a number of full trainings.

SMAC3's intensifier trains a challenger on the seeds of the best configuration so far, twice as many
each time, until the challenger is worse on them or better on all; its random forest suggests the
next challenger. It starts with the default and searches the continuous ranges of the space:
limited to recorded points alone it runs out of them. What it asks for is answered by the nearest
recorded configuration. A seed of SMAC3's stands for a replicate.

Source: Lindauer et al. 2022, "SMAC3: a versatile Bayesian optimization package for hyperparameter
optimization", JMLR 23(54). The package is imported here alone, when it is needed; the extra
`decisions` installs it.
"""

import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.recorded import RecordedGrid
from training.errors import InputError
from tuning.space import Domain, Space, Value, as_number, contains

PACKAGE = "smac"

SEEDS_EACH = 3
"""Most seeds that a configuration is trained on: what SMAC3's `Intensifier` takes if not given.
With 6, SMAC3 chooses worse on both recorded grids."""

_MOST_LEAVES = 1024
"""Of a tree of the forest, more than trainings. SMAC3's own limit is 2 ** 20, and scikit-learn
allocates memory for all: the same trees, but 0.2 s each."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What SMAC3 chose, and what it trained to find it."""

    configuration: int
    """Number of the chosen configuration."""
    asked: tuple[tuple[int, int], ...]
    """Configuration and replicate of each training, in order. The same pair may return: two points
    of the space with the same nearest configuration are two trainings."""

    @property
    def num_trainings(self) -> int:
        """The number of full trainings used."""
        return len(self.asked)


def choose_with_smac(
    grid: RecordedGrid,
    space: Space,
    default: Mapping[str, Value],
    *,
    num_trainings: int,
    replicates: Sequence[int],
    seed: int,
) -> Choice:
    """Run SMAC3 by ask and tell on the final scores of a grid.

    It repeats with the same arguments and the same PYTHONHASHSEED, on which SMAC3 depends.

    Args:
        grid: whose scores answer.
        space: that SMAC3 searches.
        default: a point of the space, the first that SMAC3 trains.
        num_trainings: full trainings to use.
        replicates: those that may be seen, positions on the second axis of the scores; a seed that
            is new to SMAC3 stands for the next one.
        seed: of SMAC3.

    Returns:
        The configuration nearest to SMAC3's incumbent, with the trainings used: fewer than
        `num_trainings` only where a space of choices is exhausted.

    Raises:
        InputError: SMAC3 is not installed, a searched field is not recorded, the default is
            outside the space, or there is nothing to train.
    """
    check_installed()
    nearest = NearestConfiguration(grid.parameters, space)
    _check_arguments(space, default, num_trainings, replicates)
    replicate_of: dict[int, int] = {}
    asked: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as directory, _without_log():
        smac = _facade(space, default, num_trainings, len(replicates), seed, Path(directory))
        for trial in _trials(smac, num_trainings):
            if trial.seed not in replicate_of:
                replicate_of[trial.seed] = replicates[len(replicate_of)]
            replicate = replicate_of[trial.seed]
            number = nearest.find(dict(trial.config))
            asked.append((number, replicate))
            _report(smac, trial, float(grid.scores[number, replicate, -1]))
        chosen = nearest.find(dict(smac.intensifier.get_incumbent()))
    return Choice(configuration=chosen, asked=tuple(asked))


def check_installed() -> None:
    """Check that SMAC3 is there.

    Raises:
        InputError: it is not.
    """
    if find_spec(PACKAGE) is None:
        raise InputError(
            f"SMAC3 needs the package {PACKAGE}, which is not installed; run pip install"
            " '.[decisions]' from the checkout"
        )


class NearestConfiguration:
    """Finds the recorded configuration that is nearest to a point of the space.

    The squared distance is the sum over the fields of: the difference over the width of the range,
    squared, on the logarithm where the range is log-uniform; for a choice, 1 if the values differ.
    The lowest number wins a tie.
    """

    def __init__(self, recorded: Sequence[Mapping[str, Value]], space: Space) -> None:
        """Take the recorded configurations' values of the fields of a space.

        Raises:
            InputError: a field of the space is not recorded.
        """
        for name in space:
            if name not in recorded[0]:
                raise InputError(
                    f"search.space.{name} is searched, but not recorded in the grid; it has"
                    f" {', '.join(recorded[0])}: record it again, or search only these"
                )
        self._space = space
        self._recorded = np.array([_coordinates(values, space) for values in recorded])

    def find(self, values: Mapping[str, Value]) -> int:
        """Return the number of the configuration nearest to the values."""
        differences = self._recorded - _coordinates(values, self._space)
        return int(np.argmin((differences**2).sum(axis=1)))


def _coordinates(values: Mapping[str, Value], space: Space) -> Floats:
    """Return a point whose Euclidean distances are those of the class above, float64 [axes]."""
    return np.concatenate([_axes(values[name], domain) for name, domain in space.items()])


def _axes(value: Value, domain: Domain) -> Floats:
    if domain.choice is not None:  # an axis each, so that two choices are 1 apart
        return np.array([value == choice for choice in domain.choice]) / math.sqrt(2)
    (low, high), number = domain.bounds, as_number(value)
    if domain.log_uniform is not None:
        number, low, high = (math.log(one) for one in (number, low, high))
    return np.array([number / (high - low)])


def _check_arguments(
    space: Space, default: Mapping[str, Value], num_trainings: int, replicates: Sequence[int]
) -> None:
    if num_trainings < 1 or not replicates:
        raise InputError(
            f"SMAC3 is given {num_trainings} trainings on {len(replicates)} replicates, but needs"
            " at least one of each; raise them"
        )
    for name, domain in space.items():
        value = default[name]
        if not contains(domain, value):
            raise InputError(
                f"training.{name} is {value}, but must be within search.space.{name},"
                f" {domain.describe()}: SMAC3 starts with it; extend the space"
            )


def _facade(
    space: Space,
    default: Mapping[str, Value],
    num_trainings: int,
    num_replicates: int,
    seed: int,
    directory: Path,
) -> Any:
    """Return SMAC3's facade for configurations with noise, which starts with the default.

    On the recorded tweets it chooses better than the facade for hyperparameters, which starts with
    a Sobol sequence; on the recorded sample neither is clearly better.
    """
    from ConfigSpace import ConfigurationSpace
    from smac import AlgorithmConfigurationFacade, Scenario

    configurations = ConfigurationSpace(seed=seed)
    configurations.add([_range(name, space[name], default[name]) for name in space])
    scenario = Scenario(
        configurations,
        output_directory=directory,
        deterministic=False,
        n_trials=num_trainings,
        seed=seed,
    )
    facade = AlgorithmConfigurationFacade
    return facade(
        scenario,
        target_function=None,  # ask and tell
        model=_forest(configurations, seed),
        intensifier=facade.get_intensifier(
            scenario, max_config_calls=min(SEEDS_EACH, num_replicates)
        ),
        logging_level=False,
        overwrite=True,
    )


def _range(name: str, domain: Domain, default: Value) -> Any:
    from ConfigSpace import Categorical, Float, Integer

    if domain.choice is not None:
        return Categorical(name, list(domain.choice), default=default)
    if domain.integer is not None:
        return Integer(name, domain.integer, default=int(as_number(default)))
    log = domain.log_uniform is not None
    return Float(name, domain.bounds, log=log, default=float(as_number(default)))


def _forest(configurations: Any, seed: int) -> Any:
    """Return the facade's own random forest, with smaller trees in memory and without threads."""
    from smac.model.random_forest import RandomForest

    return RandomForest(
        configurations,
        n_trees=10,
        ratio_features=5 / 6,
        min_samples_split=3,
        min_samples_leaf=3,
        max_depth=20,
        bootstrapping=True,
        pca_components=4,
        seed=seed,
        max_leaf_nodes=_MOST_LEAVES,
        n_jobs=1,
    )


def _trials(smac: Any, most: int) -> Iterator[Any]:
    """Yield what SMAC3 asks for, until there are `most` or a space of choices is exhausted."""
    from smac.main.exceptions import ConfigurationSpaceExhaustedException

    for _ in range(most):
        try:
            trial = smac.ask()
        except (StopIteration, ConfigurationSpaceExhaustedException):
            return
        yield trial


def _report(smac: Any, trial: Any, score: float) -> None:
    from smac.runhistory import TrialValue

    smac.tell(trial, TrialValue(cost=1 - score), save=False)


@contextmanager
def _without_log() -> Iterator[None]:
    logger = logging.getLogger("smac")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
