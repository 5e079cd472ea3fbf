"""Start a search from earlier runs: their best configurations, in the space of the new search.

They are tried as ordinary trials right after trial 0, judged at the rungs like all others, so that
a misleading run costs at most their rungs. The idea is that of Feurer, Springenberg and Hutter,
Initializing Bayesian Hyperparameter Optimization via Meta-Learning (2015); no score is taken over.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from results.errors import RunError
from results.files import write_json
from results.run import Run
from training.data import PreparedData
from training.errors import InputError
from training.schedule import schedule_of
from training.split_texts import SplitTexts, read_split_texts
from tuning.config import Configuration
from tuning.searchers import num_requested
from tuning.space import (
    MODEL,
    Domain,
    Parameters,
    Value,
    absolute_model,
    contains,
    grid_points,
    is_number,
    to_text,
    unfinished_warmup,
    with_parameters,
)
from tuning.trials import TrialStore

logger = logging.getLogger(__name__)

MOST_OF_A_RUN = 3
"""Configurations that are taken from each run."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A configuration of an earlier run."""

    parameters: Parameters
    score: float | None
    """By the metric of the new search: confirmed mean where there is one, else in the search."""


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """A run that a search starts from."""

    run: Run
    configuration: Configuration
    labels: tuple[str, ...]
    num_rows: int
    """Training rows per epoch."""
    ranked: Sequence[Scored]
    """Distinct configurations, best first: the winner, those that were confirmed, the others."""
    texts: SplitTexts
    """The texts on each side of its split, and of the runs that it started from."""
    accesses: Sequence[dict[str, Any]]
    """Evaluations on its test set, as `test_openings.json` lists them, also by those runs."""

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.run.directory.name


