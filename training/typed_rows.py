"""Read the typed values of JSON Lines and Parquet, and write them as text or JSON."""

import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.cells import NOT_UTF8, NOT_UTF8_ERROR, Cell, Unreadable, whole_characters
from training.errors import InputError
from training.table_bytes import Source

_WHITE_SPACE = re.compile(r"[ \t\r\n]*")
# Keep numbers as text: the digits of the file count, and Python refuses very long numbers.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)

_BROKEN_LINE = "line"
"""The key under which a line that is no JSON object is returned whole."""


@dataclass(frozen=True, slots=True)
class Member:
    """One key and value of a row."""

    name: str
    raw: str
    """The value as it was written."""

    @property
    def cell(self) -> Cell:
        """The value as a cell."""
        first = self.raw[0]
        if first == '"':
            return whole_characters(json.loads(self.raw))
        if first in "[{":
            return Unreadable("a JSON list" if first == "[" else "a JSON object")
        return None if self.raw in ("null", "NaN") else self.raw

    @property
    def text(self) -> str | None:
        """The value for a table without types; None for null and NaN."""
        if self.raw[0] == '"':
            return str(json.loads(self.raw))
        return None if self.raw in ("null", "NaN") else self.raw


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonRow:
    """One line without its end: a row, or an `error`."""

    line: int
    """Its number, from 1."""
    text: str
    members: list[Member]
    """In order, no key twice; a line that is no row is kept whole under `line`."""
    error: str = ""


def read_json_rows(source: Source) -> Iterator[JsonRow]:
    """Read each line that is not blank."""
    lines = io.TextIOWrapper(
        source.stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n"
    )
    for number, line in enumerate(lines, start=1):
        text = line.strip(" \t\r\n")
        if not text:
            continue
        try:
            members = _members(text)
        except (ValueError, RecursionError) as problem:
            error = "nested too deep" if isinstance(problem, RecursionError) else str(problem)
            if isinstance(problem, json.JSONDecodeError):
                error = f"not JSON: {error}"
            whole = [Member(_BROKEN_LINE, json.dumps(line.rstrip("\r\n"), ensure_ascii=False))]
            yield JsonRow(line=number, text=text, members=whole, error=error)
        else:
            yield JsonRow(line=number, text=text, members=members)


def _members(text: str) -> list[Member]:
    """Return the keys and values of an object, each value as it was written.

    Raises:
        ValueError: it is no object, or it has a key twice.
        RecursionError: it is nested too deep.
    """
    if NOT_UTF8.search(text):
        raise ValueError(NOT_UTF8_ERROR)
    if text[0] != "{":
        _DECODER.decode(text)
        kind = {"[": "a list", '"': "a string"}.get(text[0], text[:20])
        raise ValueError(f"a row must be a JSON object, not {kind}")
    found: dict[str, Member] = {}
    at = _skip(text, 1)
    closes = text[at : at + 1] == "}"
    while not closes:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("a key in double quotes is missing", text, at)
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("a colon is missing", text, at)
        start = _skip(text, at + 1)
        _, end = _DECODER.raw_decode(text, start)
        if name in found:
            raise ValueError(f"the key {name!r} is there twice")
        found[name] = Member(name, text[start:end])
        at = _skip(text, end)
        closes = text[at : at + 1] == "}"
        if not closes and text[at : at + 1] != ",":
            raise json.JSONDecodeError("a comma or brace is missing", text, at)
        at = _skip(text, at + 1)
    if not found:
        at = _skip(text, at + 1)
    if at != len(text):
        raise json.JSONDecodeError("text follows the object", text, at)
    return list(found.values())


def _skip(text: str, at: int) -> int:
    """Return the position of the next character that is not white space."""
    match = _WHITE_SPACE.match(text, at)
    return match.end() if match else at


def open_parquet(source: Source) -> Any:
    """Open a `pyarrow.parquet.ParquetFile`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return pq.ParquetFile(source.stream)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise _damaged(source, error) from error


def class_names(schema: Any) -> dict[str, list[str]]:
    """Return the names of the classes of columns that hold their codes 0, 1, ...: {column: names}.

    The library `datasets` writes them into the schema, as features of the type `ClassLabel`.
    https://huggingface.co/docs/datasets/about_dataset_features

    Args:
        schema: a `pyarrow.Schema`.
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: feature.get("names") for name, feature in features.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}  # it is no such file, or its description is damaged
    return {
        name: names
        for name, names in found.items()
        if _are_names(names) and schema.names.count(name) == 1 and _holds_codes(schema, name)
    }


def _are_names(names: object) -> bool:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    stripped = {name.strip() for name in names}
    return len(stripped) == len(names) and "" not in stripped


def _holds_codes(schema: Any, name: str) -> bool:
    return bool(pa.types.is_integer(schema.field(name).type))


