"""Track a search in Weights & Biases: a run for the search and one a trial, in one group.

The runs share no state with each other or with a run of the user's in the same process
(`reinit="create_new"`). Nothing is collected beside the values that are given: no console output,
host, hardware, packages, code or commit. Offline (`WANDB_MODE=offline`) the runs are files, which
`wandb sync` uploads.
"""

import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.run import Run
from results.tracking import (
    PROJECT,
    REPORT,
    WANDB,
    Outcome,
    Point,
    RunEnding,
    TrackedTrial,
    Value,
    read_parent,
    write_parent,
)

if TYPE_CHECKING:
    import wandb

_ID = re.compile(r"[0-9a-z]{8,32}")
_EXIT_CODES = {RunEnding.FINISHED: 0, RunEnding.FAILED: 1, RunEnding.KILLED: 255}
"""A run that ends with a code other than 0 has failed in W&B; 255 is its own code for killed."""
_TIMEOUT_S = 20.0
_SAVED_EVERY_S = 5.0


def problem_of_login() -> str | None:
    """Return why nobody is logged in, in one line; None: somebody is, or no server is used.

    No server is asked, and the user is not asked for a key in the middle of a search.
    """
    import wandb

    if wandb.setup().settings.mode != "online":
        return None
    try:
        if wandb.login(prompt=False, verify=False):
            return None
        problem = "it has no API key"
    except Exception as error:  # an API key of another form, or a damaged .netrc
        problem = str(error)
    return (
        f"output.tracker is 'wandb', but {' '.join(problem.split())}; run wandb login, or set"
        " WANDB_API_KEY, or set WANDB_MODE=offline"
    )


class WandbTracker:
    """One search in W&B; used by one thread at a time."""

    def __init__(self, run: Run) -> None:
        """Prepare for a run; the first call connects."""
        self._run = run
        self._id = ""
        self._parent: wandb.Run | None = None
        self._children: dict[str, wandb.Run] = {}
        self._sent: dict[str, _Sent] = {}
        self._saved = float("-inf")

    def attach(self) -> bool:
        """Continue the parent whose id the run holds."""
        known = read_parent(self._run, WANDB)
        if not self._id and _ID.fullmatch(str(known.get("parent"))):
            self._id = known["parent"]
            self._sent = _read_sent(known.get("trials"))
        if self._id and self._parent is None:
            self._parent = self._start(self._id, self._run.directory.name, "search", {})
        return bool(self._id)

    def open(self, parameters: Mapping[str, Value], running: Sequence[str]) -> None:
        """Continue or make the parent.

        W&B itself ends runs whose process was killed: their heartbeats end.
        """
        if not self.attach():
            self._id = secrets.token_hex(5)
            self._save(is_due=True)  # before the run is made, so that it is never made twice
            self.attach()
        assert self._parent is not None
        self._parent.config.update(dict(parameters), allow_val_change=True)

    def sync(self, trial: TrackedTrial) -> None:
        """Make the trial's run equal to `trial`."""
        sent = self._sent.setdefault(trial.trial_id, _Sent())
        if trial.ending is not None and sent.ending == trial.ending.name:
            return  # in an earlier start
        if trial.trial_id not in self._children:
            config = {**trial.parameters, "trial_id": trial.trial_id}
            made = self._start(f"{self._id}-{trial.trial_id}", trial.name, trial.kind, config)
            self._children[trial.trial_id] = made
            sent.restart(made.step)
        run = self._children[trial.trial_id]
        for point in trial.points:
            if point.examples > sent.examples:
                run.log({**point.values, "examples": point.examples}, step=point.examples)
                sent.add(point)
        run.summary.update(dict(trial.tags))
        if trial.ending is not None:
            sent.end(trial.ending)
            del self._children[trial.trial_id]  # what does not arrive in time is on disk
            run.finish(_EXIT_CODES[trial.ending])
        self._save(is_due=time.monotonic() > self._saved + _SAVED_EVERY_S)

    def conclude(self, outcome: Outcome) -> None:
        """Add the outcome to the parent and end it."""
        run, self._parent = self._parent, None
        assert run is not None
        self._save(is_due=True)
        run.config.update(dict(outcome.values), allow_val_change=True)
        run.summary.update({**outcome.metrics, **outcome.tags})
        run.notes = outcome.description
        if outcome.report is not None:
            page = Path(run.dir) / REPORT
            page.write_text(outcome.report, "utf-8", errors="replace")
            run.save(page, base_path=run.dir, policy="now")
        run.finish(_EXIT_CODES[outcome.ending])

    def _start(self, run_id: str, name: str, kind: str, config: Mapping[str, Value]) -> "wandb.Run":
        import wandb

        directory = os.environ.get("WANDB_DIR") or self._run.directory / "logs"
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            dir=directory,
            id=run_id,
            name=name,
            group=self._run.directory.name,
            job_type=kind,
            config=dict(config),
            resume="allow",
            reinit="create_new",
            settings=_settings(),
        )

    def _save(self, *, is_due: bool) -> None:
        if is_due:
            trials = {trial_id: asdict(sent) for trial_id, sent in self._sent.items()}
            write_parent(self._run, WANDB, {"parent": self._id, "trials": trials})
            self._saved = time.monotonic()


@dataclass
class _Sent:
    """What W&B was given of a trial."""

    examples: int = 0
    """Training rows of its last point."""
    ending: str = ""
    """Empty: it was running."""

    def restart(self, next_step: int) -> None:
        """Note that the trial runs again, in a run that W&B has up to a step."""
        self.ending, self.examples = "", max(self.examples, next_step - 1)

    def add(self, point: Point) -> None:
        """Note a point."""
        self.examples = point.examples

    def end(self, ending: RunEnding) -> None:
        """Note the end of the trial."""
        self.ending = ending.name


def _read_sent(found: object) -> dict[str, _Sent]:
    """Return what was sent, as far as the file can be read."""
    entries = found.items() if isinstance(found, dict) else ()
    return {
        str(trial_id): _Sent(one["examples"], str(one["ending"]))
        for trial_id, one in entries
        if isinstance(one, dict) and isinstance(one.get("examples"), int) and "ending" in one
    }


def _settings() -> "wandb.Settings":
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        host="",
        x_save_requirements=False,
        init_timeout=_TIMEOUT_S,
        login_timeout=_TIMEOUT_S,
        finish_timeout=_TIMEOUT_S,
        finish_timeout_raises=True,
    )
