"""Markdown of untrusted text: escaped so that it is displayed as written and is never markup."""

import re
from collections.abc import Iterable, Sequence
from html import escape

# Characters with a meaning inside a line of GitHub's Markdown.
_MARKS = re.compile(r"([\\`*_\[\]|~$])")

# Text that GitHub's Markdown turns into a link; and text that starts a heading, a list or a rule at
# the start of a paragraph.
_LINKS = re.compile(r":(?=//)|(?<=www)\.|@", re.IGNORECASE)
_START = re.compile(r"^(?:[#+=-]|([0-9]+)(?=[.)](?:\s|$)))")

# Control characters, and characters that change the direction of the text after them.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NOT_IN_CODE = re.compile(f"<|{_UNSEEN.pattern}")


def one_line(text: str) -> str:
    """Return the text in one line, without invisible characters, white space runs as one space."""
    line = _UNSEEN.sub("", " ".join(text.split()))
    return line.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair becomes "?"


def sentence_start(text: str) -> str:
    """Return the text as one line whose first letter is a capital."""
    line = one_line(text)
    return line[:1].upper() + line[1:]


def plain(text: str) -> str:
    """Return the text as one line without markup, also at the start of a paragraph."""
    line = _MARKS.sub(r"\\\1", escape(one_line(text), quote=False))
    line = _LINKS.sub(r"\\\g<0>", line)
    return _START.sub(lambda found: f"{found[0]}\\" if found[1] else f"\\{found[0]}", line)


def table(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """Return a table; text is escaped, and numbers that are not counts have four decimals."""
    head, *body = ([cell(value) for value in row] for row in (header, *rows))
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: str | float) -> str:
    """Return one cell of a table."""
    if isinstance(value, str):
        return plain(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def command(line: str) -> str:
    r"""Return a shell command in a block of code.

    Nothing can be escaped in a block of code, and the command must stay executable, so `<` and
    invisible characters are written as Bash's `$'\u003c'`.

    Args:
        line: as returned by `shlex.join`, which puts such characters between single quotes.
    """
    printable = _NOT_IN_CODE.sub(lambda found: f"'$'\\u{ord(found[0]):04x}''", line)
    longest = max(map(len, re.findall("`+", printable)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}bash\n{printable}\n{fence}\n"
