"""The search space of a configuration: read its ranges, sample points, list the points of a grid.

A field of `training.config.TrainingConfig` becomes searchable when it is marked `SEARCHED` there.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from training.cli import nearest
from training.config import Searched, Section, TrainingConfig
from training.schedule import num_warmup_steps, schedule_of

Value = int | float
Parameters = dict[str, Value]


def _refusal(name: str) -> str:
    """Return why a field of training may not be searched, from its mark; empty: it may."""
    marks = [m for m in TrainingConfig.model_fields[name].metadata if isinstance(m, Searched)]
    assert len(marks) == 1, f"training.{name} is not marked as searchable or not"
    return marks[0].refused


_REFUSALS = {name: _refusal(name) for name in TrainingConfig.model_fields}
SEARCHABLE = tuple(name for name, refused in _REFUSALS.items() if not refused)

_NUM_CHECKED = 8
"""Random values of a range that are checked besides its bounds."""


def _is_searchable(name: str) -> str:
    if refused := _REFUSALS.get(name):
        raise ValueError(
            f"{name} is searched, but must not be, since {refused}; choose from"
            f" {', '.join(SEARCHABLE)}"
        )
    if name not in SEARCHABLE:
        raise ValueError(f"{name} is no field of training; {nearest(name, SEARCHABLE)}")
    return name


SearchedField = Annotated[str, AfterValidator(_is_searchable)]
"""Name of a training field that may be searched."""


def _number(value: object) -> object:
    """Return a finite number; text becomes an integer if it can."""
    if isinstance(value, str):
        try:
            value = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
        except ValueError:
            raise ValueError(f"{value!r} is no number, but must be one") from None
    if isinstance(value, bool) or not isinstance(value, Value) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number, but must be one")
    return value


Choice = Annotated[Value, BeforeValidator(_number)]


class Domain(Section):
    """The values of one searched field, of exactly one kind."""

    log_uniform: tuple[float, float] | None = None
    """Bounds [a, b], both above 0; sampled uniformly on the logarithm."""
    uniform: tuple[float, float] | None = None
    """Bounds [a, b]; sampled uniformly."""
    integer: tuple[int, int] | None = None
    """Bounds [a, b], both included; integers sampled uniformly."""
    choice: Annotated[tuple[Choice, ...], Field(min_length=1)] | None = None
    """The values themselves."""

    @model_validator(mode="after")
    def _is_one_kind_with_bounds(self) -> "Domain":
        kinds = [name for name in Domain.model_fields if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"the domain is {' and '.join(kinds) or 'empty'}, but must be one of log_uniform,"
                " uniform, integer and choice"
            )
        if self.choice is None:
            low, high = self.bounds
            if low >= high or (self.log_uniform and low <= 0):
                rule = "0 < a < b" if self.log_uniform else "a < b"
                raise ValueError(f"{kinds[0]} is [{low}, {high}], but must be [a, b] with {rule}")
        elif len(set(self.choice)) < len(self.choice):
            raise ValueError(f"choice is {list(self.choice)}, but must not hold a value twice")
        return self

    @property
    def bounds(self) -> tuple[Value, Value]:
        """The smallest and the largest value."""
        if self.choice is not None:
            return min(self.choice), max(self.choice)
        bounds = self.log_uniform or self.uniform or self.integer
        assert bounds is not None
        return bounds

    def sample(self, generator: np.random.Generator) -> Value:
        """Return a random value."""
        if self.choice is not None:
            return self.choice[int(generator.integers(len(self.choice)))]
        low, high = self.bounds
        if self.integer is not None:
            return int(generator.integers(int(low), int(high), endpoint=True))
        if self.log_uniform is not None:
            sampled = math.exp(generator.uniform(math.log(low), math.log(high)))
            return min(max(sampled, low), high)
        return float(generator.uniform(low, high))

    def describe(self) -> str:
        """Return the domain as text: `log_uniform [1e-05, 5e-05]`."""
        return " ".join(f"{k} {list(v)}" for k, v in self.model_dump(exclude_none=True).items())


Space = Mapping[str, Domain]


def to_plain_space(space: Space) -> dict[str, dict[str, Any]]:
    """Return each searched field with its kind and values, as in YAML and JSON."""
    return {
        name: domain.model_dump(mode="json", exclude_none=True) for name, domain in space.items()
    }


def sample(space: Space, *, seed: int, number: int) -> Parameters:
    """Return configuration `number` of a random search, a function of the arguments alone."""
    generator = np.random.default_rng([seed, number])
    return {name: domain.sample(generator) for name, domain in space.items()}


def grid_points(space: Space) -> list[Parameters]:
    """Return every combination of the choices, the last field varying fastest."""
    values = [domain.choice or () for domain in space.values()]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*values)]


def default_point(space: Space, training: TrainingConfig) -> Parameters:
    """Return the searched fields as `training` sets them: trial 0, inside the space or not."""
    return {name: getattr(training, name) for name in space}


def with_parameters(training: TrainingConfig, parameters: Mapping[str, Any]) -> TrainingConfig:
    """Return `training` with the searched fields replaced, and validated again."""
    return TrainingConfig.model_validate({**training.model_dump(), **parameters})


def extreme_points(space: Space) -> Iterator[Parameters]:
    """Yield every combination of the smallest and the largest values."""
    corners = [sorted(set(domain.bounds)) for domain in space.values()]
    for point in itertools.product(*corners):
        yield dict(zip(space, point, strict=True))


def largest_batch_size(space: Space, training: TrainingConfig) -> int:
    """Return the largest batch size that a trial may have, trial 0 included."""
    searched = space["batch_size"].bounds[1] if "batch_size" in space else training.batch_size
    return max(training.batch_size, int(searched))


def check_space(space: Space, training: TrainingConfig, algorithm: str) -> Iterator[str]:
    """Yield a line for each domain that its field would refuse or that a grid cannot search."""
    for name, domain in space.items():
        yield from _check_values(name, domain, training)
        if algorithm == "grid" and domain.choice is None:
            yield (
                f"search.space.{name} is {domain.describe()}, but must be a choice under a grid:"
                " write {choice: [...]}, or set search.algorithm to random"
            )


def _check_values(name: str, domain: Domain, training: TrainingConfig) -> Iterator[str]:
    generator = np.random.default_rng(0)
    num_random = 0 if domain.choice else _NUM_CHECKED
    random_values = [domain.sample(generator) for _ in range(num_random)]
    for value in (*(domain.choice or domain.bounds), *random_values):
        try:
            with_parameters(training, {name: value})
        except ValidationError as error:
            rule = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("Input ")
            rule = rule.partition(", but ")[2] or rule.replace("should", "must", 1)
            yield (
                f"search.space.{name} is {domain.describe()}, which can give {value!r}, but {rule};"
                " change its bounds or its kind (integer, choice)"
            )
            return


def unfinished_warmup(
    space: Space, training: TrainingConfig, num_rows: int
) -> TrainingConfig | None:
    """Return the first corner of a space whose warm-up would last until the end of training.

    Args:
        space: what is searched; empty: `training` itself is the only corner.
        training: the other fields.
        num_rows: training rows per epoch.

    Returns:
        The configuration; None if every warm-up ends in time.
    """
    for point in extreme_points(space):
        corner = with_parameters(training, point)
        schedule = schedule_of(corner, num_rows)
        if num_warmup_steps(corner, schedule) >= schedule.total_steps:
            return corner
    return None
