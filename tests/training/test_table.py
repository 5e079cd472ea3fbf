"""No row is lost between a file and its splits, and no text changes, whatever the cells hold."""

import csv
import io
import json
from collections import Counter
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.s3 import s3_server
from training import table_bytes
from training.cleaning import clean, columns_of
from training.columns import Columns, read_columns
from training.config import DataConfig
from training.data import prepare
from training.errors import InputError
from training.table_bytes import local_copy

LABELS = ("a", "b")
ODD = [
    '"',
    '""',
    "\r",
    "\n",
    "\r\n",
    ",",
    ";",
    "\t",
    "|",
    "'",
    "\\",
    "NA",
    "nan",
    "1e5",
    "0.10",
    " ",
]
TEXTS = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(ODD), max_size=6).map("".join))
TABLES = st.lists(st.tuples(TEXTS, st.sampled_from(LABELS)), min_size=1, max_size=12)
RELAXED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(path: Path, rows: list[tuple[str, str]], kind: str) -> Path:
    texts, labels = zip(*rows, strict=True)
    if kind == "parquet":
        pq.write_table(pa.table({"text": texts, "label": labels}), path)
    elif kind == "jsonl":
        lines = [{"text": text, "label": label} for text, label in rows]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), newline="")
    else:
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=kind, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerows([["text", "label"], *rows])
        path.write_bytes(text.getvalue().encode())
    return path


def read(path: Path, config: DataConfig) -> Columns:
    return read_columns(path, columns_of(config), multiline=True)


@pytest.mark.parametrize("kind", [",", ";", "\t", "jsonl", "parquet"])
@RELAXED
@given(rows=TABLES)
def test_every_row_is_kept_or_dropped_for_a_reason_and_its_text_is_unchanged(
    tmp_path: Path, kind: str, rows: list[tuple[str, str]]
) -> None:
    path = write(tmp_path / "table", rows, kind)
    config = DataConfig(
        path=str(path),
        text_column="text",
        label_column="label",
        labels=LABELS,
        confidence_column=None,
        multiline=True,
    )
    columns = read(path, config)
    assert columns.cells["text"] == [text for text, _ in rows]
    assert columns.cells["label"] == [label for _, label in rows]
    try:
        table = clean(columns, config)
    except InputError as error:
        assert "no row is left" in str(error)  # noqa: PT017  # it counts all rows
        return
    reasons = Counter(table.reasons)
    kept = reasons.pop("")
    assert kept == len(table.rows)
    assert kept + reasons.total() == len(rows)
    for row in table.rows:
        assert (row.text, LABELS[row.label]) == rows[row.row]


@RELAXED
@given(rows=TABLES)
def test_all_formats_give_the_same_cells(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    config = DataConfig(
        path="-",
        text_column="text",
        label_column="label",
        labels=LABELS,
        confidence_column=None,
    )
    first, *others = (
        read(write(tmp_path / "table", rows, kind), config).cells
        for kind in (",", ";", "\t", "|", "jsonl", "parquet")
    )
    assert all(other == first for other in others)


SAMPLE = Path(table_bytes.__file__).parent / "sample" / "sample.csv"


def test_a_table_at_a_uri_gives_the_same_rows_as_the_local_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = prepare(DataConfig(path=str(SAMPLE)))
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        uri = f"s3://{server.bucket}/tables/sample.csv"
        fsspec.filesystem("s3", skip_instance_cache=True).put_file(str(SAMPLE), uri)
        there = prepare(DataConfig(path=uri))
    assert there.summary.path == uri
    assert there.summary.sha256 == here.summary.sha256
    assert there.assignment.equals(here.assignment)


def test_a_table_is_fetched_once_per_process() -> None:
    with fsspec.open("memory://once/table.csv", "w") as file:
        file.write("text,final_label\n")
    first = local_copy("memory://once/table.csv")
    assert first.name == "table.csv"
    fsspec.filesystem("memory").rm("/once/table.csv")
    assert local_copy("memory://once/table.csv") == first


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("memory://nowhere/table.csv", "cannot be read (FileNotFoundError"),
        ("nosuch://bucket/table.csv", "Protocol not known: nosuch"),
        ("https://name:secret@host/t.csv", "must hold no user, password or query"),
        ("https://secret@host/t.csv", "must hold no user, password or query"),
        ("https://name:sec/secret@host/t.csv", "must hold no user, password or query"),
        ("simplecache::https://u:secret@host/t.csv", "must hold no user, password or query"),
        ("https://host/t.csv?sig=secret", "must hold no user, password or query"),
        ("memory://", "data.path is 'memory://', but "),
    ],
)
def test_a_failed_fetch_is_one_error_line_without_secrets(uri: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        local_copy(uri)
    (line,) = refused.value.problems
    assert reason in line
    assert line.startswith("data.path is ")
    assert "secret" not in line
