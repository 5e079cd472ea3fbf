"""The trials of a search: configuration, evaluations and ending of each, and the store of all."""

import json
import math
from bisect import insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum, StrEnum, auto
from typing import Any, Self

from results.parameter_values import format_parameters
from results.rung_scores import Curve
from results.trial_states import Source, Status, StoppedBy
from training.config import TrainingConfig
from training.metrics import Evaluation
from tuning.space import MODEL, Parameters, Value

NUM_ALIKE = 3
"""First trials that must fail with the same error before the search ends for it."""

_WITHOUT_SCORE = (Status.FAILED, Status.DIVERGED)
_AT_FULL_BUDGET = (Status.COMPLETED, Status.COLLAPSED)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a trial ended in its worker."""

    status: Status
    """`STOPPED`: by patience. `RUNNING`: it was halted, or could not read or write its checkpoint
    (`error`), and is resumed later."""
    error: str = ""
    fixed_rows_loss: float | None = None
    seconds: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether the trial has finished, and no resume continues it."""
        return self.status != Status.RUNNING

    @property
    def is_broken(self) -> bool:
        """Whether a checkpoint could not be read or written."""
        return self.status == Status.RUNNING and bool(self.error)

    def to_json(self) -> str:
        """Return the ending as text, as a worker reports it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the ending that a worker reported."""
        fields = json.loads(text)
        return cls(**{**fields, "status": Status(fields["status"])})


