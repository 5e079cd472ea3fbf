"""Builders of small files of every format, for the tests that read tables."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.columns import Columns, read_columns
from training.csv_rows import CsvRow, CsvRows
from training.errors import InputError
from training.labels import Labels
from training.table_bytes import open_source

WANTED = {"text": "data.text_column", "label": "data.label_column"}
LABELS = ("baik", "biasa", "buruk")
IS_LABEL = Labels(LABELS).is_label


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, wanted: Mapping[str, str] = WANTED, **options: object) -> Columns:
    return read_columns(path, wanted, **options)  # type: ignore[arg-type]


def refusal(path: Path, wanted: Mapping[str, str] = WANTED, **options: object) -> str:
    """Return the first line of the error; every line must name the file."""
    with pytest.raises(InputError) as caught:
        read(path, wanted, **options)
    assert all("\n" not in line and str(path) in line for line in caught.value.problems)
    return caught.value.problems[0]


def csv_rows(
    text: str,
    *,
    separator: str = ",",
    multiline: bool = False,
) -> list[CsvRow]:
    """Read the rows of a CSV as `evaluation.predict` does: broken rows have an error."""
    file = io.BytesIO(text.encode("utf-8", "surrogateescape"))
    with open_source(file, name="-", where="here") as source:
        rows = CsvRows(source, separator=separator, multiline=multiline)
        return list(rows)


def as_csv(columns: Mapping[str, Sequence[str]], separator: str = ",") -> str:
    """Write a CSV with every cell quoted."""
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    quoted = (['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows)
    return "".join(separator.join(row) + "\n" for row in quoted)


def as_json_lines(columns: Mapping[str, Sequence[object]]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)


def write_parquet(path: Path, columns: Mapping[str, object]) -> Path:
    pq.write_table(pa.table(dict(columns)), path)
    return path
