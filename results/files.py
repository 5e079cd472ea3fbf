"""Atomic files: written as a temporary file, synced and renamed, or appended a line at a time."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from results.errors import RunError


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` with `content` atomically.

    Raises:
        OSError: the directory cannot be written or the disk is full; `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace `path` with `text` (UTF-8), atomically; lone surrogates become `?`."""
    write_bytes(path, text.encode("utf-8", errors="replace"))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with `value` as indented JSON, atomically; NaN is an error."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace `path` with a table, atomically; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def append_row(path: Path, columns: Sequence[str], row: Mapping[str, Any]) -> None:
    """Append one line to the table at `path`, which is created with a header if it is missing.

    A line is handed to the system in one write, so that a killed process leaves at most an
    incomplete last line; `drop_incomplete_line` removes it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    is_new = not path.exists()
    if is_new or path.stat().st_size == 0:
        writer.writeheader()
    writer.writerow(row)
    # A symbolic link in a run that came from elsewhere may point to any file of the user.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o644)
    try:
        line = text.getvalue().encode("utf-8", errors="replace")
        while line:  # a full disk accepts a part, and refuses the next
            line = line[os.write(descriptor, line) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        _sync_directory(path.parent)


def drop_incomplete_line(path: Path) -> None:
    """Remove an incomplete last line, which a crash in the middle of a write leaves."""
    if not _is_file(path):
        return
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if complete != content:
        write_bytes(path, complete)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table written by this module; none if there is no file.

    Raises:
        RunError: `path` is not a file.
    """
    if not _is_file(path):
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_table(path: Path, required: Iterable[str]) -> list[dict[str, str]]:
    """Return the rows as `read_csv` does, and check the columns.

    Raises:
        RunError: the table cannot be read, or a required column is missing.
    """
    try:
        rows = read_csv(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read ({error}); restore the file") from error
    missing = [name for name in required if rows and name not in rows[0]]
    if missing:
        raise RunError(f"{path}: column {missing[0]} is missing; restore the file")
    return rows


def _is_file(path: Path) -> bool:
    """Return whether `path` is a file; raise RunError if it is a directory or a broken link."""
    if path.is_file():
        return True
    if path.exists() or path.is_symlink():
        raise RunError(f"{path}: is not a file, but must be one; restore it")
    return False


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
