"""Read whole columns of a table as text, or refuse the table with its broken rows."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.cells import NOT_UTF8_ERROR, Unreadable, matching_columns
from training.cli import nearest
from training.errors import InputError
from training.table import Chunk, Table, open_table

_MOST_REPORTED = 3


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The requested columns of a table."""

    names: Sequence[str]
    """Names of all columns of the table, as they are written."""
    cells: Mapping[str, Sequence[str]]
    """{requested name: text of each row, maybe empty}, without columns that the table lacks."""
    num_rows: int
    format: str
    """The format in words, such as `CSV separated by ';'`."""
    is_csv: bool = False
    """Whether a quote that is not closed can swallow rows."""
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """{requested name: names of the classes whose codes the column holds}, where there are any."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The first rows of a table."""

    names: Sequence[str]
    """Names of all columns, as they are written."""
    chunk: Chunk | None
    """The rows; None: there are none."""

    def cells(self, name: str) -> list[str]:
        """Return the text of the first rows in a column, empty where there is none."""
        if self.chunk is None or not matching_columns(name, self.chunk.columns):
            return []
        return [cell if isinstance(cell, str) else "" for cell in self.chunk.cells(name)]


def read_columns(
    path: Path,
    wanted: Mapping[str, str],
    *,
    separator: str | None = None,
    multiline: bool = False,
    label: tuple[str, Callable[[str], bool]] | None = None,
) -> Columns:
    """Read some columns of a table, each cell as text; the other columns are ignored.

    Records are numbered from 0 as by `pandas.read_csv`: blank lines do not count, and a cell may
    hold line breaks.

    Args:
        path: CSV, JSON Lines or Parquet, plain or compressed.
        wanted: {name of a column: option that names it}; a missing column is left out.
        separator: of a CSV; None: find it.
        multiline: whether quoted cells may hold lines that are rows by themselves.
        label: name of the label column, and a function that recognises a known label: a line with
            one inside a quoted cell is a row that the quote swallowed.

    Raises:
        InputError: the file is missing, a directory, unreadable, empty, without records, no
            table or not in UTF-8; a row is broken; a name is not unique; a cell holds no text.
    """
    with (
        _opened(path) as file,
        open_table(
            file,
            name=str(path),
            where=str(path),
            wanted=list(wanted),
            separator=separator,
            multiline=multiline,
            only_wanted=True,
        ) as table,
    ):
        for name, option in wanted.items():
            table.column(name, option)
        if label is not None and (column := table.column(label[0], "data.label_column")):
            table.watch_labels(column, label[1])
        return _read_all(table, wanted)


def read_preview(path: Path, wanted: Sequence[str], *, separator: str | None = None) -> Preview:
    """Read the names of all columns and at most the first 1,024 rows.

    Args:
        path: as of `read_columns`.
        wanted: names of columns, by which the separator of a CSV is found.
        separator: of a CSV; None: find it.

    Raises:
        InputError: the file is missing, a directory, unreadable, empty, no table or not in UTF-8.
    """
    with (
        _opened(path) as file,
        open_table(
            file,
            name=str(path),
            where=str(path),
            wanted=wanted,
            separator=separator,
            multiline=True,
        ) as table,
    ):
        chunk = next(table.chunks, None)
        names = dict.fromkeys([*table.columns, *(chunk.columns if chunk else ())])
        return Preview(names=list(names), chunk=chunk)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_all(table: Table, wanted: Mapping[str, str]) -> Columns:
    cells: dict[str, list[str]] = {name: [] for name in wanted}
    names = dict.fromkeys(table.columns)
    unreadable: dict[str, list[tuple[int, str]]] = {}
    broken: list[str] = []
    num_rows = num_broken = 0
    for chunk in table.chunks:
        names |= dict.fromkeys(chunk.columns)
        for problem in _broken_rows(table, chunk):
            num_broken += 1
            broken += [problem] if num_broken <= _MOST_REPORTED else []
        for name in wanted:
            if not matching_columns(name, chunk.columns):
                cells[name] += [""] * len(chunk.errors)
                continue
            for row, cell in enumerate(chunk.cells(name), start=num_rows):
                if isinstance(cell, Unreadable):
                    unreadable.setdefault(name, []).append((row, cell.kind))
                cells[name].append(cell if isinstance(cell, str) else "")
        num_rows += len(chunk.errors)
    if num_broken > _MOST_REPORTED:
        broken.append(f"{table.where}: {num_broken - _MOST_REPORTED:,} more rows are broken")
    broken += [
        _not_text(table.where, name, wanted[name], found) for name, found in unreadable.items()
    ]
    if broken:
        raise InputError(*broken)
    if not num_rows:
        raise InputError(
            f"{table.where}: the table is empty: it has no records; give it at least one row a"
            " class"
        )
    return Columns(
        names=list(names),
        cells={name: column for name, column in cells.items() if matching_columns(name, [*names])},
        num_rows=num_rows,
        format=table.describe(),
        is_csv=table.format == "csv",
        class_names={
            name: found
            for name, option in wanted.items()
            if (column := table.column(name, option)) and (found := table.class_names(column))
        },
    )


def _broken_rows(table: Table, chunk: Chunk) -> Iterator[str]:
    for index, error in enumerate(chunk.errors):
        if not error:
            continue
        line = chunk.lines[index]
        if error.endswith(NOT_UTF8_ERROR):
            raise InputError(table.encoding_problem(line, chunk.text_of_row(index)))
        yield f"{table.where}: line {line}: {error}"


def _not_text(where: str, name: str, option: str, found: Sequence[tuple[int, str]]) -> str:
    rows = ", ".join(str(row) for row, _ in found[:_MOST_REPORTED])
    more = ", ..." if len(found) > _MOST_REPORTED else ""
    return (
        f"{where}: column '{name}' holds {found[0][1]} in {len(found)} row"
        f"{'s' * (len(found) > 1)} (row{'s' * (len(found) > 1)} {rows}{more}), but must hold text;"
        f" write it as text, or set {option} to another column"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        # The file is read twice, for its content and its hash; a device may have no end.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(
                f"{path}: is a pipe or a device, but must be a file; write the table to one"
            )
        file = path.open("rb", buffering=0)
    except IsADirectoryError:
        raise InputError(
            f"{path}: is a directory, but must be a file; name a table inside it"
        ) from None
    except FileNotFoundError:
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        files = [other.name for other in beside if other.is_file()]
        hint = nearest(path.name, files, otherwise="check the path")
        where = "" if path.parent.is_dir() else f" (nor is its folder {path.parent})"
        raise InputError(f"{path}: no such file{where}; {hint}") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: cannot be read: {reason}; check its name and permissions"
        ) from None
    with file:
        yield file
