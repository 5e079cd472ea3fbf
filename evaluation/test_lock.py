"""The lock on the test rows: each opening is written down before a row is read."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from evaluation.winner import Winner
from results.errors import RunError
from results.files import read_csv, write_json
from results.run import TEST_REPORT, Run

FIRST_REASON = "first opening"

_DIRECTORY = re.compile(r"final(-[1-9][0-9]{0,5})?")

State = Literal["opened", "seen", "complete"]
"""`opened`: rows were read, no number is written; `seen`: numbers may be written; `complete`: all
files are written. The first counts as no look at the test, and only the last is over."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One time that the test rows were opened."""

    at: str
    """UTC, ISO 8601."""
    reason: str
    directory: str
    """Where its results are, in the run."""
    model_sha256: str
    """Of the weights that met the test rows."""
    state: State


def _read(item: dict[str, Any]) -> Opening:
    opening = Opening(**item)
    values = asdict(opening)
    if wrong := [name for name, value in values.items() if not isinstance(value, str)]:
        raise TypeError(f"{wrong[0]} is {values[wrong[0]]!r}, but must be text")
    # What is written there, and removed, must lie in the run.
    if not _DIRECTORY.fullmatch(opening.directory):
        raise ValueError(f"directory is {opening.directory!r}, but must be final or final-NUMBER")
    if opening.state not in get_args(State):
        raise ValueError(
            f"state is {opening.state!r}, but must be one of {', '.join(get_args(State))}"
        )
    return opening


@dataclass(frozen=True)
class TestLock:
    """The openings of one run's test rows."""

    __test__ = False  # the name is about test rows, not for pytest

    run: Run

    @property
    def path(self) -> Path:
        """The file that lists the openings."""
        return self.run.test_openings

    def openings(self) -> list[Opening]:
        """All openings so far.

        Raises:
            RunError: the file cannot be read, so that nobody knows whether the test was opened.
        """
        found = []
        try:
            if self.path.exists():
                found = [_read(item) for item in json.loads(self.path.read_text("utf-8"))]
        except (OSError, RecursionError, ValueError, TypeError) as error:
            raise RunError(
                f"{self.path}: cannot be read ({error}), so it is unknown whether the test was"
                " opened; restore the file"
            ) from error
        report = self.run.directory / "final" / "reports" / TEST_REPORT
        if not found and report.exists():
            raise RunError(
                f"{self.path}: it names no opening, but {report} was written by one; restore the"
                " file"
            )
        return found

    def next_directory(self, reopen_reason: str | None) -> Path:
        """Where the results go: `final`, then `final-2`, ...; that of an unfinished opening again.

        An opening that was broken off while its results were written goes on in its place:
        without a reason, or with its own. One that was broken off before is begun again, which
        takes what it took: for a second opening a reason.

        Raises:
            RunError: the test was opened before and no reason for another time is given, or the
                reason is empty.
        """
        if reopen_reason is not None and not reopen_reason.strip():
            raise RunError(
                f"--reopen-test is {reopen_reason!r}, but must be a reason, which is written down;"
                ' give --reopen-test "REASON"'
            )
        counted = [opening for opening in self.openings() if opening.state != "opened"]
        if counted and counted[-1].state == "seen" and reopen_reason in (None, counted[-1].reason):
            return self.run.directory / counted[-1].directory
        if counted and reopen_reason is None:
            first = counted[0]
            raise RunError(
                f"run {self.run.directory}: its test rows were opened at {first.at}, but may be"
                " opened once, since every look makes the next result less honest; see"
                f' {first.directory}/, or give --reopen-test "REASON"'
            )
        number = len(counted) + 1
        return self.run.directory / ("final" if number == 1 else f"final-{number}")

    def open(self, directory: Path, reopen_reason: str | None, *, model_sha256: str) -> None:
        """Write down that the test rows are opened now, or go on with an unfinished opening.

        Raises:
            RunError: another process has opened them in the meantime, or an opening that was
                broken off would go on with another model.
        """
        if self.next_directory(reopen_reason) != directory:
            raise RunError(
                f"run {self.run.directory}: its test rows were opened by another process while"
                f" this one trained for {directory.name}/; start again to open them once more"
            )
        before = self.openings()
        if before and before[-1].directory == directory.name:
            if before[-1].state == "seen":
                self._check_same_model(before[-1], model_sha256)
            if before[-1].model_sha256 == model_sha256:
                return
        opening = Opening(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            reason=reopen_reason or FIRST_REASON,
            directory=directory.name,
            model_sha256=model_sha256,
            state="opened",
        )
        self._write([*before, opening])

    def mark(self, state: State) -> None:
        """Write down how far the last opening has come."""
        *before, last = self.openings()
        self._write([*before, replace(last, state=state)])

    def as_report(self) -> list[dict[str, Any]]:
        """`test_openings` of the evaluation report."""
        return [{"at": opening.at, "reason": opening.reason} for opening in self.openings()]

    def _check_same_model(self, opening: Opening, model_sha256: str) -> None:
        if opening.model_sha256 != model_sha256:
            raise RunError(
                f"run {self.run.directory}: {opening.directory}/ was broken off while its results"
                f" were written, with weights of SHA-256 {opening.model_sha256[:12]}..., but they"
                f" are {model_sha256[:12]}... now, which would be another look at the test rows;"
                ' give --reopen-test "REASON", with a reason that was not given before'
            )

    def _write(self, openings: list[Opening]) -> None:
        write_json(self.path, [asdict(opening) for opening in openings])


def earlier_openings(winner: Winner) -> list[dict[str, Any]]:
    """Openings by runs in the same directory that share test rows with this one.

    A lock is of one run; a second search on the same file with the same split would meet the same
    rows again. Runs that cannot be read, and those kept elsewhere, are not known.

    Returns:
        [{`run` (name), `at`, `reason`, `rows` (test rows of this run among that one's)}], the
        oldest first.
    """
    found = list(_of_siblings(winner))
    return sorted(found, key=lambda opening: str(opening["at"]))


def describe_earlier(openings: list[dict[str, Any]]) -> str:
    """A sentence to stand behind the result; empty if there was no earlier look."""
    if not openings:
        return ""
    last = openings[-1]
    times = "once" if len(openings) == 1 else f"{len(openings)} times"
    return (
        f" Other runs opened these test rows before, {times} (last by {last['run']} at"
        f" {last['at']}): what was chosen after such a look makes this result too good."
    )


def _of_siblings(winner: Winner) -> Iterator[dict[str, Any]]:
    ours = {str(row) for row in winner.data.test_rows.tolist()}
    for path in winner.run.directory.parent.glob("*/test_openings.json"):
        run = Run(path.parent)
        if run.directory == winner.run.directory:
            continue
        try:
            if run.read_record()["data"]["sha256"] != winner.data.summary.sha256:
                continue
            openings = TestLock(run).openings()
            theirs = {line["row"] for line in read_csv(run.splits) if line["split"] == "test"}
        except (RunError, KeyError, OSError, ValueError):
            continue
        if shared := len(ours & theirs):
            for opening in openings:
                if opening.state != "opened":
                    yield {
                        "run": run.directory.name,
                        "at": opening.at,
                        "reason": opening.reason,
                        "rows": shared,
                    }
