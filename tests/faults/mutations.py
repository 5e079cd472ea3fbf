"""Seeded damage to files: bytes at random, tokens that matter to a format, values of other types.

Everything here is a function of the generator that it is given, so that a number repeats it.
"""

import copy
import csv
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

Change = Callable[[bytes, random.Random], bytes]

_MOST_CHANGES = 4

ANY_FORMAT = (
    *(b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\xed\xa0\x80", b"\x1a", b"\x1b[31m"),
    *("\u2028".encode(), "\u202e".encode(), "\U0001f621".encode(), b"\r", b"\n", b"\t"),
    *(b"NaN", b"-inf", b"1e400", b"9" * 5000, b"-1", b"1_0", b"x" * 200_000),
)
CSV = (
    *(b'"', b'""', b",", b"\r\n", b'"' * 999, b"," * 999, b'\n"', b'",', b"=cmd|'/c calc'!A1"),
    *(b"\n\n\n", b"text", b"error", b";", b"\\", b"'"),
)
JSON = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"null", b"true", b'"\\ud800"'),
    *(b'"\\u0000"', b"[" * 3000, b'{"a":' * 3000, b"Infinity", b"{}", b'"__class__":1,'),
)
YAML = (
    *(b"!!python/object/apply:os.mkdir [pwned]", b"!!python/name:os.system ", b"!!binary ="),
    *(b"!!int x", b"!!timestamp x", b"!!set ", b"!a!b ", b"%TAG ! x:\n---\n", b"%YAML 9.9\n---\n"),
    *(b"&a ", b"*a ", b"&a [*a, *a]", b"<<: *a\n", b"<<: {x: 1}\n", b"? ", b"- ", b": ", b"# "),
    *(b"|", b">", b"{", b"[", b"}", b"]", b"---\n", b"...\n", b"~", b".nan", b"0x1F", b"@", b"`"),
    *(b"[" * 3000, b"{a: " * 3000, b"'", b'"', b"\\", b"2026-01-01", b"=", b"\n  "),
)
BILLION_LAUGHS = b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 10)
)

EXTREMES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, 1e-320, 1e308, -1e308, 2**31, 2**32, 2**63, 2**64),
    *(10**30, float("nan"), float("inf"), "", " ", "x", "0", "-1", "1e-3", "nan", "inf", "null"),
    *(
        "1e400",
        "9" * 5000,
        "x" * 100_000,
        "\0",
        "\n",
        "a\nb",
        "\u2028",
        "\u202e",
        "..",
        "../x",
        "/",
    ),
    *(
        "-",
        "~",
        "~nobody/x",
        "/dev/zero",
        "memory://",
        "http://[",
        "\U0001f621",
        "train",
        "[",
        "{}",
    ),
    *([], {}, [[]], [{}], {"": ""}, {"a": {"b": {"c": 1}}}, ["x"] * 1000, [None], [1, "x", None]),
)
"""Values that no field expects, or that some field may and another must not have."""


def _place(content: bytes, draws: random.Random) -> int:
    return draws.randrange(len(content) + 1)


def _span(content: bytes, draws: random.Random) -> tuple[int, int]:
    """Two places, mostly near each other."""
    start = _place(content, draws)
    return start, min(len(content), start + int(draws.paretovariate(0.5)))


def _flip(content: bytes, draws: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draws.choice((1, 1, 3, 30)) if content else 0):
        changed[draws.randrange(len(changed))] = draws.randrange(256)
    return bytes(changed)


def _flip_first(content: bytes, draws: random.Random) -> bytes:
    """One byte among the first: formats keep lengths and marks there."""
    return _flip(content[:16], draws) + content[16:]


def _delete(content: bytes, draws: random.Random) -> bytes:
    start, stop = _span(content, draws)
    return content[:start] + content[stop:]


def _duplicate(content: bytes, draws: random.Random) -> bytes:
    start, stop = _span(content, draws)
    return content[:stop] + content[start:stop] * draws.choice((1, 1, 9)) + content[stop:]


def _truncate(content: bytes, draws: random.Random) -> bytes:
    return content[: _place(content, draws)]


def _swap(content: bytes, draws: random.Random) -> bytes:
    first, second, third = sorted(_place(content, draws) for _ in range(3))
    return content[:first] + content[second:third] + content[first:second] + content[third:]