@dataclass(kw_only=True)
class Trial:
    """A configuration in training; only the policy changes it."""

    trial_id: str
    source: Source
    parameters: Parameters
    training: TrainingConfig
    replicate: int = 0
    """Number of the seed and split that a confirmation trains with; 0: those of the search."""
    split_seed: int
    status: Status = Status.RUNNING
    evaluations: list[Evaluation] = field(default_factory=list)
    error: str = ""
    stopped_by: StoppedBy = StoppedBy.NOBODY
    fixed_rows_loss: float | None = None
    seconds: float | None = None
    """Of the whole trial, or up to its last evaluation if it was stopped; None while it runs."""
    device_memory: int = 0
    """Peak device memory that its process has reserved, bytes."""
    memory: int = 0
    """Peak memory of its process, bytes: on the GPU where there is one, else main memory."""

    @property
    def number(self) -> int:
        """3 of `t0003`."""
        return int(self.trial_id[1:])

    @property
    def searched_values(self) -> str:
        """The values of its searched parameters in one line."""
        return format_parameters(self.parameters)

    @property
    def examples(self) -> int:
        """Training rows seen up to the last evaluation, repeats counted."""
        return self.evaluations[-1].examples if self.evaluations else 0

    @property
    def is_running(self) -> bool:
        """Whether it has not finished: it trains, or has yet to start."""
        return self.status == Status.RUNNING

    @property
    def is_confirmation(self) -> bool:
        """Whether it trains a candidate on a replicate."""
        return self.source == Source.CONFIRM

    @property
    def is_never_stopped(self) -> bool:
        """Whether it runs to the full budget whatever its scores are."""
        return self.source != Source.SEARCH

    @property
    def has_failed(self) -> bool:
        """Whether it has no score, even if it was evaluated before."""
        return self.status in _WITHOUT_SCORE

    @property
    def has_collapsed(self) -> bool:
        """Whether it predicted one class for every row at its last evaluation."""
        return bool(self.evaluations) and self.evaluations[-1].collapsed

    @property
    def curve(self) -> Curve:
        """The evaluations with a finite loss, in order: (training rows seen, score)."""
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
        """Append an evaluation."""
        self.evaluations.append(evaluation)

    def reserve(self, num_bytes: int) -> None:
        """Set the peak device memory of its process."""
        self.device_memory = num_bytes

    def occupy(self, num_bytes: int) -> None:
        """Set the peak memory of its process."""
        self.memory = num_bytes

    def end(self, ending: Ending) -> None:
        """End it as its worker reports."""
        self.fixed_rows_loss, self.seconds = ending.fixed_rows_loss, ending.seconds
        self.error = ending.error
        if ending.status == Status.STOPPED:
            self.stop(StoppedBy.PATIENCE)
            return
        has_collapsed = ending.status == Status.COMPLETED and self.evaluations[-1].collapsed
        self._conclude(Status.COLLAPSED if has_collapsed else ending.status)

    def stop(self, reason: StoppedBy) -> None:
        """End it before its full budget."""
        self.stopped_by = reason
        self._conclude(Status.STOPPED)

    def _conclude(self, status: Status) -> None:
        self.status = status
        if self.seconds is None and self.evaluations:
            self.seconds = self.evaluations[-1].seconds

    def row(self) -> dict[str, Any]:
        """Return the trial's row of `trials.csv`."""
        last = self.evaluations[-1] if self.evaluations else None
        finite = [evaluation.f1_macro for evaluation in self.evaluations if evaluation.is_finite]
        scored = None if self.has_failed else last
        return {
            "trial_id": self.trial_id,
            "status": self.status.value,
            "source": self.source.value,
            **self.parameters,
            "score": scored.score if scored else "",
            "f1_macro": scored.f1_macro if scored else "",
            "accuracy": scored.accuracy if scored else "",
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
        """Fill the store with the trials of an earlier start."""
        self._by_id: dict[str, Trial] = {}
        self._ordered: list[Trial] = []
        self._searched: list[Trial] = []
        self._confirmations: list[Trial] = []
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> None:
        """Add a trial; its id must be new."""
        assert trial.trial_id not in self._by_id, trial.trial_id
        self._by_id[trial.trial_id] = trial
        kind = self._confirmations if trial.is_confirmation else self._searched
        for trials in (self._ordered, kind):
            insort(trials, trial, key=lambda one: one.number)

    def __getitem__(self, trial_id: str) -> Trial:
        """Return the trial with this id; KeyError if there is none."""
        return self._by_id[trial_id]

    def __contains__(self, trial_id: object) -> bool:
        """Return whether there is a trial with this id."""
        return trial_id in self._by_id

    def __iter__(self) -> Iterator[Trial]:
        """Iterate over the trials in order of their numbers."""
        return iter(self._ordered)

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self._ordered)

    @property
    def searched(self) -> Sequence[Trial]:
        """Trial 0 and those of the search."""
        return self._searched

    @property
    def confirmations(self) -> Sequence[Trial]:
        """Trials of the confirmation."""
        return self._confirmations

    def confirmation(self, parameters: Parameters, replicate: int) -> Trial | None:
        """Return the trial of a configuration on a replicate; None if there is none yet."""
        ours = (trial for trial in self._confirmations if trial.replicate == replicate)
        return next((trial for trial in ours if trial.parameters == parameters), None)

    def keep_only(self, trial_ids: Collection[str]) -> None:
        """Remove all other trials, which were only planned."""
        kept = [trial for trial in self._ordered if trial.trial_id in trial_ids]
        for trials in (self._by_id, self._ordered, self._searched, self._confirmations):
            trials.clear()
        for trial in kept:
            self.add(trial)

    def first_error(self, encoders: Collection[Value]) -> str:
        """Return the error that the first trials of the search failed with; empty: none yet.

        Where encoders are searched, one that fails (for memory, for example) leaves the
        others alone: the first trials are as many as it takes until each encoder has failed.

        Args:
            encoders: names of the searched encoders; none where `model` is not searched.
        """
        ended = [trial for trial in self._searched if not trial.is_running]
        untried = {*encoders} - {trial.parameters.get(MODEL) for trial in ended}
        num = max(NUM_ALIKE, len(ended)) if encoders else NUM_ALIKE
        return "" if untried else _common_error(ended, num)

    def first_error_of_confirmation(self) -> str:
        """Return the error that the first trials of the confirmation failed with; empty: none.

        They are those with the lowest numbers, in whatever order they ended: they are not all of
        one candidate.
        """
        return _common_error(self._confirmations[:NUM_ALIKE], NUM_ALIKE)

    def free_id(self, number: int) -> str:
        """Return the id of a number; if it is taken (in an older run), the one after the last."""
        wanted = trial_name(number)
        return wanted if wanted not in self else trial_name(self._ordered[-1].number + 1)


def _common_error(trials: Sequence[Trial], num: int) -> str:
    """Return the error that all of `num` trials failed with; empty: they did not, or are fewer."""
    endings = {(trial.status, trial.error) for trial in trials}
    status, error = endings.pop() if len(endings) == 1 else (Status.RUNNING, "")
    return error if status == Status.FAILED and len(trials) == num else ""


def trial_name(number: int) -> str:
    """Return the id of trial `number`: `t0000`, `t0001`, ... in order of creation."""
    return f"t{number:04d}"


def evaluation_row(trial_id: str, evaluation: Evaluation) -> dict[str, Any]:
    """Return a row of `curves.csv`."""
    return {"trial_id": trial_id, **asdict(evaluation), "seconds": _rounded(evaluation.seconds)}


def evaluation_from_row(row: Mapping[str, str]) -> Evaluation:
    """Return the evaluation that a row of `curves.csv` holds."""
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
    """The phase of a search."""

    SEARCH = "search"
    CONFIRMATION = "confirmation"
    FINISHED = "finished"


class NoTrial(Enum):
    """Why there is no next trial."""

    WAIT = auto()
    """The next trial depends on trials that are still running."""
    DONE = auto()
    """No further trial will start."""


class Decision(Enum):
    """Whether a running trial continues."""

    CONTINUE = auto()
    STOP = auto()
