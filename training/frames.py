"""Write a table in memory as Parquet: a pandas DataFrame, or an object with `to_pandas`.

Libraries such as polars, datasets and pyarrow are recognised by their methods, not imported.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from training.cli import shorten
from training.errors import InputError

_LARGEST_STRINGS = 2**31 - 1
"""Bytes of text in one array of the type string; larger ones are large_string."""


def read_frame(data: object, *, where: str = "data") -> pa.Table:
    """Return a table in memory as Arrow columns that Parquet can hold.

    The same rows give the same table, whichever library they come from. Categories become their
    names, and so do the codes of `ClassLabel` features of a `datasets.Dataset` (a code outside of
    its names becomes null). A named index becomes columns; an unnamed one is left out. A missing
    value is null.

    Args:
        data: a DataFrame or an object whose `to_pandas` returns one.
        where: name of the argument, the start of every message.

    Raises:
        InputError: it is no table, has no rows, or has columns that Parquet cannot hold; one line
            for each such column.
    """
    frame = _as_frame(data, where)
    names = _column_names(frame, where)
    frame = _with_class_names(frame, data)
    if not len(frame):
        raise InputError(f"{where}: the table has no rows; give it at least one row a class")
    problems: list[str] = []
    columns: list[Any] = []
    for name, values in zip(names, _columns(frame), strict=True):
        try:
            columns.append(_as_array(name, values))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            problems.append(_not_storable(where, name, values, error))
    if problems:
        raise InputError(*problems)
    return pa.Table.from_arrays(columns, names=names)


def write_frame(table: pa.Table, path: Path) -> None:
    """Write a table as Parquet; the same table gives the same bytes.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    pq.write_table(table, path)


def holds_frame(path: Path, table: pa.Table) -> bool:
    """Return whether a Parquet file has exactly the columns and values of a table.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return bool(pq.read_table(path).equals(table))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({error}); restore the file") from error


def _as_frame(data: object, where: str) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return data
    convert = getattr(data, "to_pandas", None)
    if not callable(convert):
        raise InputError(
            f"{where} is {_describe(data)}, but must be a path, a pandas DataFrame or an object"
            f" with to_pandas; {_advice(data, where)}"
        )
    try:
        frame = convert()
    except Exception as error:  # whatever the library raises, the table cannot be read
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"{where}: to_pandas of {_describe(data)} failed ({reason}); give a pandas DataFrame"
        ) from error
    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            f"{where}: to_pandas of {_describe(data)} returned {_describe(frame)}, but must return"
            " a DataFrame; give a table with a column of texts and a column of labels"
        )
    return frame


def _describe(value: object) -> str:
    """Describe a value by its type; a number by itself."""
    kind = type(value)
    if value is None or isinstance(value, bool | int | float):
        return shorten(value)
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else _full_name(kind)


def _full_name(kind: type) -> str:
    return f"a {kind.__module__.partition('.')[0]} {kind.__qualname__}"


def _advice(data: object, where: str) -> str:
    if isinstance(data, Mapping) and any(
        isinstance(part, pd.DataFrame) or hasattr(part, "to_pandas") for part in data.values()
    ):
        keys = ", ".join(repr(key) for key in data)
        return f"it holds the parts {keys}: give one of them, or all as one table"
    if callable(getattr(data, "collect", None)):
        return f"call {where}.collect() before"
    if isinstance(data, pd.Series):
        return "give the frame with the texts and the labels"
    return f"give pandas.DataFrame({where}), with a column of texts and a column of labels"


def _with_class_names(frame: pd.DataFrame, data: object) -> pd.DataFrame:
    """Replace the codes of `ClassLabel` features by their names; the frame is not changed."""
    features = getattr(data, "features", None)
    if not isinstance(features, Mapping):
        return frame
    for column, feature in features.items():
        names = getattr(feature, "names", None)
        if isinstance(names, Sequence) and not isinstance(names, str) and column in frame:
            codes: Any = frame[column]
            if pd.api.types.is_numeric_dtype(codes):
                known = {code: str(name) for code, name in enumerate(names)}
                frame = frame.assign(**{column: codes.map(known)})
    return frame


def _column_names(frame: pd.DataFrame, where: str) -> list[str]:
    """Return the names of the columns to write: named levels of the index, then the frame's own.

    Raises:
        InputError: a name is missing or not unique.
    """
    if frame.columns.nlevels > 1:
        raise InputError(
            f"{where}: its columns have {frame.columns.nlevels} levels, but each must have one"
            " name; flatten them"
        )
    names = [str(name) for name in (*_named_levels(frame), *frame.columns)]
    if not names:
        raise InputError(
            f"{where}: the table has no columns, but needs a column of texts and one of labels"
        )
    repeated = dict.fromkeys(name for name in names if names.count(name) > 1)
    if repeated:
        of_index = set(repeated) & {str(name) for name in _named_levels(frame)}
        step = "call reset_index(drop=True)" if of_index else "rename one of them"
        raise InputError(
            *(
                f"{where}: {names.count(name)} columns are named {name!r}"
                f"{', one of them the index' if name in of_index else ''}, but each name must be"
                f" unique; {step}"
                for name in repeated
            )
        )
    return names


def _named_levels(frame: pd.DataFrame) -> list[Any]:
    return [name for name in frame.index.names if name is not None]


def _columns(frame: pd.DataFrame) -> Iterator[pd.Series]:
    for level in _named_levels(frame):
        yield frame.index.get_level_values(level).to_series()
    for position in range(frame.shape[1]):
        yield frame.iloc[:, position]


def _as_array(name: str, values: pd.Series) -> Any:
    """Return a column as one array that Parquet can hold.

    Raises:
        pa.ArrowException, TypeError, ValueError, OverflowError: it cannot hold the values.
    """
    if values.dtype == object:
        _check_not_mixed(values)
    array = pa.array(values, from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()  # the bytes must not depend on how the rows were cut
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kinds = pa.types
    if kinds.is_string_view(array.type) or (
        kinds.is_large_string(array.type) and array.nbytes < _LARGEST_STRINGS
    ):
        array = array.cast(pa.string())
    pq.write_table(pa.table({name: array[:1]}), pa.BufferOutputStream())
    return array


def _check_not_mixed(values: pd.Series) -> None:
    """Refuse what Arrow would convert in silence: true beside 1, bytes beside text.

    Raises:
        TypeError: the values have such types.
    """
    kinds = {type(value) for value in values if not _is_missing(value)}
    if len(kinds) > 1 and kinds & {bool, np.bool_, bytes}:
        raise TypeError("they would become one type")


def _not_storable(where: str, name: str, values: pd.Series, error: Exception) -> str:
    kinds: list[str] = []
    if values.dtype == object:
        kinds = sorted({type(value).__name__ for value in values if not _is_missing(value)})
    holds = f"holds {' and '.join(kinds[:3])}" if len(kinds) > 1 else f"has type {values.dtype}"
    reason = " ".join(str(error).split())[:120]
    return (
        f"{where}: column {name!r} {holds}, which Parquet cannot hold ({reason}); convert"
        f" it, as by astype(str), or leave it out by drop(columns=[{name!r}])"
    )


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and bool(np.isnan(value)))
