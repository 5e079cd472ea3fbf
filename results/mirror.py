"""A run's files copied to a storage while they change, and fetched from there."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from results.errors import StorageError
from results.run import Run
from results.storage import Storage
from results.tries import Tries

logger = logging.getLogger(__name__)

STATES = ("trials.csv", "best.yaml", "search.json")
"""Each speaks of what is in the files before it: read first, and written last in this order."""
_LINES = "curves.csv"
_ONE_SHORT = Tries(number=1, seconds=2.0)

Version = tuple[int, int, int]
"""Size, time of the last change and number of a file: together they tell whether it changed."""


class Mirror:
    """Keeps `storage/<run's name>` like the run's directory, hidden files left out.

    At every moment what is there can be resumed: files are whole, and none speaks of what is not
    there yet. Files that are removed stay in the mirror.
    """

    def __init__(
        self,
        run: Run,
        storage: Storage,
        *,
        interval_s: float = 10.0,
        on_error: Callable[[OSError], None],
    ) -> None:
        """Start to copy.

        Args:
            run: whose files are copied.
            storage: where runs go.
            interval_s: seconds between the end of a look at the files and the next.
            on_error: called once, from another thread, when a copy fails after all tries; nothing
                is copied any more until `flush`.
        """
        self._run = run
        self._place = storage.child(run.directory.name)
        self._interval_s = interval_s
        self._on_error = on_error
        self._copied: dict[Path, Version] = {}
        self._stop = threading.Event()
        self._copying = threading.Lock()
        self._thread = threading.Thread(target=self._copy_on, name="mirror", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """The mirror itself."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Copy what is left, also after an error, which is not hidden by one of the storage.

        After an error of a place there is one short try: the storage may be what hangs, but if it
        is not, it shall know what is known here, above all that the test was opened.

        Raises:
            StorageError: not all could be copied, and nothing else went wrong.
        """
        self.close()
        if isinstance(error, OSError):
            self._place = replace(self._place, tries=_ONE_SHORT)
        try:
            self.flush()
        except StorageError as failed:
            if error is None:
                raise
            logger.warning("%s", failed)

    def flush(self) -> None:
        """Copy all that changed, now.

        Raises:
            StorageError: not all could be copied.
        """
        with self._copying:
            self._copy_changed()

    def close(self) -> None:
        """End the thread, after the file that it is copying; what is not copied yet stays so."""
        self._stop.set()
        self._thread.join()

    def _copy_on(self) -> None:
        try:
            while True:
                with self._copying:
                    self._copy_changed(self._stop.is_set)
                if self._stop.wait(self._interval_s):
                    return
        except OSError as error:
            self._on_error(error)

    def _copy_changed(self, is_over: Callable[[], bool] = lambda: False) -> None:
        directory = self._run.directory
        states = [(directory / name, *_read(directory / name)) for name in STATES]
        for path in _files(directory):
            if is_over():
                return
            self._copy(path)
        for path, version, content in states:
            if content is not None and self._copied.get(path) != version:
                self._place.write_bytes(path.name, content)
                self._copied[path] = version

    def _copy(self, path: Path) -> None:
        """Copy a file that changed; one that is gone since it was listed is left out."""
        name = path.relative_to(self._run.directory).as_posix()
        try:
            version = _version(path)
            if self._copied.get(path) == version:
                return
            if name == _LINES:
                self._place.write_bytes(name, _whole_lines(path.read_bytes()))
            else:
                self._place.upload(path, name)
            self._copied[path] = version
        except (FileNotFoundError, StorageError):
            if path.exists():
                raise


def _files(directory: Path) -> list[Path]:
    """What is copied as it is found; what says that the test was opened comes first."""
    found: list[Path] = []
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += (Path(folder, name) for name in sorted(names) if not name.startswith("."))
    found = [path for path in found if path not in {directory / name for name in STATES}]
    return sorted(found, key=lambda path: path.name != "test_openings.json")


def _read(path: Path) -> tuple[Version, bytes | None]:
    try:
        return _version(path), path.read_bytes()
    except FileNotFoundError:
        return (0, 0, 0), None


def _version(path: Path) -> Version:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
