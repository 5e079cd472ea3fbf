"""Curves for TensorBoard: one directory of event files a trial."""

from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import FileWriter


class CurveWriter:
    """Writes scalars of one trial; each call is on disk when it returns."""

    def __init__(self, directory: Path) -> None:
        """Open event files in `directory`, made if it is not there."""
        self._writer = FileWriter(str(directory), flush_secs=3600)

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Add one point a scalar at `step` (training rows seen, or optimizer steps)."""
        for name, value in scalars.items():
            point = Summary.Value(tag=name, simple_value=value)
            self._writer.add_summary(Summary(value=[point]), step)
        self._writer.flush()

    def describe(self, summary: Summary) -> None:
        """Add what is known of the trial as a whole, for another page than that of scalars."""
        self._writer.add_summary(summary)
        self._writer.flush()

    def close(self) -> None:
        """Close the event files."""
        self._writer.close()
