"""The one file from which a broken-off training goes on.

Weights are kept by `state_dict` and not by the Trainer's own checkpoint: that one writes seven
files in place, where a kill leaves some of them, and names weights as the hub does, so that for
some encoders (gte, jina-embeddings-v3, nomic_bert) reading them back leaves the model as it was
before training, without an error. The Trainer's resume itself, which skips to the place in the
epoch and restores the generators there, is used (`training.trainer`).
"""

import contextlib
import hashlib
import json
import logging
import os
import random
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from training.metrics import Evaluation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training between two steps of its optimizer."""

    trainer: dict[str, Any]
    """What `WeightedTrainer.snapshot` gives."""
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
        return self.directory / "resume.pt"

    @property
    def _aside(self) -> Path:
        return self.directory / "resume.pt.writing"

    def read(self) -> Checkpoint | None:
        """The checkpoint, tensors on the CPU; None, and a warning, if it is of no use.

        Makes the directory and removes what a kill in mid-write left there.

        Raises:
            OSError: the directory cannot be made or written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._aside.unlink(missing_ok=True)
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
            return Checkpoint(evaluations=evaluations, **content)
        except MemoryError:
            raise
        except Exception as error:  # of no common class: zip, pickle, torch, missing keys
            reason = " ".join(str(error).split())[:200]
            logger.warning(
                "checkpoint %s cannot be read (%s); the training begins anew", self.path, reason
            )
            return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint; one that cannot be written is a warning, the former stays."""
        content = {
            "fingerprint": self.fingerprint,
            "trainer": checkpoint.trainer,
            "evaluations": [asdict(evaluation) for evaluation in checkpoint.evaluations],
            "seconds": checkpoint.seconds,
        }
        try:
            _save(content, self._aside)
            self._aside.replace(self.path)
            _sync(self.directory)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError
            reason = " ".join(str(error).split())[:200]
            logger.warning(
                "checkpoint %s cannot be written (%s); the training goes on without it",
                self.path,
                reason,
            )
            with contextlib.suppress(OSError):  # a broken disk breaks this too
                self._aside.unlink()


def fingerprint_of(
    settings: Mapping[str, Any],
    arrays: Iterable[npt.NDArray[Any]],
    weights: Mapping[str, torch.Tensor],
) -> str:
    """SHA-256 of all that a training follows from.

    Args:
        settings: JSON values.
        arrays: the rows, of any type and shape.
        weights: those that the training begins with, by name.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    for name, tensor in weights.items():
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def generator_states(device: torch.device) -> dict[str, Any]:
    """States of the global random generators, that of `device` among them, as plain values."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


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
    torch.save(content, path)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
