"""Find searched values at the edge of their range, and suggest a range to search next."""

import math
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from training.config import TrainingConfig
from tuning.space import (
    Domain,
    Parameters,
    Space,
    is_number,
    unfinished_warmup,
    with_parameters,
)

NEAR = 0.1
"""Share of a domain's width, on its own scale, that counts as its edge."""

_SHORTER_STEPS = 6


def at_edge(
    space: Space, training: TrainingConfig, parameters: Parameters, *, num_rows: int
) -> list[dict[str, Any]]:
    """Return the searched fields whose winning value is at or beyond an end of its domain.

    An end is left out if there is nothing to try beyond it: the field allows no such value, or the
    warm-up would not end. A choice is left out: it offers all that its author wanted.

    Args:
        space: what was searched.
        training: the other fields, which a next value must fit.
        parameters: of the winner.
        num_rows: training rows a pass.

    Returns:
        [{`parameter`, `value`, `bound` (`low` or `high`), `inside` (false: a default outside the
        searched range), `searched` and `try_next` (domains as they are written in a space)}], in
        the order of the space.
    """
    found = []
    for name, domain in space.items():
        value = parameters[name]
        if domain.choice is not None or not is_number(value):
            continue  # null, the default of a field whose numbers are searched
        bound = _nearest_end(domain, value)
        beyond = bound and _beyond(name, domain, bound, value, training)
        if not beyond or unfinished_warmup({**space, name: beyond}, training, num_rows):
            continue
        low, high = domain.bounds
        found.append(
            {
                "parameter": name,
                "value": value,
                "bound": bound,
                "inside": low <= value <= high,
                "searched": domain.model_dump(mode="json", exclude_none=True),
                "try_next": beyond.model_dump(mode="json", exclude_none=True),
            }
        )
    return found


def _nearest_end(domain: Domain, value: float) -> str:
    """Return `low` or `high`, or empty text for a value well inside."""
    low, _ = domain.bounds
    position = (_scaled(domain, value) - _scaled(domain, low)) / _width(domain)
    return "low" if position <= NEAR else "high" if position >= 1 - NEAR else ""


def _beyond(
    name: str, domain: Domain, bound: str, value: float, training: TrainingConfig
) -> Domain | None:
    """Return a domain that extends past the end and the value; None if the field allows none.

    A range keeps its width and is centred on the end or the value, whichever is further out; if the
    field's own limit is nearer, it extends past that point by less than half of its width.
    """
    furthest = min if bound == "low" else max
    past = furthest(*domain.bounds, value)
    for halvings in range(1, _SHORTER_STEPS):
        moved = _moved(domain, bound, past, 0.5**halvings)
        if moved is None or not _is_allowed(name, (*domain.bounds, value), moved, training):
            continue
        if furthest(*moved.bounds, past) != past:
            return moved
    return None


def _moved(domain: Domain, bound: str, past: float, share: float) -> Domain | None:
    """Return the domain moved so that it extends past a value by a share of its width."""
    width, sign = _width(domain), -1 if bound == "low" else 1
    outer = _scaled(domain, past) + sign * share * width
    if math.isinf(outer):
        return None  # no logarithm reaches 0
    first, last = sorted(_unscaled(domain, end) for end in (outer, outer - sign * width))
    if domain.integer is not None:
        whole = (round(first), round(last))
        return Domain(integer=whole) if whole[0] < whole[1] else None
    ends = (_rounded(first), _rounded(last))
    if ends[0] >= ends[1]:
        return None
    return Domain(log_uniform=ends) if domain.log_uniform else Domain(uniform=ends)


def _is_allowed(
    name: str, known: Iterable[float], domain: Domain, training: TrainingConfig
) -> bool:
    """Return whether the field takes every value, and all have the unit of the known ones."""
    values = domain.bounds
    if name == "warmup_steps" and len({value < 1 for value in (*known, *values)}) > 1:
        return False  # below 1 it is a share, from 1 on a number of steps
    try:
        for value in values:
            with_parameters(training, {name: value})
    except ValidationError:
        return False
    return True


def _scaled(domain: Domain, value: float) -> float:
    if domain.log_uniform is None:
        return float(value)
    return math.log(value) if value > 0 else -math.inf  # a default need not lie in the space


def _unscaled(domain: Domain, value: float) -> float:
    return math.exp(value) if domain.log_uniform else value


def _width(domain: Domain) -> float:
    low, high = domain.bounds
    return _scaled(domain, high) - _scaled(domain, low)


def _rounded(value: float) -> float:
    """Round to two significant digits, as a person would write it."""
    return float(f"{value:.2g}")
