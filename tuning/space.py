"""The search space of a configuration: read its ranges, sample points, list the points of a grid.

A field of `training.config.TrainingConfig` becomes searchable when it is marked `SEARCHED` there,
and takes values of its own type: numbers, words, true and false, null. `MODEL` is the one name of a
space that is no field of training: its values are those of `model.name`.
"""

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, get_args, get_origin

import numpy as np
from pydantic import AfterValidator, PlainValidator, ValidationError, model_validator

from training.cli import nearest
from training.config import TINY, Searched, Section, TrainingConfig
from training.schedule import num_warmup_steps, schedule_of

MODEL = "model"
"""Name in a space, and in a trial's parameters, of the encoder."""

Value = int | float | str | bool | None
"""None: only for fields that may be null."""
Parameters = dict[str, Value]

_BOOLEANS = {"true": True, "false": False}


def _refusal(name: str) -> str:
    """Return why a field of training may not be searched, from its mark; empty: it may."""
    marks = [m for m in TrainingConfig.model_fields[name].metadata if isinstance(m, Searched)]
    assert len(marks) == 1, f"training.{name} is not marked as searchable or not"
    return marks[0].refused


_REFUSALS = {name: _refusal(name) for name in TrainingConfig.model_fields}
SEARCHABLE = (MODEL, *(name for name, refused in _REFUSALS.items() if not refused))
"""Names that a space may have."""


def check_name(name: str) -> str:
    """Return a name of a space.

    Raises:
        ValueError: it is no field of training, or one that must not be searched.
    """
    if refused := _REFUSALS.get(name):
        raise ValueError(
            f"{name} is searched, but must not be, since {refused}; choose from"
            f" {', '.join(SEARCHABLE)}"
        )
    if name not in SEARCHABLE:
        raise ValueError(f"{name} is no field of training; {nearest(name, SEARCHABLE)}")
    return name


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(value: Value) -> int | float:
    """Return a value of a numeric field that is not null."""
    assert is_number(value), value
    return value


def describe_words(name: str) -> str:
    """Return what the values of a field are if they are no numbers; empty: they are numbers."""
    if name == MODEL:
        return "names of encoders"
    leaves = _leaves(name)
    if bool in leaves:
        return "true and false"
    return "" if {int, float} & set(leaves) else ", ".join(map(str, leaves))


def converted(name: str, value: Value) -> Value:
    """Return a value of a choice as the type of its field has it.

    Text that is a number becomes one: an integer if it can. A directory of an encoder becomes an
    absolute path, so that the run repeats from any directory and in any worker.

    Args:
        name: a field of training, or `model`.
        value: as given in YAML, where all but null is text, or from Python.

    Raises:
        ValueError: the field has no such value.
    """
    if name == MODEL:
        return absolute_model(_model_name(value))
    leaves = _leaves(name)
    if value is None and type(None) in leaves:
        return None
    if bool in leaves:
        return _boolean(value)
    return _number(value) if {int, float} & set(leaves) else _word(value, leaves)


def to_text(value: Value) -> str:
    """Return a value as it is written in YAML."""
    named: dict[Value, str] = {None: "null", True: "true", False: "false"}
    return str(value) if is_number(value) else named.get(value, str(value))


def read_value(name: str, text: str) -> Value:
    """Return the value that a cell of `trials.csv` holds; null is an empty cell.

    Raises:
        ValueError: the field has no such value.
    """
    leaves = (str,) if name == MODEL else _leaves(name)
    if not text and type(None) in leaves:
        return None
    if bool in leaves:
        return _boolean(text)
    # Names stay as they were written: the directory of an encoder may be gone by now.
    return _number(text) if {int, float} & set(leaves) else text


def absolute_model(name: str) -> str:
    """Return the name of a model; a directory as an absolute path."""
    # Not Path.expanduser, which raises for an unknown user; this leaves the text as it is.
    path = Path(os.path.expanduser(name))  # noqa: PTH111
    return str(path.absolute()) if name != TINY and path.is_dir() else name


def _leaves(name: str) -> tuple[Any, ...]:
    """Return the types that a field takes, and the words of those that are words."""
    return tuple(_flattened(TrainingConfig.model_fields[name].annotation))


def _flattened(kind: Any) -> list[Any]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    inner = get_args(kind)
    if hasattr(kind, "__metadata__"):  # Annotated: its other arguments are rules
        inner = inner[:1]
    return [leaf for one in inner for leaf in _flattened(one)] if inner else [kind]


