"""The checkpoint file from which an interrupted training is resumed.

Weights are saved by `state_dict`, not by `save_pretrained`: the latter uses the names of the hub,
so that for some encoders (gte, jina-embeddings-v3, nomic_bert) reading them back leaves the model
as it was before training, without an error.
"""

import contextlib
import hashlib
import json
import logging
import os
import random
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from training.errors import CheckpointError
from training.metrics import Evaluation

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "resume.pt"
"""Name of the one file in the directory of a checkpoint."""

STATE_KEY = "stepper"
"""Key of the weights and the optimizer's state in that file; version 0.3 wrote it too."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training between two optimizer steps."""

    step: int
    """Number of steps made."""
    state: dict[str, Any]
    """What `OptimizerStep.snapshot` returned."""
    evaluations: tuple[Evaluation, ...]
    """All evaluations made, in order."""
    seconds: float
    """Duration of the training so far."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """The one checkpoint of one training, in a directory of its own.

    If the process is killed at any moment, either the former checkpoint or the new one is intact.
    """

    directory: Path
    fingerprint: str
    """Identifies the training; the checkpoint of another training is not read."""

    @property
    def path(self) -> Path:
        """Path of the checkpoint."""
        return self.directory / CHECKPOINT_FILE

    def read(self) -> Checkpoint | None:
        """Return the checkpoint, tensors on the CPU; None, and a warning, if it cannot be used.

        Makes the directory and removes unfinished files there: the process that wrote them is dead
        or lost, since the training now runs in the process that reads.

        Raises:
            CheckpointError: the directory cannot be made or written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for unfinished in self.directory.glob(f"{CHECKPOINT_FILE}.*.writing"):
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise self._error(error) from error
        if not self.path.exists():
            return None
        try:
            content = _load(self.path)
            if content.pop("fingerprint") != self.fingerprint:
                logger.warning(
                    "checkpoint %s is of another training (other rows, model, settings or"
                    " versions of torch and transformers); this training starts from scratch",
                    self.path,
                )
                return None
            evaluations = tuple(Evaluation(**values) for values in content.pop("evaluations"))
            state = content.pop(STATE_KEY)
            return Checkpoint(state=state, evaluations=evaluations, **content)
        except MemoryError:
            raise
        except Exception as error:  # zip, pickle, torch and missing keys share no other class
            reason = " ".join(str(error).split())[:200]
            logger.warning(
                "checkpoint %s cannot be read (%s); the training starts from scratch",
                self.path,
                reason,
            )
            return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint.

        Raises:
            CheckpointError: the new one cannot be written; the former one is intact.
        """
        content = {
            "fingerprint": self.fingerprint,
            "step": checkpoint.step,
            STATE_KEY: checkpoint.state,
            "evaluations": [asdict(evaluation) for evaluation in checkpoint.evaluations],
            "seconds": checkpoint.seconds,
        }
        # A unique name: the worker of a lost node may still be writing to this directory.
        unfinished = self.directory / f"{CHECKPOINT_FILE}.{uuid.uuid4().hex}.writing"
        try:
            _save(content, unfinished)
            unfinished.replace(self.path)
            _sync(self.directory)
        except (OSError, RuntimeError) as error:
            cause = _system_error(error)
            if cause is None:
                raise
            raise self._error(cause) from error
        finally:
            with contextlib.suppress(OSError):  # a broken disk fails here too
                unfinished.unlink(missing_ok=True)

    def _error(self, cause: OSError) -> CheckpointError:
        reason = cause.strerror or " ".join(str(cause).split())
        return CheckpointError(
            f"checkpoint {self.path}: cannot be written ({reason}); free space there, or make it"
            " writable, and resume"
        )


def fingerprint_of(settings: Mapping[str, Any], arrays: Iterable[npt.NDArray[Any]]) -> str:
    """Return the SHA-256 of everything that determines a training.

    Args:
        settings: JSON values.
        arrays: the rows, of any type and shape.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def generator_states(device: torch.device) -> dict[str, Any]:
    """Return the states of the global random generators and of that of `device`."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def as_plain_values(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return generator states without arrays, which a checkpoint cannot contain."""
    kind, keys, *rest = states["numpy"]
    return {**states, "numpy": [kind, keys.tolist(), *rest]}


def restore_generators(states: Mapping[str, Any], device: torch.device) -> None:
    """Set the global random generators to what `generator_states` returned."""
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)


def _load(path: Path) -> dict[str, Any]:
    # torch does not verify the checksums that it writes.
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} is wrong")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _save(content: dict[str, Any], path: Path) -> None:
    # Given a path instead of a file, torch would not report what went wrong.
    with path.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the system's error among the causes of this one: torch replaces it by its own."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


CHECKPOINT_SHARE = 0.05
"""Largest share of a training's time that writing checkpoints may take."""


def is_due(*, since_s: float, last_write_s: float, share: float) -> bool:
    """Return whether a write as long as the last one keeps writing within its share of the time.

    Args:
        since_s: seconds since the end of the last write.
        last_write_s: duration of the last write in seconds.
        share: of the whole time, above 0, at most 1.
    """
    return since_s >= (1 / share - 1) * last_write_s


@dataclass(kw_only=True)
class CheckpointWriter:
    """Writes the checkpoints of one training, at most as often as its share of the time allows."""

    file: CheckpointFile
    share: float
    """Largest share of the training's time that writing may take."""
    on_checkpoint: Callable[[Path], None]
    """Called with the file after each write; its duration counts as writing."""
    _ended: float = field(default_factory=time.monotonic)
    _seconds: float = 0.0
    _step: int | None = None

    def is_due(self) -> bool:
        """Return whether to write a checkpoint now; always true before the first write."""
        since = time.monotonic() - self._ended
        return is_due(since_s=since, last_write_s=self._seconds, share=self.share)

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, unless the last one is of the same step.

        Raises:
            CheckpointError: it cannot be written; the former one is intact.
        """
        if checkpoint.step == self._step:
            return
        started = time.monotonic()
        self.file.write(checkpoint)
        self.on_checkpoint(self.file.path)
        self._ended = time.monotonic()
        self._seconds = self._ended - started
        self._step = checkpoint.step
