"""Searched values for people: numbers, words, true and false; read from tables, and shortened.

A value is what YAML has: a number, a word (`cosine`, the name of a model), true, false or null.
"""

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from training.cli import hide_secrets, printable

MODEL = "model"
"""The parameter whose values are names of models: ids of the Hub, directories, or `tiny`."""

Value = int | float | str | bool | None
Domain = Mapping[str, Any]
"""A domain of the record's space: {kind: values}."""

_TRUTHS = {"true": True, "false": False}
_NULLS = ("", "null", "None")


def format_value(value: Value, names: Mapping[str, str] | None = None) -> str:
    """Return a searched value as text; numbers have four significant digits.

    Args:
        value: of a parameter.
        names: short names of models, as `short_model_names`; None: all are written in full.
    """
    if isinstance(value, str):
        return printable((names or {}).get(value, hide_secrets(value)))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}"


def format_parameters(values: Mapping[str, Value], names: Mapping[str, str] | None = None) -> str:
    """Return the searched values of a configuration in one line."""
    return ", ".join(f"{name} {format_value(value, names)}" for name, value in values.items())


def read_value(cell: str | None, domain: Domain) -> Value:
    """Return the value in a cell of `trials.csv`.

    A value outside the domain, as trial 0 may have one, is a number, true, false or null if it can
    be one, else a word.

    Args:
        cell: its text.
        domain: of the parameter in the record's space; empty: it is unknown.
    """
    text = (cell or "").strip()
    for choice in domain.get("choice", ()):
        if isinstance(choice, str) and choice == text:
            return choice  # a word may be made of digits
    if text in _NULLS:
        return None
    if text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    return _number(text)


def _number(text: str) -> int | float | str:
    try:
        value = float(text)
    except ValueError:
        return text
    return int(text) if text.lstrip("+-").isdecimal() else value


def is_number(value: Value) -> bool:
    """Return whether a value can be placed on a scale of numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_numeric(domain: Domain, values: Iterable[Value] = ()) -> bool:
    """Return whether a parameter has a scale: a range, or a choice of numbers alone."""
    if "choice" not in domain:
        return all(is_number(value) or value is None for value in values)
    return all(map(is_number, (*domain["choice"], *values)))


def in_order(domain: Domain, values: Iterable[Value]) -> list[Value]:
    """Return the distinct values of a choice: numbers ascending, words as the space lists them.

    Values that the choice lacks, such as that of trial 0, come last among words.
    """
    distinct: dict[tuple[type, Value], Value] = {}
    for value in (*domain.get("choice", ()), *values):
        if not (isinstance(value, float) and math.isnan(value)):
            distinct.setdefault((str if isinstance(value, str) else _kind(value), value), value)
    found = list(distinct.values())
    return sorted(found) if all(map(is_number, found)) else found  # type: ignore[type-var]


def _kind(value: Value) -> type:
    """Return the type that distinguishes true from 1, but not 1 from 1.0."""
    return bool if isinstance(value, bool) else float


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each name the shortest end of its path that no other name ends with.

    `indolem/indobertweet-base-uncased` becomes `indobertweet-base-uncased`; of `/a/one/model` and
    `/a/two/model` the directories above are kept.
    """
    whole = list(dict.fromkeys(names))
    parts = {name: [part for part in _slashed(name).split("/") if part] for name in whole}
    return {name: _short_name(name, parts) for name in whole}


def _short_name(name: str, parts: Mapping[str, list[str]]) -> str:
    own = parts[name]
    for num in range(1, len(own) + 1):
        if all(other[-num:] != own[-num:] for key, other in parts.items() if key != name):
            return "/".join(own[-num:])
    return name  # it is the end of another name, or equal to one but for its slashes


def _slashed(name: str) -> str:
    return name.replace(os.sep, "/")


def short_model_names(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the short name of each model that a search chose from; empty: it searched none.

    Args:
        record: content of `search.json`, of any version.
    """
    space = (record.get("search") or {}).get("space") or {}
    candidates = ((record.get(role) or {}).get("parameters", {}) for role in ("default", "best"))
    used = [values[MODEL] for values in candidates if isinstance(values.get(MODEL), str)]
    known = [one["name"] for one in record.get("encoders") or () if MODEL in space]
    return short_names([*space.get(MODEL, {}).get("choice", ()), *known, *used])


def name_of_model(record: Mapping[str, Any]) -> str | None:
    """Return the name of the winner's model, or of the one that was searched; None: unknown."""
    searched = (record.get("best") or {}).get("parameters", {}).get(MODEL)
    model = (record.get("environment") or {}).get("model") or {}
    found = searched or model.get("name")
    return found if isinstance(found, str) else None


def find_model(wanted: str, names: Iterable[str]) -> str | None:
    """Return the name that is `wanted` or the only one whose path ends with it; None: no such."""
    known = list(dict.fromkeys(names))
    if wanted in known:
        return wanted
    end = [part for part in _slashed(wanted).split("/") if part]
    found = [
        name
        for name in known
        if end and [part for part in _slashed(name).split("/") if part][-len(end) :] == end
    ]
    return found[0] if len(found) == 1 else None