def _number(value: Value) -> int | float:
    """Return a finite number; text becomes an integer if it can."""
    if isinstance(value, str):
        try:
            value = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
        except ValueError:
            raise ValueError(f"{value!r} is no number, but must be one") from None
    if not is_number(value) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number, but must be one")
    return value


def _boolean(value: Value) -> bool:
    known = _BOOLEANS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(known, bool):
        raise ValueError(f"{value!r} is neither true nor false, but must be one of them")
    return known


def _word(value: Value, words: tuple[Any, ...]) -> str:
    if not isinstance(value, str) or value not in words:
        named = "null" if value is None else repr(value)
        raise ValueError(
            f"{named} is none of {', '.join(words)}, but must be one;"
            f" {nearest(str(value), words, otherwise='correct it')}"
        )
    return value


def _model_name(value: Value) -> str:
    # A name is a cell of `trials.csv`, whose rows are lines.
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(
            f"{value!r} is no name of an encoder, but must be a hub id, a directory or {TINY}"
        )
    return value


_OF_TURNS = 19
"""Keeps the order of encoders independent of the other sampled values."""
_NUM_CHECKED = 8
"""Random values of a range that are checked besides its bounds."""

SearchedField = Annotated[str, AfterValidator(check_name)]
"""Name of a training field that may be searched, or `model`."""


def _scalar(value: object) -> Value:
    """Return a value of a choice as it is given; the type of its field converts it later."""
    if value is not None and not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is a list or mapping, but must be one value")
    return value


