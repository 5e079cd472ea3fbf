"""A run's files copied to a storage while they change, and fetched from there."""

import json
import logging
import os
import posixpath
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from results.errors import RunError, StorageError
from results.files import write_text
from results.run import Run, open_run
from results.storage import Retries, Storage
from training.cli import hide_secrets

logger = logging.getLogger(__name__)

STATES = ("trials.csv", "best.yaml", "search.json")
"""Each speaks of what is in the files before it: read first, and written last in this order."""
_LINES = "curves.csv"
_ONE_SHORT = Retries(number=1, seconds=2.0)

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
            self._place = replace(self._place, retries=_ONE_SHORT)
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


_OVERVIEW = ("trials.csv", "workers.csv", "logs/search.log", "search.json")
_RECORD, _CURVES, _OPENINGS = "search.json", "curves.csv", "test_openings.json"


def fetch_run(uri: str, directory: Path) -> Run:
    """Bring a mirrored run to `directory/<its name>`.

    Where there is one of that name already and it is the same run, the one that is further stays
    (more evaluations; the local one if they are equal). A test that one of them has opened is
    known to be open afterwards.

    Raises:
        RunError: there is no run at `uri`, or another one of that name here.
        StorageError: the storage cannot be reached.
    """
    place, name = Storage(uri.rstrip("/")), _name(uri)
    record = _read_record(place, uri)
    local = directory / name
    if not local.exists():
        directory.mkdir(parents=True, exist_ok=True)
    else:
        _check_same(open_run(local), record, uri)
        if not _knows_more(place, Run(local)):
            return open_run(local)
    # A directory deeper: what a kill leaves of it is never found as a run.
    with tempfile.TemporaryDirectory(dir=directory, prefix=".fetched-") as scratch:
        fetched = Run(Path(scratch) / name)
        _download(place, fetched.directory, uri)
        if local.exists():
            with open_run(local).lock():
                _join(fetched, Run(local), aside=Path(scratch) / "before")
        else:
            fetched.directory.rename(local)
    return open_run(local)


def fetch_overview(uri: str, directory: Path) -> Run:
    """Bring only what tells how far a mirrored run is; `directory` is the copy's.

    Raises:
        RunError: there is no run at `uri`.
        StorageError: the storage cannot be reached.
    """
    place = Storage(uri.rstrip("/"))
    _read_record(place, uri)
    for name in _OVERVIEW:
        place.download(name, directory / name)
    return Run(directory)


def _name(uri: str) -> str:
    name = posixpath.basename(uri.rstrip("/"))
    if name in ("", ".", "..") or "?" in name:
        raise RunError(
            f"run {hide_secrets(uri)}: it does not end with a run's name, but must be the URI of"
            " one run; give STORAGE_PATH/NAME"
        )
    return name


def _read_record(place: Storage, uri: str) -> dict[str, Any]:
    text = place.read_text(_RECORD)
    if text is None:
        raise RunError(
            f"run {hide_secrets(uri)}: there is no search.json, so no search was mirrored there;"
            " give STORAGE_PATH/NAME of one that was"
        )
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise RunError(
            f"run {hide_secrets(uri)}: search.json cannot be read ({error}); restore the file or"
            " run the search again"
        ) from error


def _check_same(local: Run, record: dict[str, Any], uri: str) -> None:
    here, there = local.read_record().get("started_at"), record.get("started_at")
    if here != there:
        raise RunError(
            f"run {hide_secrets(uri)}: it began at {there}, but {local.directory} holds another"
            f" run of that name, begun at {here}; move that one away, or give another"
            " output.directory"
        )


def _knows_more(place: Storage, local: Run) -> bool:
    """Whether the storage has evaluations or test openings that are not here."""
    curves = (place.read_text(_CURVES) or "").count("\n")
    openings = _openings(place.read_text(_OPENINGS), place.location)
    return curves > _num_lines(local) or len(openings) > len(_local_openings(local))


def _num_lines(run: Run) -> int:
    return run.curves.read_bytes().count(b"\n") if run.curves.exists() else 0


def _local_openings(run: Run) -> list[dict[str, Any]]:
    text = run.test_openings.read_text("utf-8") if run.test_openings.exists() else None
    return _openings(text, str(run.directory))


def _openings(text: str | None, where: str) -> list[dict[str, Any]]:
    try:
        return [] if text is None else [dict(item) for item in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise RunError(
            f"run {hide_secrets(where)}: test_openings.json cannot be read ({error}), so it is"
            " unknown whether the test was opened; restore the file"
        ) from error


def _download(place: Storage, directory: Path, uri: str) -> None:
    directory.mkdir()
    # Who still writes there must not get ahead: what speaks of other files is read before them.
    for name in sorted(place.names(), key=_told_last, reverse=True):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise RunError(
                f"run {hide_secrets(uri)}: it holds {name!r}, which would lie outside of the"
                " run; remove it there"
            )
        if not any(part.startswith(".") for part in path.parts):
            place.download(name, directory / name)


def _told_last(name: str) -> int:
    return STATES.index(name) if name in STATES else -1


def _join(fetched: Run, local: Run, *, aside: Path) -> None:
    """Leave at `local` the run that is further, and the longer list of test openings."""
    further, other = (
        (fetched, local) if _num_lines(fetched) > _num_lines(local) else (local, fetched)
    )
    openings = _local_openings(other)
    if len(openings) > len(_local_openings(further)):
        write_text(further.test_openings, other.test_openings.read_text("utf-8"))
        for name in {Path(str(opening.get("directory"))).name for opening in openings}:
            if (other.directory / name).is_dir() and not (further.directory / name).exists():
                shutil.copytree(other.directory / name, further.directory / name)
    if further is fetched:
        local.directory.rename(aside)
        fetched.directory.rename(local.directory)
