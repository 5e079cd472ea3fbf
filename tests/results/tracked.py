"""Trials to track, a tracker in memory that fails when asked to, and a reader of W&B's files."""

import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.tracking import Outcome, Point, RunEnding, TrackedTrial, Value


def make_trial(
    trial_id: str = "t0000", num_points: int = 2, ending: RunEnding | None = None, **tags: str
) -> TrackedTrial:
    return TrackedTrial(
        trial_id=trial_id,
        name=f"{trial_id} search",
        kind="trial",
        parameters={"learning_rate": 2e-5, "batch_size": 16, "schedule": "linear"},
        tags={"status": "running" if ending is None else "completed", **tags},
        points=[
            Point(examples=100 * n, seconds=1.5 * n, values={"score": n / 10, "eval_loss": 1 / n})
            for n in range(1, num_points + 1)
        ],
        ending=ending,
    )


def make_outcome(ending: RunEnding = RunEnding.FINISHED, **values: Value) -> Outcome:
    return Outcome(
        ending=ending,
        description="the winner is t0000",
        values={f"winner.{name}": value for name, value in values.items()},
        metrics={"winner.score": 0.75},
        tags={"winner": "t0000"},
        report="<title>Search \u2713</title>",
    )


@dataclass
class TrackerInMemory:
    """A tracker that keeps what it is sent; `trouble` is called before anything is kept."""

    trials: dict[str, TrackedTrial] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    running: list[Sequence[str]] = field(default_factory=list)
    has_parent: bool = False
    num_calls: int = 0
    error: Exception | None = None
    refused: str = ""
    """Id of a trial that it never accepts."""
    blocked: threading.Event | None = None
    """A call waits until it is set."""

    def attach(self) -> bool:
        self._answer()
        return self.has_parent

    def open(self, parameters: Mapping[str, Value], running: Sequence[str]) -> None:
        self._answer()
        self.has_parent = True
        self.running.append(running)

    def sync(self, trial: TrackedTrial) -> None:
        self._answer()
        if trial.trial_id == self.refused:
            raise ValueError("a parameter is refused")
        self.trials[trial.trial_id] = trial

    def conclude(self, outcome: Outcome) -> None:
        self._answer()
        self.outcomes.append(outcome)

    def recover(self) -> None:
        self.error = None

    def _answer(self) -> None:
        self.num_calls += 1
        if self.blocked is not None:
            self.blocked.wait()
        if self.error is not None:
            raise self.error


_BLOCK = 32768
_HEADER_OF_FILE = 7
_HEADER = struct.Struct("<IHB")  # checksum, length, kind of a part of a record
_WHOLE, _FIRST, _LAST = 1, 2, 4


def read_records(path: Path) -> Iterator[Any]:
    """Yield the records of a `.wandb` file, a log of LevelDB with protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, parts = path.read_bytes(), _HEADER_OF_FILE, b""
    while at + _HEADER.size <= len(content):
        if _BLOCK - at % _BLOCK < _HEADER.size:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        parts = (
            content[at : at + length] if kind in (_WHOLE, _FIRST) else parts + content[at:][:length]
        )
        at += length
        if kind in (_WHOLE, _LAST):
            record = Record()
            record.ParseFromString(parts)
            yield record


@dataclass
class OfflineRun:
    """A run as one offline file describes it."""

    run_id: str
    kind: str
    group: str
    name: str
    config: dict[str, str]
    """JSON by name."""
    history: list[dict[str, str]]
    summary: dict[str, str]
    notes: str
    exit_code: int | None
    files: Path


def read_offline_run(directory: Path) -> OfflineRun:
    """Read the directory of an offline run."""
    (file,) = directory.glob("*.wandb")
    config: dict[str, str] = {}
    summary: dict[str, str] = {}
    history, notes, exit_code, found = [], "", None, None
    for record in read_records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found = record.run
            notes = record.run.notes or notes
            config |= {one.key: one.value_json for one in record.run.config.update}
        elif kind == "config":
            config |= {one.key or one.nested_key[0]: one.value_json for one in record.config.update}
        elif kind == "history":
            items = record.history.item
            history.append({one.key or one.nested_key[0]: one.value_json for one in items})
        elif kind == "summary":
            items = record.summary.update
            summary |= {one.key or one.nested_key[0]: one.value_json for one in items}
        elif kind == "exit":
            exit_code = record.exit.exit_code
    assert found is not None
    return OfflineRun(
        run_id=found.run_id,
        kind=found.job_type,
        group=found.run_group,
        name=found.display_name,
        config=config,
        history=history,
        summary=summary,
        notes=notes,
        exit_code=exit_code,
        files=directory / "files",
    )
