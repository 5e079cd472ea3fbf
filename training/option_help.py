"""What `-h` says of a field: its own documentation, the values it takes, its value in the bases."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from training.config import Section

_KINDS = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "array": "list",
    "object": "mapping",
    "null": "null",
}
# Pydantic names a bound differently where a check of our own stands before it.
_BOUNDS = {
    "ge": "at least",
    "minimum": "at least",
    "gt": "above",
    "exclusiveMinimum": "above",
    "le": "at most",
    "maximum": "at most",
    "lt": "below",
    "exclusiveMaximum": "below",
}


class FieldHelp(argparse.HelpFormatter):
    """Explanations below the options, whose names are long."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=8)


def add_fields(
    parser: argparse.ArgumentParser,
    sections: Mapping[str, type[Section]],
    bases: Mapping[str, Mapping[str, Any]],
) -> None:
    """One option `--section.field VALUE` for every field, explained by its own documentation.

    Args:
        parser: it is given a group of options a section.
        sections: models by their names.
        bases: by its name, what stands where nothing is given: values by section and field.
    """
    for section, model in sections.items():
        summary = " ".join((model.__doc__ or "").split())
        group = parser.add_argument_group(section, summary)
        schema = model.model_json_schema()
        for name, field in model.model_fields.items():
            text = " ".join((field.description or "").split())
            assert text, f"{section}.{name} is not documented"
            found = {base: values[section] for base, values in bases.items() if section in values}
            facts = [describe_values(schema["properties"][name]), *_describe_bases(found, name)]
            group.add_argument(
                f"--{section}.{name}",
                metavar="VALUE",
                help=f"{text} [{'; '.join(facts)}]".replace("%", "%%"),
            )


def describe_values(schema: Mapping[str, Any]) -> str:
    """The values that a field takes, such as `number above 0, at most 1, or null`.

    Args:
        schema: of the field, as JSON Schema or pydantic's own words for bounds have it.
    """
    if "anyOf" in schema:
        return ", or ".join(describe_values(kind) for kind in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    bounds = ", ".join(f"{_BOUNDS[key]} {schema[key]}" for key in _BOUNDS if key in schema)
    return f"{_KINDS[schema['type']]} {bounds}".strip()


def _describe_bases(bases: Mapping[str, Mapping[str, Any]], field: str) -> Iterator[str]:
    """`base 3` where the bases agree, else each base and its value."""
    told = {base: _as_yaml(values[field]) for base, values in bases.items() if field in values}
    if len(told) == len(bases) and len(set(told.values())) == 1:
        yield f"base: {next(iter(told.values()))}"
        return
    for base in bases:
        yield f"{base}: {told.get(base, 'must be given')}"


def _as_yaml(value: Any) -> str:
    """A value as it would be given."""
    if isinstance(value, float):
        return f"{value:g}"
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("...").strip()
