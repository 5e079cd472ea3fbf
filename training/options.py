"""Read, merge, validate and write configurations: YAML files and `--section.field` options.

A value is text until its field's type converts it, in files and options alike.
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from training.cli import nearest, shorten
from training.config import Section
from training.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
Values = dict[str, Any]

_MOST_COLLECTIONS = 10_000


class _TextLoader(yaml.SafeLoader):
    """Loads YAML scalars as text or null; the type of the field converts them later.

    YAML's own rules would make `2e-5` text and `[No, Yes]` booleans.
    """


_NULL = "tag:yaml.org,2002:null"
# Set outside the class: the type stubs declare these as attributes of instances.
_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag == _NULL]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# Without the other tags `!!int abc` is a YAML error with its line, not a Python error.
_TextLoader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "str", "seq", "map")
}


class _TextDumper(yaml.SafeDumper):
    """Writes Unicode line breaks as escapes, since they are not read back otherwise."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if any(character in data for character in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_TextDumper.add_representer(str, _TextDumper.represent_str)


def parse_yaml(text: str, *, where: str) -> Any:
    """Parse YAML; every scalar is text or None.

    Raises:
        InputError: it does not parse, or repeats a key; the message names the line.
    """
    try:
        loader = _TextLoader(text)
        node = loader.get_single_node()
        refuse_repeated_keys(node, where)
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        position = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:200]
        raise InputError(
            f"{where}{position}: not YAML ({reason}); check indentation, colons and quotes there"
        ) from error
    except RecursionError as error:
        raise InputError(f"{where}: nested too deeply; write section: {{field: value}}") from error


def read_yaml(path: Path) -> Values:
    """Read a YAML file of sections.

    Raises:
        InputError: the file is missing, unreadable, not YAML or not a mapping of sections.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"configuration {path}: cannot be read ({reason}); check the path"
        ) from error
    values = parse_yaml(text, where=f"configuration {path}")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(
            f"configuration {path}: is {shorten(values)}, but must be sections of fields, such as"
            " training: {learning_rate: 2e-5}"
        )
    return values


def refuse_repeated_keys(node: yaml.Node | None, where: str) -> None:
    """Check that no mapping of a document has a key twice; YAML itself would keep the last.

    Raises:
        InputError: a key is repeated, or aliases expand to too many lists and mappings.
    """
    for number, collection in enumerate(_collections(node)):
        if number > _MOST_COLLECTIONS:  # a few aliases of aliases can expand to billions
            raise InputError(
                f"{where}: has more than {_MOST_COLLECTIONS:,} lists and mappings once each alias"
                " (*name) is expanded; write out the few values that are meant"
            )
        seen: set[str] = set()
        for key, _ in collection.value if isinstance(collection, yaml.MappingNode) else ():
            if str(key.value) in seen:
                raise InputError(
                    f"{where}, line {key.start_mark.line + 1}: the key {key.value!r} is repeated,"
                    " but must be unique; keep the one that is meant"
                )
            seen.add(str(key.value))


def _collections(node: yaml.Node | None) -> Iterator[yaml.MappingNode | yaml.SequenceNode]:
    """Yield every mapping and sequence at and under `node`, repeated by aliases."""
    if isinstance(node, yaml.MappingNode | yaml.SequenceNode):
        yield node
        for item in node.value:
            yield from _collections(item[1] if isinstance(node, yaml.MappingNode) else item)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Values:
    """Return `base` updated with the fields of `changes`, section by section.

    An empty section changes nothing.
    """
    merged = dict(base)
    for section, fields in changes.items():
        old = merged.get(section)
        if fields is None and isinstance(old, Mapping):
            continue
        both = isinstance(old, Mapping) and isinstance(fields, Mapping)
        merged[section] = {**old, **fields} if both else fields  # type: ignore[dict-item]
    return merged


def validate(model: type[Model], values: Mapping[str, Any], *, where: str) -> Model:
    """Build a typed configuration.

    Raises:
        InputError: one line for every unknown key, wrong type and value out of range.
    """
    try:
        return model.model_validate(_nulls(model, values))
    except ValidationError as error:
        raise InputError(*(_line(model, problem, where) for problem in error.errors())) from error


def usable(model: type[Model], values: object) -> Model | None:
    """Build a section without its wrong fields, which then have their defaults.

    Returns:
        The section; None: a field that must be given is missing or wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = {problem["loc"][:1] for problem in error.errors()}
    if not isinstance(values, Mapping) or () in wrong:
        return None
    rest = {name: value for name, value in values.items() if (name,) not in wrong}
    try:
        return model.model_validate(rest)
    except ValidationError:
        return None


def to_yaml(values: Mapping[str, Any]) -> str:
    """Return sections of fields as YAML, which `read_yaml` reads back to the same values."""
    return yaml.dump(
        dict(values), Dumper=_TextDumper, sort_keys=False, allow_unicode=True, width=100
    )


def given_fields(options: argparse.Namespace, sections: Iterable[str]) -> Values:
    """Return the values given as `--section.field VALUE`, by section.

    Raises:
        InputError: a value is not YAML.
    """
    values: Values = {}
    for name, text in vars(options).items():
        section, dot, field = name.partition(".")
        if dot and section in sections and text is not None:
            values.setdefault(section, {})[field] = parse_value(text, where=f"option --{name}")
    return values


