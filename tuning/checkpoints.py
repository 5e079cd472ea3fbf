"""Keep the checkpoint of each running trial, in the run or in a storage that all nodes reach."""

import shutil
import socket
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from results.errors import StorageError
from results.storage import Storage
from training.checkpoint import CHECKPOINT_FILE
from training.cli import hide_secrets
from tuning.observers import Observer
from tuning.trials import Trial

FOLDER = ".checkpoints"
_SHARED = "is-shared"
"""An empty file in the folder. A node that does not see it has another directory at this path."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """One directory per trial: in the run, or in the storage that all nodes reach.

    In a storage a checkpoint is written to the node's own disk and then copied, so that a storage
    that hangs is noticed (`results.storage`) and does not hang the trial.
    """

    run: Path
    """The run's directory."""
    storage: Storage | None
    """The run's directory in `cluster.storage_path`; None: the run's own directory is used."""

    @contextmanager
    def of(self, trial_id: str) -> Iterator[tuple[Path, Callable[[Path], None]]]:
        """Yield the directory for a trial's checkpoint, and what to call with a file written there.

        Raises:
            StorageError: the storage cannot be reached, or is not that of the driver.
        """
        self._check_is_shared()
        if self.storage is None:
            yield self.run / FOLDER / trial_id, lambda _file: None
            return
        location = self.storage.child(FOLDER).child(trial_id)
        with tempfile.TemporaryDirectory(prefix=f"{trial_id}-") as scratch:
            directory = Path(scratch)
            location.download(CHECKPOINT_FILE, directory / CHECKPOINT_FILE)
            yield directory, lambda file: location.upload(file, CHECKPOINT_FILE)

    def remove(self, trial_id: str) -> None:
        """Remove the checkpoint of a trial that has ended.

        Raises:
            OSError: the directory or the storage cannot be removed.
        """
        if self.storage is not None:
            self.storage.child(FOLDER).child(trial_id).remove()
        _remove(self.run / FOLDER / trial_id)

    def open(self, trial_ids: Collection[str]) -> None:
        """Create the folder, and remove all checkpoints but those of these trials.

        Raises:
            OSError: the directory or the storage cannot be removed.
        """
        if self.storage is not None:
            location = self.storage.child(FOLDER)
            for name in {name.split("/")[0] for name in location.names()} - set(trial_ids):
                location.child(name).remove()
            location.write_text(_SHARED, "")
        if (self.run / FOLDER).is_dir():
            for path in (self.run / FOLDER).iterdir():
                if path.name not in {*trial_ids, _SHARED}:
                    _remove(path)
        if self.storage is None:
            (self.run / FOLDER).mkdir(exist_ok=True)
            (self.run / FOLDER / _SHARED).touch()

    def close(self) -> None:
        """Remove the folder, at the end of the search.

        Raises:
            OSError: the directory or the storage cannot be removed.
        """
        if self.storage is not None:
            self.storage.child(FOLDER).remove()
        _remove(self.run / FOLDER)

    def _check_is_shared(self) -> None:
        """Raise if this node, which may have joined later, does not mount what the others do."""
        if self.storage is None:
            location, is_shared = str(self.run), (self.run / FOLDER / _SHARED).exists()
        else:
            location = self.storage.location
            is_shared = self.storage.child(FOLDER).read_text(_SHARED) is not None
        if not is_shared:
            reason = f"{socket.gethostname()} does not see the files that the driver writes there"
            raise StorageError(
                f"{hide_secrets(location)}: {reason}; mount it there or take that node away, or"
                " give a cluster.storage_path that all nodes reach, then --resume",
                reason=reason,
            )


class CheckpointRemover(Observer):
    """Removes the checkpoint of a trial that has finished, once its end is recorded on disk."""

    def __init__(self, checkpoints: Checkpoints, *, is_written: Callable[[], bool]) -> None:
        """Take the checkpoints, and whether all files have been written so far."""
        self._checkpoints = checkpoints
        self._is_written = is_written

    def ended(self, trial: Trial) -> None:
        """Remove its checkpoint if its end is recorded."""
        if self._is_written():
            self._checkpoints.remove(trial.trial_id)


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