class _RefusedError(Exception):
    """A configuration has no counterpart in the new space; its text is the reason."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """What a search takes from earlier runs."""

    entries: Sequence[Mapping[str, Any]] = ()
    """`warm_start` of the record: [{`run` (its directory), `trial_id` (of the trial here),
    `parameters`, `score_there`, `notes`}], in the order in which they are tried."""
    held_out: SplitTexts | None = None
    """Texts of the earlier runs; None: there is none."""
    accesses: Sequence[Mapping[str, Any]] = ()
    """Evaluations of earlier runs on test rows of this one, for `test_openings.json`."""

    @property
    def points(self) -> list[Parameters]:
        """The configurations, in the order in which they are tried."""
        return [dict(entry["parameters"]) for entry in self.entries]


def start_from(
    runs: Sequence[EarlierRun],
    configuration: Configuration,
    data: PreparedData,
    held_out: SplitTexts | None,
) -> WarmStart:
    """Return what a search takes from earlier runs; log each configuration in a line.

    Args:
        runs: the earlier runs.
        configuration: of the search, with the labels that were recognised.
        data: its data.
        held_out: texts of the runs, with which the data were split.

    Raises:
        InputError: the labels of a run are others.
    """
    different = [run for run in runs if set(run.labels) != set(configuration.data.label_names)]
    if different:
        raise InputError(*(_other_labels(run, configuration) for run in different))
    if held_out is not None:
        logger.info(
            "warm start: %s test rows and %s others have texts that earlier runs had there",
            f"{data.split_texts.num_tests_shared(held_out):,}",
            f"{data.split_texts.num_searched_shared(held_out):,}",
        )
    return WarmStart(
        entries=_chosen(runs, configuration, len(data.train.labels)),
        held_out=held_out,
        accesses=list(_shared_accesses(runs, data)),
    )


def write_warm_start(run: Run, warm_start: WarmStart) -> None:
    """Write what a resume needs, since the earlier runs may be gone by then."""
    if warm_start.held_out is None:
        return
    write_json(run.warm_start, {"configurations": list(warm_start.entries)})
    if warm_start.accesses:
        write_json(run.test_openings, list(warm_start.accesses))


def read_warm_start(run: Run, configuration: Configuration) -> WarmStart:
    """Return what a run to resume took from earlier runs, from its own files.

    Raises:
        RunError: a file is missing or damaged.
        InputError: the file of the texts is damaged.
    """
    if not configuration.search.warm_start:
        return WarmStart()
    held_out = read_split_texts(run.split_texts)
    try:
        entries = json.loads(run.warm_start.read_text("utf-8"))["configurations"]
        points = [dict(entry["parameters"]) for entry in entries]
        for point in points:
            with_parameters(configuration.training, point)
        is_whole = all(set(point) == set(configuration.search.space) for point in points)
    except (OSError, ValueError, KeyError, TypeError):
        is_whole = False
    if held_out is None or not is_whole:
        raise RunError(
            f"run {run.directory}: {run.warm_start.name} or {run.split_texts.name} is missing or"
            " damaged, but a search with search.warm_start continues by them; restore them, or"
            " start a new run"
        )
    return WarmStart(entries=entries, held_out=held_out)


def with_trials(entries: Sequence[Mapping[str, Any]], store: TrialStore) -> list[dict[str, Any]]:
    """Return the entries with the ids of the trials that have started: trials 1, 2, ..."""
    started = {trial.number: trial.trial_id for trial in store.searched}
    return [
        {**entry, "trial_id": started.get(number)} for number, entry in enumerate(entries, start=1)
    ]


def _other_labels(run: EarlierRun, configuration: Configuration) -> str:
    theirs, ours = sorted(run.labels), sorted(configuration.data.label_names)
    return (
        f"search.warm_start: run {run.run.directory} has the labels {theirs}, but this search has"
        f" {ours}; leave the run out, or search on data with the same labels"
    )


def _shared_accesses(runs: Sequence[EarlierRun], data: PreparedData) -> Iterator[dict[str, Any]]:
    """Yield the evaluations of earlier runs, if they share test rows with the data."""
    seen = set()
    for run in runs:
        rows = data.split_texts.num_tests_shared(run.texts)
        for access in run.accesses if rows else ():
            one = {**access, "run": access.get("run") or run.name, "rows": rows}
            if (key := (one["run"], one["at"])) not in seen:
                seen.add(key)
                yield one


def _chosen(
    runs: Sequence[EarlierRun], configuration: Configuration, num_rows: int
) -> list[dict[str, Any]]:
    """Choose up to 3 configurations of each run, the best of each run first."""
    most = num_requested(configuration) - 1
    known = [configuration.default_point]
    columns = [list(_of_run(run, configuration, num_rows, known)) for run in runs]
    for run in (run for run, column in zip(runs, columns, strict=True) if not column):
        logger.warning("warm start: run %s has no other configuration to try", run.name)
    by_rank = [
        column[rank] for rank in range(MOST_OF_A_RUN) for column in columns if rank < len(column)
    ]
    for entry in by_rank[most:]:
        logger.warning(
            "warm start: %s is left out: search.trials allows %d", _describe(entry), most
        )
    for entry in by_rank[:most]:
        notes = "; ".join(entry["notes"])
        logger.info("warm start: %s%s", _describe(entry), f" ({notes})" if notes else "")
    return by_rank[:most]


def _describe(entry: Mapping[str, Any]) -> str:
    point = ", ".join(f"{name} {to_text(value)}" for name, value in entry["parameters"].items())
    return f"run {entry['run']}: {point}"


def _of_run(
    run: EarlierRun, configuration: Configuration, num_rows: int, known: list[Parameters]
) -> Iterator[dict[str, Any]]:
    """Yield the best configurations of a run that are not known yet; those become known."""
    num = 0
    for scored in run.ranked:
        if num == MOST_OF_A_RUN:
            return
        mapping = _Mapping(run=run, scored=scored, configuration=configuration, num_rows=num_rows)
        try:
            parameters = mapping.parameters()
        except _RefusedError as reason:
            logger.warning(
                "warm start: a configuration of run %s is left out: %s", run.name, reason
            )
            continue
        if parameters not in known:
            num += 1
            known.append(parameters)
            yield {
                "run": str(run.run.directory),
                "trial_id": None,
                "parameters": parameters,
                "score_there": scored.score,
                "notes": mapping.notes,
            }


class _Mapping:
    """Finds the counterpart of a configuration in the new space, and notes what is changed."""

    def __init__(
        self, *, run: EarlierRun, scored: Scored, configuration: Configuration, num_rows: int
    ) -> None:
        self._run, self._there = run, scored.parameters
        self._configuration, self._num_rows = configuration, num_rows
        self._training_there = with_parameters(run.configuration.training, scored.parameters)
        self.notes: list[str] = []

    def parameters(self) -> Parameters:
        """Return the counterpart.

        Raises:
            _RefusedError: there is none.
        """
        space = self._configuration.search.space
        for name, value in self._there.items():
            if name not in space:
                self.notes.append(f"{name} {to_text(value)} is not searched here")
        found: Parameters = {}
        # The number of steps, by which a warm-up is converted, depends on the batch size.
        for name in sorted(space, key=lambda name: name == "warmup_steps"):
            found[name] = self._value(name, space[name], found)
        point = {name: found[name] for name in space}
        self._check(point)
        return point

    def _value(self, name: str, domain: Domain, found: Parameters) -> Value:
        value = self._value_there(name)
        if name == "warmup_steps" and is_number(value):
            value = self._in_unit(value, domain, found)
        if name == MODEL and not contains(domain, value):
            value = absolute_model(str(value))
        if _is_member(domain, value):
            return _typed(domain, value)
        if name not in self._there:
            default = self._configuration.default_point[name]
            self._note(name, value, default, "trial 0's, since it was not searched there")
            return default
        if (nearest := _nearest(domain, value)) is None:
            raise _RefusedError(f"{name} {to_text(value)} is none of {domain.describe()}")
        self._note(name, value, nearest, "the nearest value here")
        return nearest

    def _value_there(self, name: str) -> Value:
        if name == MODEL:
            return self._run.configuration.model_of(self._there).name
        value: Value = self._there.get(name, getattr(self._training_there, name))
        return value

    def _in_unit(self, value: float, domain: Domain, found: Parameters) -> float:
        """Return a warm-up as a share if the domain has shares, as steps if it has steps."""
        if not domain.is_numeric or _is_member(domain, value) or value == 0:
            return value
        high = domain.bounds[1]
        if value >= 1 > high:
            steps = schedule_of(self._training_there, self._run.num_rows).total_steps
            converted = round(value / steps, 6)
            self._note("warmup_steps", value, converted, f"of {steps:,} steps there")
            return converted
        if value < 1 <= high:
            here = with_parameters(self._configuration.training, found)
            steps = schedule_of(here, self._num_rows).total_steps
            converted = max(1, round(value * steps))
            self._note("warmup_steps", value, converted, f"of {steps:,} steps here")
            return converted
        return value

    def _note(self, name: str, before: Value, after: Value, why: str) -> None:
        self.notes.append(f"{name} {to_text(before)} -> {to_text(after)}: {why}")

    def _check(self, point: Parameters) -> None:
        configuration = self._configuration
        try:
            training = with_parameters(configuration.training, point)
        except ValidationError as error:
            raise _RefusedError(f"{error.errors()[0]['msg']}") from error
        if unfinished_warmup({}, training, self._num_rows) is not None:
            raise _RefusedError(
                f"its warm-up of {training.warmup_steps:g} would not end before the training does"
            )
        is_grid = configuration.search.algorithm == "grid"
        if is_grid and point not in grid_points(configuration.search.space):
            raise _RefusedError("it is no point of the grid")


def _is_member(domain: Domain, value: Value) -> bool:
    is_whole = is_number(value) and float(value).is_integer()
    return contains(domain, value) and (is_whole or domain.integer is None)


def _typed(domain: Domain, value: Value) -> Value:
    """Return a value of a domain as the domain itself gives it."""
    if domain.choice is not None:
        return next(one for one in domain.choice if one == value)
    assert is_number(value)
    return int(value) if domain.integer is not None else float(value)


def _nearest(domain: Domain, value: Value) -> Value:
    """Return the number of a domain that is nearest to another number; None: there is none."""
    if not is_number(value):
        return None
    if domain.choice is None:
        low, high = domain.bounds
        clipped = min(max(value, low), high)
        return round(clipped) if domain.integer is not None else float(clipped)
    numbers = [one for one in domain.choice if is_number(one)]
    return min(numbers, key=lambda one: _distance(one, value), default=None)


def _distance(one: float, other: float) -> float:
    """Return the distance of two numbers, of positive ones that of their logarithms."""
    if one > 0 and other > 0:
        return abs(math.log(one / other))
    return abs(one - other)
