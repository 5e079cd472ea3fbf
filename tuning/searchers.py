"""Suggest the configuration of each trial: at random, from a grid, or by TPE (`tuning.tpe`)."""

from collections.abc import Sequence
from typing import Protocol

from tuning.config import Configuration
from tuning.space import Parameters, grid_points, sample
from tuning.trials import Trial


class Searcher(Protocol):
    """Suggests the configuration of each trial but trial 0, and is notified of results."""

    @property
    def first_points(self) -> Sequence[Parameters]:
        """What it suggests first: configurations of earlier runs (`tuning.warm_start`)."""
        ...

    def suggest(self, trial_id: str, number: int) -> Parameters:
        """Return the parameters of trial `number` (1, 2, ...)."""
        ...

    def evaluated(self, trial: Trial) -> None:
        """Learn from the last evaluation of a running trial."""
        ...

    def ended(self, trial: Trial) -> None:
        """Learn from the end of a trial."""
        ...

    def recall(self, trials: Sequence[Trial]) -> None:
        """Learn from trials that ended in an earlier start of the same search."""
        ...


class FixedSearcher:
    """Suggests random configurations or the points of a grid, whatever the results are."""

    def __init__(
        self, configuration: Configuration, first_points: Sequence[Parameters] = ()
    ) -> None:
        """Take the space and the seed; the grid leaves out trial 0's and the first points."""
        self._search, self.first_points = configuration.search, first_points
        known = [configuration.default_point, *first_points]
        points = grid_points(configuration.search.space)
        self._points = [*first_points, *(point for point in points if point not in known)]

    def suggest(self, trial_id: str, number: int) -> Parameters:
        """Return the parameters of trial `number`: after the first, of seed and number alone."""
        if self._search.algorithm == "grid" or number <= len(self.first_points):
            return self._points[number - 1]
        return sample(self._search.space, seed=self._search.seed, number=number)

    def evaluated(self, trial: Trial) -> None:
        """Do nothing: suggestions do not depend on results."""

    def ended(self, trial: Trial) -> None:
        """Do nothing: suggestions do not depend on results."""

    def recall(self, trials: Sequence[Trial]) -> None:
        """Do nothing: suggestions do not depend on results."""


def make_searcher(
    configuration: Configuration, first_points: Sequence[Parameters] = ()
) -> Searcher:
    """Make the searcher of `search.algorithm`, which suggests the first points before others."""
    if configuration.search.algorithm == "tpe":
        from tuning.tpe import TpeSearcher  # which loads pandas and Ray

        return TpeSearcher(configuration.search, first_points)
    return FixedSearcher(configuration, first_points)


def num_requested(configuration: Configuration) -> int:
    """Return the number of trials, trial 0 included: every point of a grid, else `trials`."""
    search = configuration.search
    if search.algorithm != "grid":
        return search.trials
    points = grid_points(search.space)
    return len(points) + (configuration.default_point not in points)
