"""The lock on the test set: each access is recorded on disk before a test row is read."""

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
from training.errors import InputError
from training.split_texts import read_split_texts

FIRST_REASON = "first evaluation"

_DIRECTORY = re.compile(r"final(-[1-9][0-9]{0,5})?")

State = Literal["opened", "seen", "complete"]
"""How far an access has come.

- `opened`: test rows were read, but no score is written; it does not count as an evaluation.
- `seen`: scores may be written.
- `complete`: all files are written; only this access is finished.
"""


@dataclass(frozen=True, kw_only=True)
class TestAccess:
    """One evaluation of a model on the test set."""

    __test__ = False  # the name is about the test set, not for pytest

    at: str
    """UTC, ISO 8601."""
    reason: str
    directory: str
    """Name of the directory of its results, in the run."""
    model_sha256: str
    """SHA-256 of the weights that were evaluated."""
    state: State
    run: str = ""
    """Name of the run that the search started from and that had the access; empty: this run."""
    rows: int = 0
    """Test rows of this run that such a run was evaluated on."""


@dataclass(frozen=True)
class TestLock:
    """All accesses to the test set of one run, and of the runs that its search started from."""

    __test__ = False  # the name is about the test set, not for pytest

    run: Run

    @property
    def path(self) -> Path:
        """The file that lists the accesses."""
        return self.run.test_openings

    def accesses(self) -> list[TestAccess]:
        """Read all accesses so far, those of earlier runs first.

        Raises:
            RunError: the file cannot be read, so that it is unknown whether a model was evaluated
                on the test set.
        """
        found = []
        try:
            if self.path.exists():
                found = [_parse(item) for item in json.loads(self.path.read_text("utf-8"))]
        except (OSError, RecursionError, ValueError, TypeError) as error:
            raise RunError(
                f"{self.path}: cannot be read ({error}), so it is unknown whether a model was"
                " evaluated on the test set; restore the file"
            ) from error
        report = self.run.directory / "final" / "reports" / TEST_REPORT
        if report.exists() and all(access.run for access in found):
            raise RunError(
                f"{self.path}: it lists no test access, but must list the one that wrote {report};"
                " restore the file"
            )
        return found

    def own_accesses(self) -> list[TestAccess]:
        """Read the accesses of this run.

        Raises:
            RunError: as `accesses`.
        """
        return [access for access in self.accesses() if not access.run]

    def next_directory(self, reopen_reason: str | None) -> Path:
        """Return where the next results go: `final`, then `final-2`, ....

        An access that was interrupted while its results were written is continued in its own
        directory, without a reason or with the reason that it had. An access that was interrupted
        before any score was written is repeated under the conditions of the first attempt: a
        second evaluation needs a reason again. So does the first one, if a run that the search
        started from was evaluated on rows of this test set.

        Raises:
            RunError: a model was evaluated before and no reason for another evaluation is given,
                or the reason is empty.
        """
        if reopen_reason is not None and not reopen_reason.strip():
            raise RunError(
                f"--reopen-test is {reopen_reason!r}, but must be a reason, which is recorded;"
                ' give --reopen-test "REASON"'
            )
        counted = [access for access in self.own_accesses() if access.state != "opened"]
        if counted and counted[-1].state == "seen" and reopen_reason in (None, counted[-1].reason):
            return self.run.directory / counted[-1].directory
        if counted and reopen_reason is None:
            first = counted[0]
            raise RunError(
                f"run {self.run.directory}: a model was evaluated on its test set at {first.at},"
                " but this may be done once, since every further evaluation makes the next result"
                f' less honest; see {first.directory}/, or give --reopen-test "REASON", in Python'
                " reopen_reason"
            )
        if not counted and reopen_reason is None:
            self._check_no_earlier_run()
        number = len(counted) + 1
        return self.run.directory / ("final" if number == 1 else f"final-{number}")

    def open(self, directory: Path, reopen_reason: str | None, *, model_sha256: str) -> None:
        """Record that the test set is accessed now, or continue an unfinished access.

        Raises:
            RunError: another process has accessed the test set in the meantime, or an interrupted
                access would be continued with another model.
        """
        if self.next_directory(reopen_reason) != directory:
            raise RunError(
                f"run {self.run.directory}: another process evaluated a model on the test set"
                f" while this one trained for {directory.name}/, but only one may; start again for"
                " another evaluation"
            )
        before = self.accesses()
        if before and not before[-1].run and before[-1].directory == directory.name:
            if before[-1].state == "seen":
                self._check_same_model(before[-1], model_sha256)
            if before[-1].model_sha256 == model_sha256:
                return
        access = TestAccess(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            reason=reopen_reason or FIRST_REASON,
            directory=directory.name,
            model_sha256=model_sha256,
            state="opened",
        )
        self._write([*before, access])

    def mark(self, state: State) -> None:
        """Record how far the last access has come."""
        *before, last = self.accesses()
        self._write([*before, replace(last, state=state)])

    def as_report(self) -> list[dict[str, Any]]:
        """Return `test_openings` of the evaluation report, the access of this report last.

        An earlier access without scores (`has_scores`) was interrupted: it is no evaluation. One
        of another run has its name (`run`) and the number of `rows` that it shares.
        """
        accesses = self.accesses()
        return [
            {
                "at": access.at,
                "reason": access.reason,
                "has_scores": access.state != "opened" or access is accesses[-1],
                **({"run": access.run, "rows": access.rows} if access.run else {}),
            }
            for access in accesses
        ]

    def _check_no_earlier_run(self) -> None:
        earlier = [access for access in self.accesses() if access.run]
        if earlier:
            last = earlier[-1]
            raise RunError(
                f"run {self.run.directory}: its search started from run {last.run}, a model of"
                f" which was evaluated on {last.rows:,} of the same test rows at {last.at}, so that"
                " this would be no first evaluation; search without search.warm_start on test rows"
                ' that no run was evaluated on, or give --reopen-test "REASON", in Python'
                " reopen_reason"
            )

    def _check_same_model(self, access: TestAccess, model_sha256: str) -> None:
        if access.model_sha256 != model_sha256:
            raise RunError(
                f"run {self.run.directory}: {access.directory}/ was interrupted while its results"
                f" were written, with weights of SHA-256 {access.model_sha256[:12]}..., but the"
                f" weights are {model_sha256[:12]}... now, which would be another evaluation on the"
                ' test set; give --reopen-test "REASON", with a reason that was not given before'
            )

    def _write(self, accesses: list[TestAccess]) -> None:
        write_json(self.path, [asdict(access) for access in accesses])


