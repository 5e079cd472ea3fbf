"""One trial of a search: what it is given, what it has shown, how it ended."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from results.levels import Curve
from training.config import TrainingConfig
from training.metrics import Evaluation
from tuning.space import Parameters

Source = Literal["default", "search", "confirm"]
Status = Literal["running", "completed", "stopped", "failed", "diverged", "collapsed"]
StoppedBy = Literal["", "scheduler", "patience", "end of search"]


@dataclass(kw_only=True)
class Trial:
    """A configuration in training; the conductor alone changes it."""

    trial_id: str
    source: Source
    parameters: Parameters
    training: TrainingConfig
    replicate: int = 0
    """Number of the fresh draw; 0 is the split of the search."""
    split_seed: int
    status: Status = "running"
    evaluations: list[Evaluation] = field(default_factory=list)
    error: str = ""
    stopped_by: StoppedBy = ""
    fixed_rows_loss: float | None = None
    seconds: float | None = None
    """Of the whole trial, or up to its last evaluation if it was stopped; None while it runs."""

    @property
    def curve(self) -> Curve:
        """Finite evaluations in order: (training rows seen, score)."""
        return [(e.examples, e.score) for e in self.evaluations if e.is_finite]

    @property
    def is_never_stopped(self) -> bool:
        """Whether it runs to the full budget whatever it shows."""
        return self.source != "search"

    @property
    def final_f1_macro(self) -> float | None:
        """Macro-F1 at the full budget; None for a trial that did not get there."""
        at_the_end = self.status in ("completed", "collapsed")
        return self.evaluations[-1].f1_macro if at_the_end else None

    def row(self) -> dict[str, Any]:
        """The trial's row of `trials.csv`."""
        last = self.evaluations[-1] if self.evaluations else None
        finite = [score for _, score in self.curve]
        shown = None if self.status in ("failed", "diverged") else last
        return {
            "trial_id": self.trial_id,
            "status": self.status,
            "source": self.source,
            **self.parameters,
            "score": shown.score if shown else "",
            "f1_macro": shown.f1_macro if shown else "",
            "accuracy": shown.accuracy if shown else "",
            "peak_f1_macro": max(finite) if finite else "",
            "examples": last.examples if last else 0,
            "epochs": last.epoch if last else 0,
            "seconds": _rounded(self.seconds or (last.seconds if last else 0.0)),
            "error": self.error,
            "stopped_by": self.stopped_by,
            "replicate": self.replicate,
            "seed": self.training.seed,
            "split_seed": self.split_seed,
            "fixed_rows_loss": "" if self.fixed_rows_loss is None else self.fixed_rows_loss,
        }


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a trial ended by itself; `halted` when it was told to, `broken` by its surroundings."""

    status: Literal["completed", "stopped early", "diverged", "failed", "halted", "broken"]
    error: str = ""
    fixed_rows_loss: float | None = None
    seconds: float | None = None

    @property
    def trial_status(self) -> Status:
        """The status that it gives the trial; one that halted runs on after a resume."""
        if self.status == "halted" or self.status == "broken":
            return "running"
        return "stopped" if self.status == "stopped early" else self.status


def trial_name(number: int) -> str:
    """`t0000`, `t0001`, ... in order of creation."""
    return f"t{number:04d}"


def in_order(trials: Iterable[Trial]) -> list[Trial]:
    """The trials in order of creation."""
    return sorted(trials, key=lambda trial: int(trial.trial_id[1:]))


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
