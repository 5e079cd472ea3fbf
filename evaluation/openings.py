"""The lock on the test rows: each opening is written down before a row is read."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from results.errors import RunError
from results.files import write_json
from results.run import Run

FIRST_REASON = "first opening"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One time that the test rows were opened."""

    at: str
    """UTC, ISO 8601."""
    reason: str
    directory: str
    """Where its results are, in the run."""
    reported: bool
    """Whether a test number was written; until then the opening may be continued."""


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
        if not self.path.exists():
            return []
        try:
            return [Opening(**item) for item in json.loads(self.path.read_text("utf-8"))]
        except (ValueError, TypeError) as error:
            raise RunError(
                f"{self.path}: cannot be read ({error}), so it is unknown whether the test was"
                " opened; restore the file"
            ) from error

    def next_directory(self, reopen_reason: str | None) -> Path:
        """Where the next opening's results go: `final`, then `final-2`, ...

        Raises:
            RunError: the test was opened before and no reason for another time is given, or the
                reason is empty.
        """
        if reopen_reason is not None and not reopen_reason.strip():
            raise RunError(
                f"--reopen-test is {reopen_reason!r}, but must be a reason, which is written down;"
                ' give --reopen-test "REASON"'
            )
        reported = [opening for opening in self.openings() if opening.reported]
        if reported and reopen_reason is None:
            first = reported[0]
            raise RunError(
                f"run {self.run.directory}: its test rows were opened at {first.at}, but may be"
                " opened once, since every look makes the next result less honest; see"
                f' {first.directory}/, or give --reopen-test "REASON"'
            )
        number = len(reported) + 1
        return self.run.directory / ("final" if number == 1 else f"final-{number}")

    def open(self, directory: Path, reopen_reason: str | None) -> None:
        """Write down that the test rows are opened now.

        Raises:
            RunError: another process has opened them in the meantime.
        """
        if self.next_directory(reopen_reason) != directory:
            raise RunError(
                f"run {self.run.directory}: its test rows were opened by another process while"
                f" this one trained for {directory.name}/; start again to open them once more"
            )
        opening = Opening(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            reason=reopen_reason or FIRST_REASON,
            directory=directory.name,
            reported=False,
        )
        # An opening that was broken off before any number is replaced: it showed nothing.
        self._write([*(o for o in self.openings() if o.reported), opening])

    def close(self) -> None:
        """Write down that the numbers of the last opening are there."""
        *before, last = self.openings()
        self._write([*before, Opening(**{**asdict(last), "reported": True})])

    def as_report(self) -> list[dict[str, Any]]:
        """`test_openings` of the evaluation report."""
        return [{"at": opening.at, "reason": opening.reason} for opening in self.openings()]

    def _write(self, openings: list[Opening]) -> None:
        write_json(self.path, [asdict(opening) for opening in openings])