def read_batches(
    source: Source, file: Any, columns: Sequence[int] | None, num_rows: int
) -> Iterator[Any]:
    """Read the rows as `pyarrow.RecordBatch`es of at most `num_rows`.

    Args:
        source: of the file, for messages.
        file: from `open_parquet`.
        columns: positions of the columns to read; None: all.
        num_rows: most rows of a batch.

    Raises:
        InputError: it is damaged.
    """
    schema = file.schema_arrow
    # pyarrow selects columns by name; of columns with one name it reads all, and we take the first.
    names = None if columns is None else [schema.names[column] for column in columns]
    batches = file.iter_batches(batch_size=num_rows, columns=names)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (pa.ArrowException, ValueError, OSError) as error:
            raise _damaged(source, error) from error
        yield batch


def _damaged(source: Source, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120]
    return InputError(
        f"{source.where}: not a Parquet file that can be read: {reason}; write it again, or give a"
        " CSV"
    )


def cells_of_array(array: Any) -> list[Cell]:
    """Convert the values of a `pyarrow.Array` to cells; null and NaN become None.

    Bytes must be UTF-8; other bytes, lists, structs, maps and durations are unreadable.
    """
    array = _decoded(array)
    kind = array.type
    if _is_text(kind):
        return [None if value is None else _utf8(value) for value in _as_bytes(array)]
    if not _is_scalar(kind):
        return [None if value is None else Unreadable(f"a {kind}") for value in array.to_pylist()]
    return [
        None if value is None or value != value else _scalar_text(value, kind)
        for value in array.to_pylist()
    ]


def text_of_array(array: Any) -> list[str | None]:
    """Convert the values of a `pyarrow.Array` to text; lists and structs become JSON."""
    array = _decoded(array)
    kind = array.type
    if _is_text(kind):
        return [None if value is None else _escaped(value) for value in _as_bytes(array)]
    write = _scalar_text if _is_scalar(kind) else _other_text
    return [
        None if value is None or value != value else write(value, kind)
        for value in array.to_pylist()
    ]


def json_of_array(array: Any) -> list[str]:
    """Convert the values of a `pyarrow.Array` to JSON; numbers, lists and structs keep types."""
    array = _decoded(array)
    kind = array.type
    if _is_text(kind):
        return [
            "null" if value is None else json.dumps(_escaped(value), ensure_ascii=False)
            for value in _as_bytes(array)
        ]
    is_literal = _is_number(kind) or pa.types.is_boolean(kind)
    write = _scalar_text if is_literal else _as_json
    return ["null" if value is None else write(value, kind) for value in array.to_pylist()]


def kind_without_text(kind: Any) -> str | None:
    """Name the type where a column of this type cannot hold text; None: it can."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind_without_text(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return kind_without_text(kind.value_type)
    return None if _is_text(kind) or _is_scalar(kind) else f"a {kind}"


def _decoded(array: Any) -> Any:
    """Replace dictionary codes and extension types by plain values."""
    if isinstance(array, pa.ExtensionArray):
        return _decoded(array.storage)
    if pa.types.is_dictionary(array.type):
        return _decoded(array.dictionary_decode())
    return array


def _is_text(kind: Any) -> bool:
    types = pa.types
    tests = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary)
    more = (types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    return any(test(kind) for test in (*tests, *more))


def _is_number(kind: Any) -> bool:
    types = pa.types
    return any(test(kind) for test in (types.is_integer, types.is_floating, types.is_decimal))


def _is_scalar(kind: Any) -> bool:
    types = pa.types
    tests = (types.is_boolean, types.is_timestamp, types.is_date, types.is_time, types.is_null)
    return _is_number(kind) or any(test(kind) for test in tests)


def _as_bytes(array: Any) -> list[bytes | None]:
    """Return strings as bytes, too: those of a file need not be UTF-8."""
    is_wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = array.view(pa.large_binary() if is_wide else pa.binary())
    elif pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string()).view(pa.large_binary())
    values: list[bytes | None] = array.to_pylist()
    return values


def _utf8(value: bytes) -> Cell:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return Unreadable("bytes that are not UTF-8")


def _escaped(value: bytes) -> str:
    return value.decode("utf-8", errors="backslashreplace")


def _scalar_text(value: Any, kind: Any) -> str:
    """Write a value: shortest digits that read back, true or false, or ISO 8601."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if pa.types.is_floating(kind):
        if value in (math.inf, -math.inf) or value != value:
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        narrow = {16: np.float16, 32: np.float32}.get(kind.bit_width)
        return str(narrow(value)) if narrow is not None else repr(value)
    return str(value) if _is_number(kind) else str(value.isoformat())


def _other_text(value: Any, kind: Any) -> str:
    return _as_json(value, kind) if isinstance(value, list | dict) else _plain(value)


def _as_json(value: Any, _kind: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    """Write a value for which JSON has no type."""
    if isinstance(value, bytes):
        return _escaped(value)
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
