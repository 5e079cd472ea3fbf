from pathlib import Path

import fsspec
import pytest

from tests.faults.s3 import s3_server
from training import table_bytes
from training.config import DataConfig
from training.data import prepare
from training.errors import InputError
from training.table_bytes import local_copy

SAMPLE = Path(table_bytes.__file__).parent / "sample" / "sample.csv"


def test_a_table_in_a_storage_gives_the_rows_that_the_file_gives(
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


def test_a_table_is_fetched_once_a_process() -> None:
    with fsspec.open("memory://once/table.csv", "w") as file:
        file.write("text,final_label\n")
    first = local_copy("memory://once/table.csv")
    assert first.name == "table.csv"
    fsspec.filesystem("memory").rm("/once/table.csv")
    assert local_copy("memory://once/table.csv") == first


@pytest.mark.parametrize(
    ("uri", "told"),
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
def test_what_cannot_be_fetched_is_told_in_one_line_without_secrets(uri: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        local_copy(uri)
    (line,) = refused.value.problems
    assert told in line
    assert line.startswith("data.path is ")
    assert "secret" not in line
