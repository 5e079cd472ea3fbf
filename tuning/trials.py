"""One trial of a search: what it is given, what it has shown, how it ended; and all of them."""

import math
from bisect import insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum, StrEnum, auto
from typing import Any, Literal

from results.rung_scores import Curve
from results.trial_states import Source, Status, StoppedBy
from training.config import TrainingConfig
from training.metrics import Evaluation
from tuning.space import Parameters

_WITHOUT_SCORE = (Status.FAILED, Status.DIVERGED)
_AT_FULL_BUDGET = (Status.COMPLETED, Status.COLLAPSED)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a trial ended by itself; `halted` when it was told to, `broken` by its surroundings."""

    status: Literal["completed", "stopped early", "diverged", "failed", "halted", "broken"]
    error: str = ""
    fixed_rows_loss: float | None = None
    seconds: float | None = None

    @property
    def is_resumed_later(self) -> bool:
        """Whether the trial is not finished: it wrote a checkpoint and left its worker."""
        return self.status in ("halted", "broken")


@dataclass(kw_only=True)
class Trial:
    """A configuration in training; the policy alone changes it."""

    trial_id: str
    source: Source
    parameters: Parameters
    training: TrainingConfig
    replicate: int = 0
    """Number of the fresh seed and split; 0 is the split of the search."""
    split_seed: int
    status: Status = Status.RUNNING
    evaluations: list[Evaluation] = field(default_factory=list)
    error: str = ""
    stopped_by: StoppedBy = StoppedBy.NOBODY
    fixed_rows_loss: float | None = None
    seconds: float | None = None
    """Of the whole trial, or up to its last evaluation if it was stopped; None while it runs."""
    device_memory: int = 0
    """Most device memory that its process has reserved, bytes."""

    @property
    def number(self) -> int:
        """3 of `t0003`."""
        return int(self.trial_id[1:])

    @property
    def examples(self) -> int:
        """Training rows seen up to the last evaluation, repeats counted."""
        return self.evaluations[-1].examples if self.evaluations else 0

    @property
    def is_running(self) -> bool:
        """Whether it has not finished: it trains, or waits to start."""
        return self.status == Status.RUNNING

    @property
    def is_confirmation(self) -> bool:
        """Whether it trains a candidate on a replicate."""
        return self.source == Source.CONFIRM

    @property
    def is_never_stopped(self) -> bool:
        """Whether it runs to the full budget whatever it shows."""
        return self.source != Source.SEARCH

    @property
    def has_failed(self) -> bool:
        """Whether it has no score, whatever it showed before."""
        return self.status in _WITHOUT_SCORE

    @property
    def curve(self) -> Curve:
        """Finite evaluations in order: (training rows seen, score)."""
        return [(e.examples, e.score) for e in self.evaluations if e.is_finite]

    @property
    def final(self) -> Evaluation | None:
        """The evaluation at the full budget; None for a trial that did not get there."""
        return self.evaluations[-1] if self.status in _AT_FULL_BUDGET else None

    @property
    def final_score(self) -> float | None:
        """The score at the full budget; None for a trial that did not get there."""
        return None if self.final is None else self.final.score

    def add(self, evaluation: Evaluation) -> None:
        """Take an evaluation, in order of training."""
        self.evaluations.append(evaluation)

    def reserve(self, num_bytes: int) -> None:
        """Take the device memory of its process."""
        self.device_memory = num_bytes

    def end(self, ending: Ending) -> None:
        """Take its own end."""
        self.fixed_rows_loss, self.seconds = ending.fixed_rows_loss, ending.seconds
        self.error = ending.error
        if ending.status == "stopped early":
            self.stop(StoppedBy.PATIENCE)
            return
        has_collapsed = ending.status == "completed" and self.evaluations[-1].collapsed
        self._conclude(Status.COLLAPSED if has_collapsed else Status(ending.status))

    def stop(self, reason: StoppedBy) -> None:
        """End it before its full budget."""
        self.stopped_by = reason
        self._conclude(Status.STOPPED)

    def _conclude(self, status: Status) -> None:
        self.status = status
        if self.seconds is None and self.evaluations:
            self.seconds = self.evaluations[-1].seconds

    def row(self) -> dict[str, Any]:
        """The trial's row of `trials.csv`."""
        last = self.evaluations[-1] if self.evaluations else None
        finite = [evaluation.f1_macro for evaluation in self.evaluations if evaluation.is_finite]
        shown = None if self.has_failed else last
        return {
            "trial_id": self.trial_id,
            "status": self.status.value,
            "source": self.source.value,
            **self.parameters,
            "score": shown.score if shown else "",
            "f1_macro": shown.f1_macro if shown else "",
            "accuracy": shown.accuracy if shown else "",
            "peak_f1_macro": max(finite) if finite else "",
            "examples": self.examples,
            "epochs": last.epoch if last else 0,
            "seconds": _rounded(self.seconds or (last.seconds if last else 0.0)),
            "error": self.error,
            "stopped_by": self.stopped_by.value,
            "replicate": self.replicate,
            "seed": self.training.seed,
            "split_seed": self.split_seed,
            "fixed_rows_loss": "" if self.fixed_rows_loss is None else self.fixed_rows_loss,
        }


