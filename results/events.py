"""What happened last in a run, read from the end of its log."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from results.log import printable

_LAST_BYTES = 64 * 1024
"""Of the log, that are looked through."""

_LINE = re.compile(
    r"\d{4}-\d\d-\d\d (?P<at>\d\d:\d\d:\d\d),\d+ (?P<level>INFO|WARNING|ERROR) [\w.]+: (?P<text>.+)"
)
_OF_TRIAL = re.compile(
    r"t\d{4,} (completed|stopped|failed|diverged|collapsed|goes on|lost its process)\b"
)


@dataclass(frozen=True, kw_only=True)
class Event:
    """The end of a trial, its going on, or a warning."""

    at: str
    """HH:MM:SS on the clock of the machine that searched."""
    text: str
    is_warning: bool


def read_events(log: Path, num: int) -> tuple[Event, ...]:
    """The last `num` events of a log, the newest last; none where there is no log."""
    if not log.is_file():
        return ()
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - _LAST_BYTES, 0))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    return tuple(events_of(lines))[-num:]


def events_of(lines: Iterable[str]) -> Iterator[Event]:
    """The events among the lines of a log."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        is_warning = found["level"] != "INFO"
        if is_warning or _OF_TRIAL.match(found["text"]):
            yield Event(at=found["at"], text=printable(found["text"]), is_warning=is_warning)