def _parse(item: dict[str, Any]) -> TestAccess:
    access = TestAccess(**item)
    values = asdict(access)
    if not isinstance(values.pop("rows"), int):
        raise TypeError(f"rows is {access.rows!r}, but must be a number")
    if wrong := [name for name, value in values.items() if not isinstance(value, str)]:
        raise TypeError(f"{wrong[0]} is {values[wrong[0]]!r}, but must be text")
    # Files are written and removed in this directory, so it must lie in the run.
    if not _DIRECTORY.fullmatch(access.directory):
        raise ValueError(f"directory is {access.directory!r}, but must be final or final-NUMBER")
    if access.state not in get_args(State):
        raise ValueError(
            f"state is {access.state!r}, but must be one of {', '.join(get_args(State))}"
        )
    return access


def accesses_of_other_runs(winner: Winner) -> list[dict[str, Any]]:
    """List test accesses by other runs in the same directory that share test rows with this one.

    A lock belongs to one run, but a second search on the same file with the same split has the
    same test rows, and one on a file with more rows may have some of them. Runs that cannot be
    read, and runs in another directory, are not known. Accesses of the runs that the search
    started from are left out: the lock itself lists them.

    Returns:
        [{`run` (name), `at`, `reason`, `rows` (number of test rows that both runs have)}], the
        oldest first.
    """
    listed = {(access.run, access.at) for access in TestLock(winner.run).accesses()}
    found = [one for one in _of_siblings(winner) if (one["run"], one["at"]) not in listed]
    return sorted(found, key=lambda access: str(access["at"]))


def describe_earlier_accesses(accesses: list[dict[str, Any]]) -> str:
    """Return a sentence to add to the result; empty if no other run accessed the test rows."""
    if not accesses:
        return ""
    last = accesses[-1]
    times = "once" if len(accesses) == 1 else f"{len(accesses)} times"
    return (
        f" Other runs were evaluated on these test rows before, {times} (last {last['run']} at"
        f" {last['at']}): if a choice was made after such an evaluation, this result is too"
        " optimistic."
    )


def _of_siblings(winner: Winner) -> Iterator[dict[str, Any]]:
    for path in winner.run.directory.parent.glob("*/test_openings.json"):
        run = Run(path.parent)
        if run.directory == winner.run.directory:
            continue
        try:
            accesses = TestLock(run).own_accesses()
            shared = _num_shared(winner, run)
        except (RunError, InputError, KeyError, OSError, ValueError):
            continue
        if shared:
            for access in accesses:
                if access.state != "opened":
                    yield {
                        "run": run.directory.name,
                        "at": access.at,
                        "reason": access.reason,
                        "rows": shared,
                    }


def _num_shared(winner: Winner, other: Run) -> int:
    """Count the test rows of this run that another one has, too: by number, or else by text."""
    if other.read_record()["data"]["sha256"] == winner.data.summary.sha256:
        ours = {str(row) for row in winner.data.test_rows.tolist()}
        theirs = {line["row"] for line in read_csv(other.splits) if line["split"] == "test"}
        return len(ours & theirs)
    texts = read_split_texts(other.split_texts)
    return 0 if texts is None else winner.data.split_texts.num_tests_shared(texts)
