"""Reads a table of any supported format as text cells, and nothing else."""

import difflib
import hashlib
import io
import json
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from training.errors import InputError

_PARQUET = (".parquet", ".pq")
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")
_WIDE_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def read_table(path: Path) -> pd.DataFrame:
    """Read every cell as text; an empty cell is missing (NaN).

    The suffix decides the format: Parquet (.parquet, .pq), JSON Lines (.jsonl, .ndjson, .json),
    else CSV, in UTF-8 with or without a byte order mark. Words such as "NA" or "null" in a CSV
    are text like any other. Records are numbered from 0 as `pandas.read_csv` numbers them: blank
    lines do not count, and a cell may hold line breaks. Numbers keep the digits that the file
    has (a float32 of a Parquet file its shortest ones), so that 0.7 is read as 0.7.

    Raises:
        InputError: the file is missing, a directory, unreadable, empty, without records, not a
            table or not in UTF-8.
    """
    raw = _read_bytes(path)
    if not raw.strip():
        raise InputError(f"{path}: the file is empty, but must be a table; check the path")
    suffix = path.suffix.lower()
    if suffix in _PARQUET:
        table = _read_parquet(path, raw)
    else:
        _check_is_utf8(path, raw)
        table = _read_json_lines(path, raw) if suffix in _JSON_LINES else _read_csv(path, raw)
    if table.empty:
        raise InputError(
            f"{path}: the table has a header but no records; give it at least one row a class"
        )
    return table


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def nearest(name: str, candidates: Iterable[str]) -> str:
    """`; did you mean '...'?` with the candidate most like `name`, or nothing if none is."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else ""


def _read_bytes(path: Path) -> bytes:
    try:
        # It is read twice, for its content and its hash; a device may have no end.
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(
                f"{path}: is a pipe or a device, but must be a file; write the table to one"
            )
        return path.read_bytes()
    except IsADirectoryError:
        raise InputError(
            f"{path}: is a directory, but must be a file; name a table inside it"
        ) from None
    except FileNotFoundError:
        beside = path.parent.iterdir() if path.parent.is_dir() else ()
        hint = nearest(path.name, (other.name for other in beside if other.is_file()))
        where = "" if path.parent.is_dir() else f" (nor is its folder {path.parent})"
        raise InputError(f"{path}: no such file{where}{hint or '; check the path'}") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: cannot be read: {reason}; check its name and permissions"
        ) from None


def _check_is_utf8(path: Path, raw: bytes) -> None:
    """A NUL byte in the first line: either the encoding is a wide one or the file is no table.

    Further down it is an odd character of some text, and no reason to refuse the others.
    """
    for mark, encoding in _WIDE_BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            raise _encoding_error(path, encoding, 0, raw[0])
    nul = raw.partition(b"\n")[0].find(b"\0")
    if nul >= 0:
        wide = _wide_encoding(raw)
        if wide:
            raise _encoding_error(path, wide, nul, 0)
        raise InputError(
            f"{path}: not a table: byte {nul} is NUL, which no first line of text holds; give a"
            " CSV, JSON Lines (.jsonl) or Parquet (.parquet) file"
        )
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if any(byte < 32 and byte not in _TEXT_CONTROLS for byte in raw[:4096]):
            raise InputError(
                f"{path}: not a table: it holds binary data; give a CSV, JSON Lines (.jsonl) or"
                " Parquet (.parquet) file"
            ) from None
        raise _encoding_error(
            path, _single_byte_encoding(raw), error.start, raw[error.start]
        ) from None


def _encoding_error(path: Path, encoding: str, position: int, byte: int) -> InputError:
    converted = path.with_name(f"{path.stem}-utf8{path.suffix}")
    return InputError(
        f"{path}: not in UTF-8 but likely in {encoding}: byte {position} is 0x{byte:02x}; save it"
        f" as UTF-8, e.g. iconv -f {encoding.upper()} -t UTF-8 '{path}' > '{converted}'"
    )


def _wide_encoding(raw: bytes) -> str | None:
    """UTF-16 without a mark: nearly every second byte of mostly Latin text is NUL."""
    head = raw[:4096]
    for encoding, start in (("utf-16le", 1), ("utf-16be", 0)):
        high = head[start::2]
        if high and high.count(0) > 0.7 * len(high) and not head[1 - start :: 2].count(0):
            return encoding
    return None


def _single_byte_encoding(raw: bytes) -> str:
    try:
        raw.decode("cp1252")
    except UnicodeDecodeError:
        return "latin1"
    return "cp1252"


def _read_csv(path: Path, raw: bytes) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            # Without this, a row longer than the header only warns and loses its last cells.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                io.BytesIO(raw),
                dtype=str,
                encoding="utf-8-sig",
                index_col=False,
                keep_default_na=False,
                na_values=[""],
            )
    except pd.errors.ParserWarning:
        reason = "records have more cells than the header has columns"
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
    raise InputError(
        f"{path}: not a table: {' '.join(reason.split())}; separate cells with commas and quote"
        " those that hold commas, quotes or line breaks"
    )


def _read_json_lines(path: Path, raw: bytes) -> pd.DataFrame:
    records = []
    for number, line in enumerate(raw.decode("utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
            raise _not_json_lines(path, number, f"is not JSON ({reason})") from None
        if not isinstance(record, dict):
            raise _not_json_lines(path, number, f"holds a {type(record).__name__}")
        records.append({name: _json_cell(value) for name, value in record.items()})
    return pd.DataFrame(records, dtype=object)


def _not_json_lines(path: Path, number: int, problem: str) -> InputError:
    return InputError(
        f"{path}: not a table: line {number} {problem}, but each line must be one JSON object;"
        " write JSON Lines, or a CSV"
    )


def _json_cell(value: object) -> object:
    if value is None or value == "":
        return float("nan")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Half of a surrogate pair is valid in JSON, but can be written to no file.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_parquet(path: Path, raw: bytes) -> pd.DataFrame:
    try:
        # Nullable types keep whole numbers whole beside missing cells.
        table = pd.read_parquet(io.BytesIO(raw), dtype_backend="numpy_nullable")
    except (ValueError, OSError) as error:  # pyarrow's errors derive from these
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path}: not a Parquet file: {reason}; write it again, or give a CSV"
        ) from None
    table = table.reset_index(drop=True)
    cells = {str(name): [_cell(value) for value in column] for name, column in table.items()}
    return pd.DataFrame(cells, dtype=object)


def _cell(value: object) -> object:
    if value is None or value is pd.NA or value != value or value == "":
        return float("nan")
    return str(value)
