"""The search space: what may be searched, drawing from it, and every point of a grid."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from training.cli import nearest
from training.config import Searched, Section, TrainingConfig
from training.schedule import num_warmup_steps, schedule_of

Value = int | float
Parameters = dict[str, Value]


def _refusal(name: str) -> str:
    """Why a field of training may not be searched, as it says itself; empty: it may."""
    marks = [m for m in TrainingConfig.model_fields[name].metadata if isinstance(m, Searched)]
    assert len(marks) == 1, f"training.{name} does not say whether it may be searched"
    return marks[0].refused


_REFUSALS = {name: _refusal(name) for name in TrainingConfig.model_fields}
SEARCHABLE = tuple(name for name, refused in _REFUSALS.items() if not refused)

_CHECKED_DRAWS = 8


def _is_searchable(name: str) -> str:
    if refused := _REFUSALS.get(name):
        raise ValueError(
            f"{name} is not to be searched, since {refused}; search among {', '.join(SEARCHABLE)}"
        )
    if name not in SEARCHABLE:
        raise ValueError(f"{name} is no field of training; {nearest(name, SEARCHABLE)}")
    return name


SearchedField = Annotated[str, AfterValidator(_is_searchable)]
"""Name of a training field that may be searched."""


def _number(value: object) -> object:
    """A finite number; text becomes a whole one where it can."""
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
    """The values of one searched field; exactly one kind is given."""

    log_uniform: tuple[float, float] | None = None
    """Bounds [a, b], both above 0; drawn evenly on the logarithm."""
    uniform: tuple[float, float] | None = None
    """Bounds [a, b]; drawn evenly."""
    integer: tuple[int, int] | None = None
    """Bounds [a, b], both possible; whole numbers drawn evenly."""
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
        """Least and greatest value."""
        if self.choice is not None:
            return min(self.choice), max(self.choice)
        bounds = self.log_uniform or self.uniform or self.integer
        assert bounds is not None
        return bounds

    def sample(self, generator: np.random.Generator) -> Value:
        """One value."""
        if self.choice is not None:
            return self.choice[int(generator.integers(len(self.choice)))]
        low, high = self.bounds
        if self.integer is not None:
            return int(generator.integers(int(low), int(high), endpoint=True))
        if self.log_uniform is not None:
            drawn = math.exp(generator.uniform(math.log(low), math.log(high)))
            return min(max(drawn, low), high)
        return float(generator.uniform(low, high))

    def describe(self) -> str:
        """The domain as it is written: `log_uniform [1e-05, 5e-05]`."""
        return " ".join(f"{k} {list(v)}" for k, v in self.model_dump(exclude_none=True).items())

    def distribution(self) -> BaseDistribution:
        """The same values for Optuna."""
        if self.choice is not None:
            return CategoricalDistribution(self.choice)
        if self.integer is not None:
            return IntDistribution(*self.integer)
        return FloatDistribution(*self.bounds, log=self.log_uniform is not None)


Space = Mapping[str, Domain]


def to_plain_space(space: Space) -> dict[str, dict[str, Any]]:
    """Each searched field with its one kind and values, as YAML and JSON have them."""
    return {
        name: domain.model_dump(mode="json", exclude_none=True) for name, domain in space.items()
    }


def sample(space: Space, *, seed: int, number: int) -> Parameters:
    """Configuration `number` of a random search: a function of its arguments alone."""
    generator = np.random.default_rng([seed, number])
    return {name: domain.sample(generator) for name, domain in space.items()}


def grid_points(space: Space) -> list[Parameters]:
    """Every combination of the choices, the last field varying fastest."""
    values = [domain.choice or () for domain in space.values()]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*values)]


def default_point(space: Space, training: TrainingConfig) -> Parameters:
    """The searched fields as they stand under `training`: trial 0, in the space or not."""
    return {name: getattr(training, name) for name in space}


def with_parameters(training: TrainingConfig, parameters: Mapping[str, Any]) -> TrainingConfig:
    """`training` with the searched fields replaced, checked again."""
    return TrainingConfig.model_validate({**training.model_dump(), **parameters})


def extreme_points(space: Space) -> Iterator[Parameters]:
    """Every combination of the least and the greatest values."""
    corners = [sorted(set(domain.bounds)) for domain in space.values()]
    for point in itertools.product(*corners):
        yield dict(zip(space, point, strict=True))


def check_space(space: Space, training: TrainingConfig, algorithm: str) -> Iterator[str]:
    """One line for each value that its field would refuse, and each domain without grid points."""
    for name, domain in space.items():
        yield from _check_values(name, domain, training)
        if algorithm == "grid" and domain.choice is None:
            yield (
                f"search.space.{name} is {domain.describe()}, but must be a choice under a grid:"
                " write {choice: [...]}, or set search.algorithm to random"
            )


def _check_values(name: str, domain: Domain, training: TrainingConfig) -> Iterator[str]:
    generator = np.random.default_rng(0)
    drawn = () if domain.choice else tuple(domain.sample(generator) for _ in range(_CHECKED_DRAWS))
    for value in (*(domain.choice or domain.bounds), *drawn):
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
    """The first corner of a space whose warm-up would last to the end of training, or beyond.

    Args:
        space: what is searched; empty: `training` alone is looked at.
        training: the other fields.
        num_rows: training rows a pass.
    """
    for point in extreme_points(space):
        corner = with_parameters(training, point)
        schedule = schedule_of(corner, num_rows)
        if num_warmup_steps(corner, schedule) >= schedule.total_steps:
            return corner
    return None
