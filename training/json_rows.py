"""Rows of JSON Lines: every value both as it was written and as text."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from training.cells import NOT_UTF8, TOLD_NOT_UTF8, Cell, Unreadable, whole_characters
from training.table_bytes import Source

_WHITE_SPACE = re.compile(r"[ \t\r\n]*")
# Numbers are never made: their digits are what the file says, and very long ones are refused.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)

TORN = "line"
"""The column that a line which is no row comes out in."""


@dataclass(frozen=True, slots=True)
class Member:
    """One key and value of a row."""

    name: str
    raw: str
    """The value as it was written."""

    @property
    def cell(self) -> Cell:
        """The value as text."""
        first = self.raw[0]
        if first == '"':
            return whole_characters(json.loads(self.raw))
        if first in "[{":
            return Unreadable("a JSON list" if first == "[" else "a JSON object")
        return None if self.raw in ("null", "NaN") else self.raw

    @property
    def text(self) -> str | None:
        """The value for a table without types, where what is nothing is empty."""
        if self.raw[0] == '"':
            return str(json.loads(self.raw))
        return None if self.raw in ("null", "NaN") else self.raw


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonRow:
    """One line, without its end: a row, unless `error` says why not."""

    line: int
    """Its number, from 1."""
    text: str
    members: list[Member]
    """In order, no key twice; of a line that is no row, the line itself under `line`."""
    error: str = ""


def read_json_rows(source: Source) -> Iterator[JsonRow]:
    """Each line that is not blank."""
    lines = io.TextIOWrapper(
        source.stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n"
    )
    for number, line in enumerate(lines, start=1):
        text = line.strip(" \t\r\n")
        if not text:
            continue
        try:
            members = _members(text)
        except (ValueError, RecursionError) as problem:
            error = "nested too deep" if isinstance(problem, RecursionError) else str(problem)
            if isinstance(problem, json.JSONDecodeError):
                error = f"not JSON: {error}"
            whole = [Member(TORN, json.dumps(line.rstrip("\r\n"), ensure_ascii=False))]
            yield JsonRow(line=number, text=text, members=whole, error=error)
        else:
            yield JsonRow(line=number, text=text, members=members)


def _members(text: str) -> list[Member]:
    """The keys and values of an object, each as it was written.

    Raises:
        ValueError: it is no object, or a key stands twice.
        RecursionError: it is nested too deep.
    """
    if NOT_UTF8.search(text):
        raise ValueError(TOLD_NOT_UTF8)
    if text[0] != "{":
        _DECODER.decode(text)
        kind = {"[": "a list", '"': "a string"}.get(text[0], text[:20])
        raise ValueError(f"a row must be a JSON object, not {kind}")
    found: dict[str, Member] = {}
    place = _skip(text, 1)
    closes = text[place : place + 1] == "}"
    while not closes:
        if text[place : place + 1] != '"':
            raise json.JSONDecodeError("a key in double quotes is missing", text, place)
        name, place = _DECODER.raw_decode(text, place)
        place = _skip(text, place)
        if text[place : place + 1] != ":":
            raise json.JSONDecodeError("a colon is missing", text, place)
        start = _skip(text, place + 1)
        _, end = _DECODER.raw_decode(text, start)
        if name in found:
            raise ValueError(f"the key {name!r} stands twice")
        found[name] = Member(name, text[start:end])
        place = _skip(text, end)
        closes = text[place : place + 1] == "}"
        if not closes and text[place : place + 1] != ",":
            raise json.JSONDecodeError("a comma or brace is missing", text, place)
        place = _skip(text, place + 1)
    if not found:
        place = _skip(text, place + 1)
    if place != len(text):
        raise json.JSONDecodeError("text is behind the object", text, place)
    return list(found.values())


def _skip(text: str, place: int) -> int:
    match = _WHITE_SPACE.match(text, place)
    return match.end() if match else place
