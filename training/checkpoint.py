"""The one file from which a broken-off training goes on.

Weights are kept by `state_dict` and not as `save_pretrained` writes them: that one names weights as
the hub does, so that for some encoders (gte, jina-embeddings-v3, nomic_bert) reading them back
leaves the model as it was before training, without an error.
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

_STATE = "stepper"
"""Key of the weights and the optimizer's state in that file; version 0.3 wrote it too."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training between two steps of its optimizer."""

    step: int
    """Steps of the optimizer until then."""
    state: dict[str, Any]
    """What `OptimizerStep.snapshot` returned."""
    evaluations: tuple[Evaluation, ...]
    """All so far, in order."""
    seconds: float
    """Spent on the training until then."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """At most one checkpoint of one training, in a directory of its own.

    A kill at any moment leaves the former checkpoint or the new one, whole.
    """

    directory: Path
    fingerprint: str
    """Of the training; what another one wrote is not read."""

    @property
    def path(self) -> Path:
        """Where the checkpoint is."""
        return self.directory / CHECKPOINT_FILE

    def read(self) -> Checkpoint | None:
        """The checkpoint, tensors on the CPU; None, and a warning, if it is of no use.

        Makes the directory and removes what others did not finish writing there: whoever reads has
        taken the training over from a process that is dead, or lost and not to write any more.

        Raises:
            CheckpointError: the directory cannot be made or written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for aside in self.directory.glob(f"{CHECKPOINT_FILE}.*.writing"):
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise self._error(error) from error
        if not self.path.exists():
            return None
        try:
            content = _load(self.path)
            if content.pop("fingerprint") != self.fingerprint:
                logger.warning(
                    "checkpoint %s is of another training (other rows, model, settings or"
                    " versions of torch and transformers); this training begins anew",
                    self.path,
                )
                return None
            evaluations = tuple(Evaluation(**values) for values in content.pop("evaluations"))
            state = content.pop(_STATE)
            return Checkpoint(state=state, evaluations=evaluations, **content)
        except MemoryError:
            raise
        except Exception as error:  # of no common class: zip, pickle, torch, missing keys
            reason = " ".join(str(error).split())[:200]
            logger.warning(
                "checkpoint %s cannot be read (%s); the training begins anew", self.path, reason
            )
            return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint.

        Raises:
            CheckpointError: the new one cannot be written; the former one is whole.
        """
        content = {
            "fingerprint": self.fingerprint,
            "step": checkpoint.step,
            _STATE: checkpoint.state,
            "evaluations": [asdict(evaluation) for evaluation in checkpoint.evaluations],
            "seconds": checkpoint.seconds,
        }
        # A name of its own: the worker of a lost node may still be writing to the same place.
        aside = self.directory / f"{CHECKPOINT_FILE}.{uuid.uuid4().hex}.writing"
        try:
            _save(content, aside)
            aside.replace(self.path)
            _sync(self.directory)
        except (OSError, RuntimeError) as error:
            cause = _system_error(error)
            if cause is None:
                raise
            raise self._error(cause) from error
        finally:
            with contextlib.suppress(OSError):  # a broken disk breaks this too
                aside.unlink(missing_ok=True)

    def _error(self, cause: OSError) -> CheckpointError:
        reason = cause.strerror or " ".join(str(cause).split())
        return CheckpointError(
            f"checkpoint {self.path}: cannot be written ({reason}); free space there, or let it be"
            " written, and go on"
        )


def fingerprint_of(settings: Mapping[str, Any], arrays: Iterable[npt.NDArray[Any]]) -> str:
    """SHA-256 of all that a training follows from.

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
    """States of the global random generators, that of `device` among them."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def as_plain_values(states: Mapping[str, Any]) -> dict[str, Any]:
    """The same without arrays, which a checkpoint does not read."""
    kind, keys, *rest = states["numpy"]
    return {**states, "numpy": [kind, keys.tolist(), *rest]}


def restore_generators(states: Mapping[str, Any], device: torch.device) -> None:
    """Set the global random generators to what `generator_states` gave."""
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)


def _load(path: Path) -> dict[str, Any]:
    # torch does not compare the checksums that it writes.
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} is wrong")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _save(content: dict[str, Any], path: Path) -> None:
    # Given a path, torch writes by itself and does not say what went wrong.
    with path.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's own among the errors that led to this one: torch covers it by another."""
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
"""Most of a training's time that writing checkpoints may take."""


def is_due(*, since_s: float, last_write_s: float, share: float) -> bool:
    """Whether a write now, as long as the last one, keeps writing within its share of the time.

    Args:
        since_s: seconds since the last write's end.
        last_write_s: seconds that it took.
        share: of all seconds, above 0, at most 1.
    """
    return since_s >= (1 / share - 1) * last_write_s


@dataclass(kw_only=True)
class CheckpointWriter:
    """Writes the checkpoints of one training and knows what they cost."""

    file: CheckpointFile
    share: float
    """Of the training's time that writing may take."""
    on_checkpoint: Callable[[Path], None]
    """Called with the file each time one was written; its time counts."""
    _ended: float = field(default_factory=time.monotonic)
    _seconds: float = 0.0
    _step: int | None = None

    def is_due(self) -> bool:
        """Whether an evaluation should write one: the first, then those that are cheap."""
        since = time.monotonic() - self._ended
        return is_due(since_s=since, last_write_s=self._seconds, share=self.share)

    def write(self, checkpoint: Checkpoint) -> None:
        """Write it, unless the last one is of the same step.

        Raises:
            CheckpointError: it cannot be written; the former one is whole.
        """
        if checkpoint.step == self._step:
            return
        began = time.monotonic()
        self.file.write(checkpoint)
        self.on_checkpoint(self.file.path)
        self._ended = time.monotonic()
        self._seconds = self._ended - began
        self._step = checkpoint.step