class Domain(Section):
    """The values of one searched field, of exactly one kind."""

    log_uniform: tuple[float, float] | None = None
    """Bounds [a, b], both above 0; sampled uniformly on the logarithm."""
    uniform: tuple[float, float] | None = None
    """Bounds [a, b]; sampled uniformly."""
    integer: tuple[int, int] | None = None
    """Bounds [a, b], both included; integers sampled uniformly."""
    choice: tuple[Annotated[Value, PlainValidator(_scalar)], ...] | None = None
    """The values themselves: numbers, words, true and false."""

    @model_validator(mode="after")
    def _is_one_kind_with_bounds(self) -> "Domain":
        kinds = [name for name in Domain.model_fields if getattr(self, name) is not None]
        if len(kinds) != 1:
            raise ValueError(
                f"the domain is {' and '.join(kinds) or 'empty'}, but must be one of log_uniform,"
                " uniform, integer and choice"
            )
        if self.choice == ():
            raise ValueError("choice is [], but must hold at least one value")
        if self.choice is None:
            low, high = self.bounds
            if low >= high or (self.log_uniform and low <= 0):
                rule = "0 < a < b" if self.log_uniform else "a < b"
                raise ValueError(f"{kinds[0]} is [{low}, {high}], but must be [a, b] with {rule}")
        return self

    @property
    def is_numeric(self) -> bool:
        """Whether all values are numbers, which have an order."""
        return self.choice is None or _are_numbers(self.choice)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value; those of a numeric domain alone."""
        if self.choice is not None:
            assert _are_numbers(self.choice), self.choice
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
        (kind, values), *_ = self.model_dump(exclude_none=True).items()
        return f"{kind} [{', '.join(map(to_text, values))}]"


def _are_numbers(values: tuple[Value, ...]) -> TypeGuard[tuple[int | float, ...]]:
    return all(map(is_number, values))


Space = Mapping[str, Domain]


def typed_space(space: dict[str, Domain]) -> dict[str, Domain]:
    """Return the space with each choice converted by the type of its field.

    A value that cannot be converted stays as it is, and `check_space` yields its problem.
    """
    return {name: _typed(name, domain) for name, domain in space.items()}


def _typed(name: str, domain: Domain) -> Domain:
    if domain.choice is None:
        return domain
    values = []
    for value in domain.choice:
        try:
            values.append(converted(name, value))
        except ValueError:
            values.append(value)
    return Domain(choice=tuple(values))


def contains(domain: Domain, value: Value) -> bool:
    """Return whether a value lies in a domain."""
    if domain.choice is not None:
        return value in domain.choice
    low, high = domain.bounds
    return is_number(value) and low <= value <= high


def to_plain_space(space: Space) -> dict[str, dict[str, Any]]:
    """Return each searched field with its kind and values, as in YAML and JSON."""
    return {
        name: domain.model_dump(mode="json", exclude_none=True) for name, domain in space.items()
    }


def sample(space: Space, *, seed: int, number: int) -> Parameters:
    """Return configuration `number` (1, 2, ...) of a random search, a function of the arguments.

    Encoders take turns in random order, so that none is judged by fewer trials than the others.
    """
    generator = np.random.default_rng([seed, number])
    sampled = {name: domain.sample(generator) for name, domain in space.items()}
    if (encoders := space.get(MODEL)) is not None and encoders.choice:
        turn, position = divmod(number - 1, len(encoders.choice))
        order = np.random.default_rng([seed, turn, _OF_TURNS]).permutation(len(encoders.choice))
        sampled[MODEL] = encoders.choice[order[position]]
    return sampled


def grid_points(space: Space) -> list[Parameters]:
    """Return every combination of the choices, the last field varying fastest."""
    values = [domain.choice or () for domain in space.values()]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*values)]


def with_parameters(training: TrainingConfig, parameters: Mapping[str, Any]) -> TrainingConfig:
    """Return `training` with the searched fields replaced, and validated again.

    The parameter `model` is no field of training, and is left out.
    """
    fields = {name: value for name, value in parameters.items() if name != MODEL}
    return TrainingConfig.model_validate({**training.model_dump(), **fields})


def name_of_model(parameters: Parameters) -> str | None:
    """Return the name of the encoder among parameters; None: it is not searched."""
    return None if MODEL not in parameters else str(parameters[MODEL])


def extreme_points(space: Space) -> Iterator[Parameters]:
    """Yield every combination of the smallest and the largest values of the numeric domains."""
    numeric = {name: domain for name, domain in space.items() if domain.is_numeric}
    corners = [sorted(set(domain.bounds)) for domain in numeric.values()]
    for point in itertools.product(*corners):
        yield dict(zip(numeric, point, strict=True))


def largest_batch_size(space: Space, training: TrainingConfig) -> int:
    """Return the largest batch size that a trial may have, trial 0 included."""
    searched = space["batch_size"].bounds[1] if "batch_size" in space else training.batch_size
    return max(training.batch_size, int(searched))


def check_space(space: Space, training: TrainingConfig, algorithm: str) -> Iterator[str]:
    """Yield a line for each domain that its field would refuse or that a grid cannot search."""
    for name, domain in space.items():
        if domain.choice is not None:
            yield from _check_choice(name, domain.choice, training)
        elif words := describe_words(name):
            yield (
                f"search.space.{name} is {domain.describe()}, but must be a choice of {words}:"
                " write {choice: [...]}"
            )
        else:
            yield from _check_range(name, domain, training)
            if algorithm == "grid":
                yield (
                    f"search.space.{name} is {domain.describe()}, but must be a choice under a"
                    " grid: write {choice: [...]}, or set search.algorithm to random"
                )


def _check_choice(name: str, choice: tuple[Value, ...], training: TrainingConfig) -> Iterator[str]:
    seen: list[Value] = []
    for value in choice:
        try:
            known = converted(name, value)
        except ValueError as error:
            yield f"search.space.{name}.choice: {error}"
            continue
        if known in seen:
            yield (
                f"search.space.{name}.choice is {list(choice)}, but must not hold a value twice:"
                f" leave out one {known!r}"
            )
            return
        seen.append(known)
        if rule := _rule_against(name, known, training):
            yield f"search.space.{name}.choice has {known!r}, but {rule}; leave it out"


def _check_range(name: str, domain: Domain, training: TrainingConfig) -> Iterator[str]:
    generator = np.random.default_rng(0)
    random_values = (domain.sample(generator) for _ in range(_NUM_CHECKED))
    for value in (*domain.bounds, *random_values):
        if rule := _rule_against(name, value, training):
            yield (
                f"search.space.{name} is {domain.describe()}, which can give {value!r}, but {rule};"
                " change its bounds or its kind (integer, choice)"
            )
            return


def _rule_against(name: str, value: Value, training: TrainingConfig) -> str:
    """Return the rule by which training refuses a value; empty: it takes it."""
    try:
        with_parameters(training, {name: value})
    except ValidationError as error:
        rule = error.errors()[0]["msg"].removeprefix("Value error, ").removeprefix("Input ")
        return rule.partition(", but ")[2] or rule.replace("should", "must", 1)
    return ""


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
