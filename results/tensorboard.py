"""Curves for TensorBoard: one directory of event files a trial."""

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class CurveWriter:
    """Writes scalars of one trial; each call is on disk when it returns."""

    def __init__(self, directory: Path) -> None:
        """Open event files in `directory`, made if it is not there."""
        self._writer = SummaryWriter(str(directory), flush_secs=3600)

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Add one point a scalar at `step` (training rows seen, or optimizer steps)."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event files."""
        self._writer.close()