def parse_value(text: str, *, where: str) -> Any:
    """Return the value of one option: a list or mapping is parsed as YAML, other text is kept."""
    if text.lstrip().startswith(("[", "{")):
        return parse_yaml(text, where=where)
    return None if text in ("null", "~") else text


def _nulls(model: type[BaseModel], values: Mapping[str, Any]) -> Values:
    """Return `values` with `{}` for each empty section, such as a bare `training:`."""
    return {
        name: {} if value is None and _section_of(model, name) else value
        for name, value in values.items()
    }


def _section_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = model.model_fields.get(name)
    annotation: object = field.annotation if field else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def _line(model: type[BaseModel], problem: Any, where: str) -> str:
    """Return the error line of one of pydantic's problems."""
    loc = problem["loc"]
    # The first two parts are section and field as the user wrote them; later ones may be tags.
    path = [str(part) for i, part in enumerate(loc) if i < 2 or not _is_choice_tag(part)]
    name = ".".join(path) or "it"
    if problem["type"] == "extra_forbidden":
        owner = _owner(model, path)
        hint = nearest(path[-1], owner.model_fields) if owner else "remove it"
        return f"{where}: unknown key {name}; {hint}"
    if problem["type"] == "missing":
        option = f", or --{name} VALUE" if len(path) == 2 else ""
        return f"{where}: {name} is missing, but must be given; add it{option}"
    if problem["type"] in ("model_type", "model_attributes_type"):
        return (
            f"{where}: {name} is {shorten(problem['input'])}, but must be a mapping of fields to"
            f" values; write {name}: {{field: value}}"
        )
    rule = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    rule = (rule[0].lower() + rule[1:]).replace("should", "must", 1)
    if problem["type"] == "value_error" and " is " in rule:
        return f"{where}: {name}: {rule}"
    if problem["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        hint = nearest(str(problem["input"]), choices, otherwise="")
        rule += f"; {hint}" if hint else ""
    help_text = _documentation(model, path)
    return f"{where}: {name} is {shorten(problem['input'])}, but {rule}{help_text}"


def _owner(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    """Return the model in which the last key of `path` was searched for."""
    kind: Any = model
    for part in path[:-1]:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(part)
            kind = field.annotation if field else None
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _is_choice_tag(part: object) -> bool:
    return isinstance(part, str) and ("[" in part or part in ("float", "int", "str"))


def _documentation(model: type[BaseModel], path: Sequence[str]) -> str:
    owner = _section_of(model, path[0]) if len(path) > 1 else None
    field = owner.model_fields.get(path[1]) if owner else None
    return f" ({' '.join((field.description or '').split())})" if field else ""


_KINDS = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "array": "list",
    "object": "mapping",
    "null": "null",
}
# Pydantic names a bound differently if a validator of ours runs before it.
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
    """Prints explanations below the options, whose names are long."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=8)


def add_fields(
    parser: argparse.ArgumentParser,
    sections: Mapping[str, type[Section]],
    bases: Mapping[str, Mapping[str, Any]],
) -> None:
    """Add one option `--section.field VALUE` for every field, with the field's documentation.

    Args:
        parser: gets one group of options for each section.
        sections: models by the names of their sections.
        bases: base configurations by name; their values are reported as the defaults.
    """
    for section, model in sections.items():
        summary = " ".join((model.__doc__ or "").split())
        group = parser.add_argument_group(section, summary)
        schema = model.model_json_schema()
        for name, field in model.model_fields.items():
            found = {base: values[section] for base, values in bases.items() if section in values}
            facts = [describe_values(schema["properties"][name]), *_describe_bases(found, name)]
            group.add_argument(
                f"--{section}.{name}",
                metavar="VALUE",
                help=f"{explanation(field)} [{'; '.join(facts)}]".replace("%", "%%"),
            )


def explanation(field: FieldInfo) -> str:
    """Return the docstring of a field on one line."""
    text = " ".join((field.description or "").split())
    assert text, "a field is not documented"
    return text


def describe_values(schema: Mapping[str, Any]) -> str:
    """Describe the values that a field takes, such as `number above 0, at most 1, or null`.

    Args:
        schema: of the field, with bounds as JSON Schema or pydantic name them.
    """
    if "anyOf" in schema:
        return ", or ".join(describe_values(kind) for kind in schema["anyOf"])
    if "enum" in schema:
        # A comma or a tab needs quotes to be seen.
        values = [value if value.isidentifier() else repr(value) for value in schema["enum"]]
        return "one of " + ", ".join(values)
    bounds = ", ".join(f"{_BOUNDS[key]} {schema[key]}" for key in _BOUNDS if key in schema)
    return f"{_KINDS[schema['type']]} {bounds}".strip()


def _describe_bases(bases: Mapping[str, Mapping[str, Any]], field: str) -> Iterator[str]:
    """Yield `base: 3` if all bases have this value, else each base with its value."""
    values = {base: _as_yaml(fields[field]) for base, fields in bases.items() if field in fields}
    if len(values) == len(bases) and len(set(values.values())) == 1:
        yield f"base: {next(iter(values.values()))}"
        return
    for base in bases:
        yield f"{base}: {values.get(base, 'must be given')}"


def _as_yaml(value: Any) -> str:
    """Return a value as it would be written in an option."""
    if isinstance(value, float):
        return f"{value:g}"
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("...").strip()
