"""Markdown made of text that others wrote: it is shown as it stands and starts nothing."""

import re
from collections.abc import Iterable, Sequence
from html import escape

# What GitHub's Markdown gives a meaning inside a line.
_MARKS = re.compile(r"([\\`*_\[\]|~$])")

# What GitHub's Markdown makes a link, and what at the start of a paragraph makes it a heading, a
# list or a line.
_LINKS = re.compile(r":(?=//)|(?<=www)\.|@", re.IGNORECASE)
_START = re.compile(r"^(?:[#+=-]|([0-9]+)(?=[.)](?:\s|$)))")

# Control characters, and those that turn the direction of the text that follows.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NOT_IN_CODE = re.compile(f"<|{_UNSEEN.pattern}")


def one_line(text: str) -> str:
    """The text with every run of white space as one space and nothing that cannot be seen."""
    line = _UNSEEN.sub("", " ".join(text.split()))
    return line.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is "?"


def sentence_start(text: str) -> str:
    """The text as one line whose first letter is a capital."""
    line = one_line(text)
    return line[:1].upper() + line[1:]


def plain(text: str) -> str:
    """Text as one line in which nothing is markup, at the start of a paragraph neither."""
    line = _MARKS.sub(r"\\\1", escape(one_line(text), quote=False))
    line = _LINKS.sub(r"\\\g<0>", line)
    return _START.sub(lambda found: f"{found[0]}\\" if found[1] else f"\\{found[0]}", line)


def table(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """A table; text is escaped, numbers that are not counts have four decimals."""
    head, *body = ([cell(value) for value in row] for row in (header, *rows))
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: str | float) -> str:
    """One cell of a table."""
    if isinstance(value, str):
        return plain(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def command(line: str) -> str:
    r"""A shell command in a block; `<` and what cannot be seen are written as Bash's `$'\u003c'`.

    In a block of code nothing can be escaped, and the line must stay one that can be run.

    Args:
        line: as `shlex.join` makes it, such characters standing between single quotes.
    """
    shown = _NOT_IN_CODE.sub(lambda found: f"'$'\\u{ord(found[0]):04x}''", line)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}bash\n{shown}\n{fence}\n"
