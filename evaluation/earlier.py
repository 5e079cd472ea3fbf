"""Looks that other runs beside this one had at the same test rows."""

from collections.abc import Iterator
from typing import Any

from evaluation.openings import TestLock
from evaluation.winner import Winner
from results.errors import RunError
from results.files import read_csv
from results.run import Run


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
