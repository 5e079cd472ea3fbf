"""Seeded damage to files: bytes at random, tokens that matter to a format, values of other types.

Everything here is a function of the rng that it is given, so that a number repeats it.
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
"""Values that no field expects, or that are allowed in some fields only."""


def _position(content: bytes, rng: random.Random) -> int:
    return rng.randrange(len(content) + 1)


def _span(content: bytes, rng: random.Random) -> tuple[int, int]:
    """Return two positions, mostly near each other."""
    start = _position(content, rng)
    return start, min(len(content), start + int(rng.paretovariate(0.5)))


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 30)) if content else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _flip_first(content: bytes, rng: random.Random) -> bytes:
    """Change bytes among the first, where formats keep lengths and marks."""
    return _flip(content[:16], rng) + content[16:]


def _delete(content: bytes, rng: random.Random) -> bytes:
    start, stop = _span(content, rng)
    return content[:start] + content[stop:]


def _duplicate(content: bytes, rng: random.Random) -> bytes:
    start, stop = _span(content, rng)
    return content[:stop] + content[start:stop] * rng.choice((1, 1, 9)) + content[stop:]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: _position(content, rng)]


def _swap(content: bytes, rng: random.Random) -> bytes:
    first, second, third = sorted(_position(content, rng) for _ in range(3))
    return content[:first] + content[second:third] + content[first:second] + content[third:]


def _reencode(content: bytes, rng: random.Random) -> bytes:
    text = content.decode("utf-8", errors="replace")
    encoding = rng.choice(("utf-16", "utf-16-be", "utf-32", "utf-8-sig", "cp1252", "utf-7"))
    return text.encode(encoding, errors="replace")


def _lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines[: rng.randrange(len(lines) + 1)] * rng.choice((1, 1, 2)))


def _empty(_content: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", b"\n", b" ", b"\0" * 64, b"{}", b"[]", b"null", b"\x80\x04K\x01."))


_CHANGES: tuple[Change, ...] = (
    *(_flip, _flip_first, _delete, _duplicate, _truncate, _swap, _reencode, _lines, _empty),
)


def mutated_bytes(content: bytes, rng: random.Random, tokens: Sequence[bytes] = ()) -> bytes:
    """Return `content` with a few changes; about half of them insert `tokens` of a format."""
    for _ in range(rng.randint(1, _MOST_CHANGES)):
        if rng.random() < 0.5:
            position = _position(content, rng)
            token = rng.choice((*ANY_FORMAT, *tokens, *tokens))
            content = content[:position] + token + content[position:]
        else:
            content = rng.choice(_CHANGES)(content, rng)
    return content


def mutated_values(values: Any, rng: random.Random) -> Any:
    """Return a copy of JSON values in which a value or key is changed."""
    values = json.loads(json.dumps(values))
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        _change_a_value(values, rng)
    return values


def _change_a_value(values: Any, rng: random.Random) -> None:
    containers = [container for container in _containers(values) if container]
    if not containers:
        return
    container = rng.choice(containers)
    key = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
    kind = rng.random()
    if kind < 0.75:
        container[key] = copy.deepcopy(rng.choice(EXTREMES))
    elif kind < 0.85:
        del container[key]
    elif kind < 0.95 and isinstance(container, dict):
        container[rng.choice((f"{key}s", "", "__class__", "x\ny", "x" * 5000))] = container.pop(key)
    else:
        container[key] = [container[key]]


def _containers(value: Any) -> list[Any]:
    """Return every mapping and list in `value`, including `value` itself."""
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(container for item in inner for container in _containers(item))]


def mutate_file(path: Path, rng: random.Random) -> None:
    """Change one file in its position, by its format's values where it has some."""
    content = path.read_bytes()
    if path.suffix == ".json" and rng.random() < 0.6:
        changed = mutated_values(json.loads(content), rng)
        path.write_text(json.dumps(changed), encoding="utf-8")
    elif path.suffix == ".yaml" and rng.random() < 0.5:
        changed = mutated_values(yaml.safe_load(content), rng)
        path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    elif path.suffix == ".csv" and rng.random() < 0.5:
        path.write_bytes(_mutated_cells(content, rng))
    elif path.suffix == ".safetensors" and rng.random() < 0.6:
        path.write_bytes(_mutated_safetensors(content, rng))
    else:
        tokens = {".json": JSON, ".csv": CSV, ".jsonl": JSON, ".yaml": YAML}.get(path.suffix, ())
        path.write_bytes(mutated_bytes(content, rng, tokens))


def _mutated_cells(content: bytes, rng: random.Random) -> bytes:
    """A table with some cells changed, and still a table."""
    table = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    for _ in range(rng.choice((1, 1, 3, 30))):
        row = rng.choice(table[: rng.choice((1, len(table)))])
        row[rng.randrange(len(row))] = str(rng.choice(EXTREMES))
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue().encode("utf-8", errors="replace")


def _mutated_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Return the file with another header, or with a wrong length of the header."""
    length = int.from_bytes(content[:8], "little")
    header, rest = content[8 : 8 + length], content[8 + length :]
    if rng.random() < 0.3:
        stated = rng.choice((0, 1, length - 1, length + 1, len(content), 2**31, 2**63, 2**64 - 1))
        return stated.to_bytes(8, "little") + header + rest
    changed = json.dumps(mutated_values(json.loads(header), rng)).encode()
    return len(changed).to_bytes(8, "little") + changed + rest


def mutate_directory(directory: Path, rng: random.Random) -> None:
    """Change a file of a directory, or which files there are."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    # Half of the time a file whose values can be changed, and not only its bytes.
    described = [path for path in files if path.suffix in (".json", ".csv", ".yaml")]
    path, other = rng.choice((*files, *described, *described)), rng.choice(files)
    kind = rng.random()
    if kind < 0.8:
        mutate_file(path, rng)
    elif kind < 0.9:
        _replace(path, other, rng)
    else:
        path.unlink()
        if rng.random() < 0.5:
            other.unlink(missing_ok=True)


def _replace(path: Path, other: Path, rng: random.Random) -> None:
    """Replace `path` by a link, a directory or a file of another kind."""
    content = other.read_bytes()
    path.unlink()
    kind = rng.randrange(4)
    if kind == 0:
        path.symlink_to(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to(rng.choice(("/dev/null", "/etc/passwd", "nowhere", ".")))
    else:
        path.write_bytes(content)
