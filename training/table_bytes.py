"""Open a table at a path, a URI or a pipe: fetch it, unpack it and find its file format.

The first bytes decide the format; the file name decides only between CSV and JSON Lines. Files of
other formats and encodings are refused with an error that names them.
"""

import io
import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import urlsplit

import fsspec
import pyarrow as pa

from training.errors import InputError

Format = Literal["csv", "jsonl", "parquet"]
Codec = Literal["gzip", "bz2", "zstd"]

_ENDINGS: dict[str, Format] = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
_CODEC_ENDINGS: dict[str, Codec] = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_CODEC_MARKS: tuple[tuple[bytes, Codec], ...] = (
    (b"\x1f\x8b", "gzip"),
    *((b"BZh%d1AY&SY" % level, "bz2") for level in range(1, 10)),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_PARQUET_MARK = b"PAR1"
_SAVE_AS = "open it there and save the table as CSV in UTF-8"
_UNPACK = "unpack it, or give the table itself or as .gz, .bz2 or .zst"
_CONVERT = "write the table as CSV, JSON Lines or Parquet"
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file", _SAVE_AS),
    (b"%PDF-", "a PDF", "tables cannot be read out of it; give the data that it was made of"),
    (b"{\\rtf", "a rich text file (RTF)", "save it as plain text in UTF-8"),
    (b"<?xml", "XML", _CONVERT),
    (b"<!doctype html", "a web page (HTML)", "download the file itself, not the page about it"),
    (b"<html", "a web page (HTML)", "download the file itself, not the page about it"),
    (b"SQLite format 3\0", "an SQLite database", _CONVERT),
    (b"\xfd7zXZ\0", "packed with xz", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x04\x22\x4d\x18", "packed with LZ4", _UNPACK),
    (b"ARROW1\0\0", "an Arrow or Feather file", _CONVERT),
    (b"FEA1\0", "a Feather file", _CONVERT),
    (b"Obj\x01", "an Avro file", _CONVERT),
    (b"\x89HDF\r\n", "an HDF5 file", _CONVERT),
    (b"\x93NUMPY", "a NumPy file", _CONVERT),
    (b"\x80\x04\x95", "a Python pickle, which is never opened", _CONVERT),
    (b"\x80\x05\x95", "a Python pickle, which is never opened", _CONVERT),
    (b"\x89PNG\r\n", "a picture", _CONVERT),
    (b"\xff\xd8\xff", "a picture", _CONVERT),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
)
_WIDE_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")
_HEAD_BYTES = 65_536
_LONGEST_BLANK = 10_000_000
_UTF8_MARK = b"\xef\xbb\xbf"
_SECRET = re.compile(r"://[^/]*@|://[^/@]*:(?!\d+/)[^@]*@|\?")
"""Passwords may hold slashes; digits up to a slash are a port."""

_copies: list[tempfile.TemporaryDirectory[str]] = []
"""Directories of the copies, removed when the process ends."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The unpacked bytes of a table."""

    where: str
    """Start of messages: the path, or the option that names it."""
    name: str
    format: Format
    stream: BinaryIO
    """Starts at the first byte; for Parquet a seekable file."""
    head: bytes
    """The first bytes, at least up to the first line that is not blank."""


def format_of(name: str) -> Format | None:
    """Return the format that a file name's ending stands for, ignoring .gz and the like."""
    path = PurePath(name)
    if path.suffix.lower() in _CODEC_ENDINGS:
        path = path.with_suffix("")
    return _ENDINGS.get(path.suffix.lower())


def codec_of(name: str) -> Codec | None:
    """Return the compression that a file name's ending stands for; None: there is none."""
    return _CODEC_ENDINGS.get(PurePath(name).suffix.lower())


@contextmanager
def open_source(file: Any, *, name: str, where: str) -> Iterator[Source]:
    """Unpack a table and find its format.

    Args:
        file: opened unbuffered for bytes; a pipe is read as its bytes arrive.
        name: of the file; `-`: no ending.
        where: start of every message.

    Raises:
        InputError: it is compressed but damaged, or not CSV, JSON Lines or Parquet.
    """
    head = _read_head(file)
    codec = next((codec for mark, codec in _CODEC_MARKS if head.startswith(mark)), None)
    stream: BinaryIO = _joined(head, file)
    if codec is not None:
        packed = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), codec)
        stream = cast("BinaryIO", io.BufferedReader(_Unpacked(packed, where)))
        head = _read_head(stream)
        stream = _joined(head, stream)
    if head.startswith(_PARQUET_MARK):
        with _seekable(stream, file, is_plain=codec is None) as seekable:
            yield Source(where=where, name=name, format="parquet", stream=seekable, head=head)
        return
    _refuse_foreign(head, name, where)
    _refuse_wide(head, name, where)
    begins = head.removeprefix(_UTF8_MARK).lstrip()
    found = format_of(name)
    if found == "parquet":
        found_instead = "empty" if not head.strip() else "not a Parquet file"
        raise InputError(f"{where}: the file is {found_instead}; write it again, or give a CSV")
    found = found or ("jsonl" if begins.startswith(b"{") else "csv")
    if found == "jsonl" and begins.startswith(b"["):
        raise InputError(
            f"{where}: holds one JSON list, but each line must be one JSON object; write JSON"
            " Lines, e.g. jq -c '.[]' list.json > lines.jsonl"
        )
    if b"\r" in begins and b"\n" not in head and len(begins.split(b"\r", 1)[1]) > 0:
        raise InputError(
            f"{where}: its lines end with a bare carriage return, but must end with a line feed;"
            " convert them, e.g. tr '\\r' '\\n' < old > new"
        )
    yield Source(where=where, name=name, format=found, stream=stream, head=head)


