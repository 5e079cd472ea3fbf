"""Whether a winner sits at the edge of what was searched, and where to look next."""

import math
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from training.config import TrainingConfig
from tuning.space import Domain, Parameters, Space, Value, with_parameters

NEAR = 0.1
"""Part of a domain's width, on its own scale, that counts as its edge."""

_SHORTER_STEPS = 6


def at_edge(space: Space, training: TrainingConfig, parameters: Parameters) -> list[dict[str, Any]]:
    """The searched fields whose winning value is at or beyond an end of its domain.

    An end that is also the end of what the field allows is none: there is nothing to try beyond.

    Args:
        space: what was searched.
        training: the other fields, which a next value must fit.
        parameters: of the winner.

    Returns:
        [{`parameter`, `value`, `bound` (`low` or `high`), `searched` and `try_next` (domains as
        they are written in a space)}], in the order of the space.
    """
    return list(_edges(space, training, parameters))


def _edges(
    space: Space, training: TrainingConfig, parameters: Parameters
) -> Iterator[dict[str, Any]]:
    for name, domain in space.items():
        bound = _nearest_end(domain, parameters[name])
        beyond = bound and _beyond(name, domain, bound, training)
        if beyond:
            yield {
                "parameter": name,
                "value": parameters[name],
                "bound": bound,
                "searched": domain.model_dump(mode="json", exclude_none=True),
                "try_next": beyond.model_dump(mode="json", exclude_none=True),
            }


def _nearest_end(domain: Domain, value: Value) -> str:
    """`low`, `high`, or empty for a value well inside."""
    low, high = domain.bounds
    if domain.choice is not None:
        if low == high:
            return ""
        return "low" if value <= low else "high" if value >= high else ""
    place = (_scaled(domain, value) - _scaled(domain, low)) / _width(domain)
    return "low" if place <= NEAR else "high" if place >= 1 - NEAR else ""


def _beyond(name: str, domain: Domain, bound: str, training: TrainingConfig) -> Domain | None:
    """A domain that reaches past the end; None where the field allows nothing there.

    Ranges are moved by half of their width, or less where the field ends before; a choice gains
    the value that goes on from its last two.
    """
    for halvings in range(1, _SHORTER_STEPS):
        moved = _moved(domain, bound, 0.5**halvings)
        if moved is None or not _is_allowed(name, moved, training):
            continue
        (low, high), (new_low, new_high) = domain.bounds, moved.bounds
        if new_low < low if bound == "low" else new_high > high:
            return moved
    return None


def _moved(domain: Domain, bound: str, share: float) -> Domain | None:
    low, high = domain.bounds
    if domain.choice is not None:
        new = _next_value(sorted(domain.choice, reverse=bound == "low"))
        return None if new is None else Domain(choice=tuple(sorted((*domain.choice, new))))
    by = share * _width(domain) * (-1 if bound == "low" else 1)
    first, last = (_unscaled(domain, _scaled(domain, end) + by) for end in (low, high))
    if domain.integer is not None:
        whole = (round(first), round(last))
        return Domain(integer=whole) if whole[0] < whole[1] else None
    ends = (_rounded(first), _rounded(last))
    if ends[0] >= ends[1]:
        return None
    return Domain(log_uniform=ends) if domain.log_uniform else Domain(uniform=ends)


def _next_value(rising: list[Value]) -> Value | None:
    """What follows the last value, by the ratio of the last two, or by their difference."""
    before, last = rising[-2:]
    new = last * last / before if before > 0 and last > 0 else 2 * last - before
    new = round(new) if all(isinstance(value, int) for value in rising) else _rounded(new)
    return None if new in rising else new


def _is_allowed(name: str, domain: Domain, training: TrainingConfig) -> bool:
    try:
        for value in domain.choice or domain.bounds:
            with_parameters(training, {name: value})
    except ValidationError:
        return False
    return True


def _scaled(domain: Domain, value: Value) -> float:
    if domain.log_uniform is None:
        return float(value)
    return math.log(value) if value > 0 else -math.inf  # a default need not lie in the space


def _unscaled(domain: Domain, value: float) -> float:
    return math.exp(value) if domain.log_uniform else value


def _width(domain: Domain) -> float:
    low, high = domain.bounds
    return _scaled(domain, high) - _scaled(domain, low)


def _rounded(value: float) -> float:
    """Two digits that count, as a person would write it."""
    return float(f"{value:.2g}")
