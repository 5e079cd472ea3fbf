"""When a training writes its checkpoint: so seldom that writing costs little."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from training.checkpoint import Checkpoint, CheckpointFile

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