def encoding_problem(source: Source, line: int, text: str) -> str:
    """Explain what to do about a line that is not UTF-8.

    Args:
        source: of the line.
        line: its number, from 1.
        text: of the line, decoded with `surrogateescape`.
    """
    raw = text.encode("utf-8", errors="surrogateescape")
    if any(byte < 32 and byte not in _TEXT_CONTROLS for byte in raw[:4096]):
        return (
            f"{source.where}: not a table: line {line} holds binary data; give a CSV, JSON Lines"
            " (.jsonl) or Parquet (.parquet) file"
        )
    try:
        raw.decode("cp1252")
        encoding = "cp1252"
    except UnicodeDecodeError:
        encoding = "latin1"
    wrong = ord(next(c for c in text if "\udc80" <= c <= "\udcff")) - 0xDC00
    return (
        f"{source.where}: not in UTF-8 but likely in {encoding}: line {line} holds the byte"
        f" 0x{wrong:02x}; save it as UTF-8, {_iconv(source.name, encoding)}"
    )


def local_copy(uri: str) -> Path:
    """Return a local copy of the file at a URI, fetched once and kept until the process ends.

    Raises:
        InputError: it cannot be read, or the URI holds a password.
    """
    if _SECRET.search(uri):
        scheme = uri.partition("://")[0]
        raise InputError(
            f"data.path is a URI of {scheme}://, but must hold no user, password or query, which"
            " the run's files would contain; give credentials in the environment"
        )
    return _fetched(uri)


def _refuse_foreign(head: bytes, name: str, where: str) -> None:
    begins = head.removeprefix(_UTF8_MARK).lstrip()
    for mark, kind, next_step in _FOREIGN:
        if not (head.startswith(mark) or begins.lower().startswith(mark)):
            continue
        if mark == b"PK\x03\x04" and _is_workbook(head, name):
            kind, next_step = "an Excel or OpenDocument file", _SAVE_AS
        raise InputError(
            f"{where}: not a table: it is {kind}, but must be CSV, JSON Lines or Parquet;"
            f" {next_step}"
        )
    if head[257:262] == b"ustar":
        raise InputError(
            f"{where}: not a table: it is a tar archive, but must be CSV, JSON Lines or Parquet;"
            f" {_UNPACK}"
        )


def _is_workbook(head: bytes, name: str) -> bool:
    is_named = PurePath(name).suffix.lower() in (".xlsx", ".xlsm", ".xlsb", ".ods")
    return is_named or b"[Content_Types].xml" in head or b"opendocument" in head