class TrialStore:
    """All trials of a search and its confirmation, in order of their numbers: the one list."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        """Take the trials of an earlier start."""
        self._by_id: dict[str, Trial] = {}
        self._ordered: list[Trial] = []
        self._searched: list[Trial] = []
        self._confirmations: list[Trial] = []
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> None:
        """Take one more."""
        assert trial.trial_id not in self._by_id, trial.trial_id
        self._by_id[trial.trial_id] = trial
        kind = self._confirmations if trial.is_confirmation else self._searched
        for trials in (self._ordered, kind):
            insort(trials, trial, key=lambda one: one.number)

    def __getitem__(self, trial_id: str) -> Trial:
        """The trial of an id; KeyError if there is none."""
        return self._by_id[trial_id]

    def __contains__(self, trial_id: object) -> bool:
        """Whether there is a trial of this id."""
        return trial_id in self._by_id

    def __iter__(self) -> Iterator[Trial]:
        """The trials, in order of their numbers."""
        return iter(self._ordered)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._ordered)

    @property
    def searched(self) -> Sequence[Trial]:
        """Trial 0 and those of the search."""
        return self._searched

    @property
    def confirmations(self) -> Sequence[Trial]:
        """Those of the confirmation."""
        return self._confirmations

    def confirmation(self, parameters: Parameters, replicate: int) -> Trial | None:
        """The training of a configuration on a replicate; None if there is none yet."""
        ours = (trial for trial in self._confirmations if trial.replicate == replicate)
        return next((trial for trial in ours if trial.parameters == parameters), None)

    def keep_only(self, trial_ids: Collection[str]) -> None:
        """Drop all others, which were only planned."""
        kept = [trial for trial in self._ordered if trial.trial_id in trial_ids]
        for trials in (self._by_id, self._ordered, self._searched, self._confirmations):
            trials.clear()
        for trial in kept:
            self.add(trial)

    def free_id(self, number: int) -> str:
        """The id of a number, or the next one after all where it is taken (in an older run)."""
        wanted = trial_name(number)
        return wanted if wanted not in self else trial_name(self._ordered[-1].number + 1)


def trial_name(number: int) -> str:
    """`t0000`, `t0001`, ... in order of creation."""
    return f"t{number:04d}"


def evaluation_row(trial_id: str, evaluation: Evaluation) -> dict[str, Any]:
    """A row of `curves.csv`."""
    return {"trial_id": trial_id, **asdict(evaluation), "seconds": _rounded(evaluation.seconds)}


def evaluation_from_row(row: Mapping[str, str]) -> Evaluation:
    """The evaluation that a row of `curves.csv` holds."""
    numbers = {
        name: float(row[name])
        for name in (
            *("epoch", "seconds", "learning_rate", "train_loss", "eval_loss"),
            *("score", "f1_macro", "accuracy"),
        )
    }
    return Evaluation(
        examples=int(row["examples"]), collapsed=row["collapsed"] == "True", **numbers
    )


def _rounded(seconds: float) -> float:
    return round(seconds, 3) if math.isfinite(seconds) else seconds


class Phase(StrEnum):
    """What a search is at; rungs are judged in all but the last."""

    SEARCH = "search"
    CONFIRMATION = "confirmation"
    FINISHED = "finished"


class NoTrial(Enum):
    """Why there is no next trial."""

    WAIT = auto()
    """Not now: it depends on trials that run."""
    DONE = auto()
    """None will come."""


class Decision(Enum):
    """What a running trial is to do."""

    CONTINUE = auto()
    STOP = auto()
