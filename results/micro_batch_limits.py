"""Micro-batch sizes by encoder and kind of device, as `search.json` has them.

Where one encoder is searched the record holds {device: rows}, else {model: {device: rows}}.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Limits = dict[str, dict[str, int]]
"""Most rows that pass through a model at once: {name of the model: {kind of device: rows}}."""


def read_limits(record: Mapping[str, Any], models: Iterable[str]) -> Limits:
    """Return the limits in a record; a model without any is left out.

    Args:
        record: content of `search.json`, or an empty mapping.
        models: names of the encoders that are searched.
    """
    recorded = record.get("rows_at_once", {})
    if all(isinstance(rows, int) for rows in recorded.values()):
        return {name: dict(recorded) for name in models if recorded}
    return {name: dict(recorded[name]) for name in models if name in recorded}


def limits_record(limits: Limits, *, is_searched: bool) -> dict[str, Any]:
    """Return what the record holds of the limits.

    Args:
        limits: of the search.
        is_searched: whether `model` is in the space.
    """
    if is_searched:
        return {name: dict(sizes) for name, sizes in limits.items() if sizes}
    return dict(next(iter(limits.values()), {}))