def _refuse_wide(head: bytes, name: str, where: str) -> None:
    """Refuse a NUL byte in the first line: the encoding is a wide one, or the file is no table.

    In later lines a NUL byte is an odd character of one text and no reason to refuse the table.
    """
    nul = head.partition(b"\n")[0].find(b"\0")
    wide = next((encoding for mark, encoding in _WIDE_MARKS if head.startswith(mark)), None)
    if wide is None and nul >= 0:
        wide = _wide_encoding(head)
    if wide is not None:
        raise InputError(
            f"{where}: not in UTF-8 but likely in {wide}; save it as UTF-8, {_iconv(name, wide)}"
        )
    if nul >= 0:
        raise InputError(
            f"{where}: not a table: byte {nul} is NUL, which no first line of text holds; give a"
            " CSV, JSON Lines or Parquet file"
        )


def _iconv(name: str, encoding: str) -> str:
    path = PurePath("table.csv" if name == "-" else name)
    converted = path.with_name(f"{path.stem}-utf8{path.suffix}")
    return f"e.g. iconv -f {encoding.upper()} -t UTF-8 '{path}' > '{converted}'"


def _wide_encoding(head: bytes) -> str | None:
    """Recognise UTF-16 without a mark: nearly every second byte of Latin text is NUL."""
    for encoding, start in (("utf-16le", 1), ("utf-16be", 0)):
        high, low = head[start:4096:2], head[1 - start : 4096 : 2]
        if high and high.count(0) > 0.7 * len(high) and not low.count(0):
            return encoding
    return None


def _read_head(file: Any) -> bytes:
    """Read what is available, and more only until one line that is not blank is complete."""
    read = getattr(file, "read1", file.read)
    head = b""
    while part := read(_HEAD_BYTES):
        head += part
        is_packed = any(head.startswith(mark) for mark, _ in _CODEC_MARKS)
        if is_packed or b"\n" in head.lstrip() or len(head) >= _LONGEST_BLANK:
            break
    return head


def _joined(head: bytes, file: Any) -> BinaryIO:
    return io.BufferedReader(_Joined(head, file), buffer_size=_HEAD_BYTES)


class _Joined(io.RawIOBase):
    """The bytes that were read already, then the rest of the file as it arrives."""

    def __init__(self, head: bytes, file: Any) -> None:
        self._head, self._file = memoryview(head), file
        self._read = getattr(file, "read1", file.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._head[: len(buffer)] if self._head else self._read(len(buffer))
        buffer[: len(part)] = part
        self._head = self._head[len(part) :]
        return len(part)


class _Unpacked(io.RawIOBase):
    """Unpacked bytes; damage is reported as an input error."""

    def __init__(self, packed: Any, where: str) -> None:
        self._packed, self._where = packed, where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            part = self._packed.read(len(buffer))
        except OSError as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(
                f"{self._where}: packed, but damaged or cut off ({reason}); copy it again"
            ) from error
        buffer[: len(part)] = part
        return len(part)


@contextmanager
def _seekable(stream: BinaryIO, file: Any, *, is_plain: bool) -> Iterator[BinaryIO]:
    """Give the file itself where it is seekable, else a copy on disk."""
    if is_plain and file.seekable():
        file.seek(0)
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield copy


@cache
def _fetched(uri: str) -> Path:
    scratch = tempfile.TemporaryDirectory(prefix="data-")
    _copies.append(scratch)
    copy = Path(scratch.name) / (posixpath.basename(urlsplit(uri).path) or "table")
    try:
        files, path = fsspec.core.url_to_fs(uri)
        files.get_file(path, str(copy))
    except ImportError as error:
        raise InputError(f"data.path is {uri!r}, but {error}; install it with pip") from error
    except Exception as error:  # each kind of storage raises its own classes
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(
            f"data.path is {uri!r}, but it cannot be read ({reason}); check the URI and the"
            " credentials in the environment"
        ) from error
    if not copy.is_file():
        raise InputError(f"data.path is {uri!r}, but there is no file; give the URI of a table")
    return copy
