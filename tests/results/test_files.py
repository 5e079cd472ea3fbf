import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from results.files import (
    append_row,
    drop_incomplete_line,
    read_csv,
    write_bytes,
    write_csv,
    write_json,
    write_text,
)

COLUMNS = ("name", "value")


@contextmanager
def _files_up_to(num_bytes: int) -> Iterator[None]:
    """Limit the size of a file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_atomically_and_directories_are_created(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_bytes(path, b"old")
    write_bytes(path, b"new and longer")
    assert path.read_bytes() == b"new and longer"
    assert _names(path.parent) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with _files_up_to(1000), pytest.raises(OSError, match="File too large"):
        write_bytes(path, b"x" * 5000)
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["file"]


def test_a_directory_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_bytes(tmp_path / "file", b"x")
    assert _names(tmp_path) == ["file"]


def test_a_lone_surrogate_is_written_as_a_question_mark(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "a\ud800é")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "a?é"


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"b": [1, 0.1, None, "é"], "a": {}}
    write_json(tmp_path / "file", value)
    text = (tmp_path / "file").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.index('"b"') < text.index('"a"')
    assert "é" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_with_nan_or_infinity_is_refused_and_the_old_file_is_kept(
    tmp_path: Path, value: float
) -> None:
    write_json(tmp_path / "file", {"score": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "file", {"score": value})
    assert json.loads((tmp_path / "file").read_text()) == {"score": 1}


def test_a_table_with_quotes_and_line_breaks_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [
        {"name": 'a "quoted", cell', "value": "two\nlines"},
        {"name": "", "value": 0.1},
        {"name": "no value"},
        {"name": None, "value": 1e-05},
    ]
    write_csv(tmp_path / "file", COLUMNS, rows)
    assert read_csv(tmp_path / "file") == [
        {"name": 'a "quoted", cell', "value": "two\nlines"},
        {"name": "", "value": "0.1"},
        {"name": "no value", "value": ""},
        {"name": "", "value": "1e-05"},
    ]


def test_an_unknown_column_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="surprise"):
        append_row(tmp_path / "file", COLUMNS, {"name": "a", "surprise": 1})
    assert _names(tmp_path) == []


def test_a_missing_file_has_no_rows(tmp_path: Path) -> None:
    assert read_csv(tmp_path / "file") == []
    drop_incomplete_line(tmp_path / "file")
    assert _names(tmp_path) == []


def test_rows_are_appended_under_one_header(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for number in range(3):
        append_row(path, COLUMNS, {"name": f"n{number}", "value": number})
    assert path.read_text() == "name,value\nn0,0\nn1,1\nn2,2\n"


def test_an_empty_file_gets_its_header(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    append_row(tmp_path / "file", COLUMNS, {"name": "a"})
    assert (tmp_path / "file").read_text() == "name,value\na,\n"


def test_a_line_that_does_not_fit_on_the_disk_is_an_error_and_can_be_removed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file"
    append_row(path, COLUMNS, {"name": "a", "value": 1})
    whole = path.read_bytes()
    with _files_up_to(len(whole) + 5), pytest.raises(OSError, match="File too large"):
        append_row(path, COLUMNS, {"name": "b" * 50, "value": 2})
    assert path.stat().st_size == len(whole) + 5  # half a line was written
    drop_incomplete_line(path)
    assert path.read_bytes() == whole
    append_row(path, COLUMNS, {"name": "c", "value": 3})
    assert [row["name"] for row in read_csv(path)] == ["a", "c"]


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (b"a,b\n1,2\n3,", b"a,b\n1,2\n"),
        (b"a,b\n1,2\n", b"a,b\n1,2\n"),
        (b"a,", b""),
        (b"", b""),
        ("a\né".encode()[:-1], b"a\n"),
    ],
)
def test_only_an_incomplete_last_line_is_removed(
    tmp_path: Path, content: bytes, left: bytes
) -> None:
    (tmp_path / "file").write_bytes(content)
    drop_incomplete_line(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == left
    assert _names(tmp_path) == ["file"]


def test_a_complete_file_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\n")
    before = path.stat().st_ino
    drop_incomplete_line(path)
    assert path.stat().st_ino == before
