"""Rows of Parquet, some at a time: typed values, spelled where text is asked for."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.cells import Cell, Unreadable
from training.errors import InputError
from training.table_bytes import Source


def open_parquet(source: Source) -> Any:
    """The `pyarrow.parquet.ParquetFile`.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return pq.ParquetFile(source.stream)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise _damaged(source, error) from error


def read_batches(
    source: Source, file: Any, columns: Sequence[int] | None, num_rows: int
) -> Iterator[Any]:
    """The rows as `pyarrow.RecordBatch`es of at most `num_rows`.

    Args:
        source: of the file, for messages.
        file: from `open_parquet`.
        columns: places of the columns that are read; None: all.
        num_rows: most rows of a batch.

    Raises:
        InputError: it is damaged.
    """
    schema = file.schema_arrow
    # By name, which is how the file is asked; of columns named alike all come, the first is taken.
    names = None if columns is None else [schema.names[place] for place in columns]
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
    """Each value of a `pyarrow.Array` as text, null and NaN as nothing.

    Bytes are UTF-8 or unreadable; lists, structs, maps and durations are unreadable.
    """
    array = _decoded(array)
    kind = array.type
    if _is_text(kind):
        return [None if value is None else _utf8(value) for value in _as_bytes(array)]
    if not _is_spelled(kind):
        return [None if value is None else Unreadable(f"a {kind}") for value in array.to_pylist()]
    return [
        None if value is None or value != value else _spelled(value, kind)
        for value in array.to_pylist()
    ]


def text_of_array(array: Any) -> list[str | None]:
    """Each value of a `pyarrow.Array` for a table without types; what is nested as JSON.

    Null and NaN are nothing there, too.
    """
    array = _decoded(array)
    kind = array.type
    if _is_text(kind):
        return [None if value is None else _shown(value) for value in _as_bytes(array)]
    spell = _spelled if _is_spelled(kind) else _as_text
    return [
        None if value is None or value != value else spell(value, kind)
        for value in array.to_pylist()
    ]


def json_of_array(array: Any) -> list[str]:
    """Each value of a `pyarrow.Array` as JSON: numbers, truth values, lists and structs as such."""
    array = _decoded(array)
    kind = array.type
    if _is_text(kind):
        return [
            "null" if value is None else json.dumps(_shown(value), ensure_ascii=False)
            for value in _as_bytes(array)
        ]
    is_literal = _is_number(kind) or pa.types.is_boolean(kind)
    spell = _spelled if is_literal else _as_json
    return ["null" if value is None else spell(value, kind) for value in array.to_pylist()]


def kind_without_text(kind: Any) -> str | None:
    """What a column of this type holds where no value of it can be text; None: it may be."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind_without_text(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return kind_without_text(kind.value_type)
    return None if _is_text(kind) or _is_spelled(kind) else f"a {kind}"


def _decoded(array: Any) -> Any:
    """Values in place of codes, and of types that others have made."""
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


def _is_spelled(kind: Any) -> bool:
    types = pa.types
    tests = (types.is_boolean, types.is_timestamp, types.is_date, types.is_time, types.is_null)
    return _is_number(kind) or any(test(kind) for test in tests)


def _as_bytes(array: Any) -> list[bytes | None]:
    """Strings, too: those of a file need not be UTF-8."""
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


def _shown(value: bytes) -> str:
    return value.decode("utf-8", errors="backslashreplace")


def _spelled(value: Any, kind: Any) -> str:
    """The shortest digits that read back, true or false, or ISO 8601."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if pa.types.is_floating(kind):
        if value in (math.inf, -math.inf) or value != value:
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        narrow = {16: np.float16, 32: np.float32}.get(kind.bit_width)
        return str(narrow(value)) if narrow is not None else repr(value)
    return str(value) if _is_number(kind) else str(value.isoformat())


def _as_text(value: Any, kind: Any) -> str:
    return _as_json(value, kind) if isinstance(value, list | dict) else _plain(value)


def _as_json(value: Any, _kind: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    """What JSON has no type for, inside of lists and structs or alone."""
    if isinstance(value, bytes):
        return _shown(value)
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