def _reencode(content: bytes, draws: random.Random) -> bytes:
    text = content.decode("utf-8", errors="replace")
    encoding = draws.choice(("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "cp1252", "utf-7"))
    return text.encode(encoding, errors="replace")


def _lines(content: bytes, draws: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    draws.shuffle(lines)
    return b"".join(lines[: draws.randrange(len(lines) + 1)] * draws.choice((1, 1, 2)))


def _empty(_content: bytes, draws: random.Random) -> bytes:
    return draws.choice((b"", b"\n", b" ", b"\0" * 64, b"{}", b"[]", b"null", b"\x80\x04K\x01."))


_CHANGES: tuple[Change, ...] = (
    *(_flip, _flip_first, _delete, _duplicate, _truncate, _swap, _reencode, _lines, _empty),
)


def mutated_bytes(content: bytes, draws: random.Random, tokens: Sequence[bytes] = ()) -> bytes:
    """`content` with a few changes, about half of them insertions of a format's `tokens`."""
    for _ in range(draws.randint(1, _MOST_CHANGES)):
        if draws.random() < 0.5:
            place = _place(content, draws)
            token = draws.choice((*ANY_FORMAT, *tokens, *tokens))
            content = content[:place] + token + content[place:]
        else:
            content = draws.choice(_CHANGES)(content, draws)
    return content


def mutated_values(values: Any, draws: random.Random) -> Any:
    """A copy of plain values, such as JSON holds, with one value or key somewhere in it changed."""
    values = json.loads(json.dumps(values))
    for _ in range(draws.choice((1, 1, 1, 2, 5))):
        _change_a_value(values, draws)
    return values


def _change_a_value(values: Any, draws: random.Random) -> None:
    holders = [holder for holder in _holders(values) if holder]
    if not holders:
        return
    holder = draws.choice(holders)
    key = draws.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    kind = draws.random()
    if kind < 0.75:
        holder[key] = copy.deepcopy(draws.choice(EXTREMES))
    elif kind < 0.85:
        del holder[key]
    elif kind < 0.95 and isinstance(holder, dict):
        holder[draws.choice((f"{key}s", "", "__class__", "x\ny", "x" * 5000))] = holder.pop(key)
    else:
        holder[key] = [holder[key]]


def _holders(value: Any) -> list[Any]:
    """Every mapping and list in `value`, itself included."""
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(holder for item in inner for holder in _holders(item))]


def mutate_file(path: Path, draws: random.Random) -> None:
    """Change one file in its place, by its format's values where it has some."""
    content = path.read_bytes()
    if path.suffix == ".json" and draws.random() < 0.6:
        changed = mutated_values(json.loads(content), draws)
        path.write_text(json.dumps(changed), encoding="utf-8")
    elif path.suffix == ".yaml" and draws.random() < 0.5:
        changed = mutated_values(yaml.safe_load(content), draws)
        path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    elif path.suffix == ".csv" and draws.random() < 0.5:
        path.write_bytes(_mutated_cells(content, draws))
    elif path.suffix == ".safetensors" and draws.random() < 0.6:
        path.write_bytes(_mutated_safetensors(content, draws))
    else:
        tokens = {".json": JSON, ".csv": CSV, ".jsonl": JSON, ".yaml": YAML}.get(path.suffix, ())
        path.write_bytes(mutated_bytes(content, draws, tokens))


def _mutated_cells(content: bytes, draws: random.Random) -> bytes:
    """A table with some cells changed, and still a table."""
    table = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    for _ in range(draws.choice((1, 1, 3, 30))):
        row = draws.choice(table[: draws.choice((1, len(table)))])
        row[draws.randrange(len(row))] = str(draws.choice(EXTREMES))
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue().encode("utf-8", errors="replace")


def _mutated_safetensors(content: bytes, draws: random.Random) -> bytes:
    """Another header, or one whose stated length is not its own."""
    length = int.from_bytes(content[:8], "little")
    header, rest = content[8 : 8 + length], content[8 + length :]
    if draws.random() < 0.3:
        stated = draws.choice((0, 1, length - 1, length + 1, len(content), 2**31, 2**63, 2**64 - 1))
        return stated.to_bytes(8, "little") + header + rest
    changed = json.dumps(mutated_values(json.loads(header), draws)).encode()
    return len(changed).to_bytes(8, "little") + changed + rest


def mutate_directory(directory: Path, draws: random.Random) -> None:
    """Change a file of a directory, or which files there are."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    # Half of the time one whose values can be changed, and not only its bytes.
    described = [path for path in files if path.suffix in (".json", ".csv", ".yaml")]
    path, other = draws.choice((*files, *described, *described)), draws.choice(files)
    kind = draws.random()
    if kind < 0.8:
        mutate_file(path, draws)
    elif kind < 0.9:
        _replace(path, other, draws)
    else:
        path.unlink()
        if draws.random() < 0.5:
            other.unlink(missing_ok=True)


def _replace(path: Path, other: Path, draws: random.Random) -> None:
    """Put something that is no file of this kind where `path` was."""
    content = other.read_bytes()
    path.unlink()
    kind = draws.randrange(4)
    if kind == 0:
        path.symlink_to(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to(draws.choice(("/dev/null", "/etc/passwd", "nowhere", ".")))
    else:
        path.write_bytes(content)
