"""Copy a run's files to a storage while they change, and fetch them from there."""

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

_RECORD, _CURVES, _TEST_ACCESSES = "search.json", "curves.csv", "test_openings.json"
_SUMMARIES = ("trials.csv", "best.yaml", _RECORD)
"""Files that describe what the other files contain: read before them, and written after them in
this order, so that a copy never describes what is not there yet."""
_OVERVIEW = ("trials.csv", "workers.csv", "logs/search.log", _RECORD)
_ONE_SHORT_ATTEMPT = Retries(number=1, seconds=2.0)

Version = tuple[int, int, int]
"""Size, modification time and inode of a file: one of them differs after a change."""


class Mirror:
    """Keeps `storage/<run's name>` equal to the run's directory, without hidden files.

    The copy can be resumed at every moment: its files are complete, and none describes what is not
    there yet. Files that are removed from the run stay in the copy.
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
            run: its files are copied.
            storage: where runs are stored.
            interval_s: pause between two searches for changed files.
            on_error: is called once, from another thread, when a copy fails after all attempts;
                then nothing is copied any more until `flush`.
        """
        self._run = run
        self._remote = storage.child(run.directory.name)
        self._interval_s = interval_s
        self._on_error = on_error
        self._copied: dict[Path, Version] = {}
        self._stop = threading.Event()
        self._copying = threading.Lock()
        self._thread = threading.Thread(target=self._copy_until_stopped, name="mirror", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Return the mirror itself."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Copy the remaining changes; an error of the storage does not hide an earlier one.

        After an OSError there is one short attempt: the storage may be what hangs. If it works, it
        must receive what is known here, above all the test accesses.

        Raises:
            StorageError: not all could be copied, and there was no other error.
        """
        self.close()
        if isinstance(error, OSError):
            self._remote = replace(self._remote, retries=_ONE_SHORT_ATTEMPT)
        try:
            self.flush()
        except StorageError as failed:
            if error is None:
                raise
            logger.warning("%s", failed)

    def flush(self) -> None:
        """Copy all changed files now.

        Raises:
            StorageError: not all could be copied.
        """
        with self._copying:
            self._copy_changed()

    def close(self) -> None:
        """End the thread after the file that it is copying; copy no others."""
        self._stop.set()
        self._thread.join()

    def _copy_until_stopped(self) -> None:
        try:
            while True:
                with self._copying:
                    self._copy_changed(self._stop.is_set)
                if self._stop.wait(self._interval_s):
                    return
        except OSError as error:
            self._on_error(error)

    def _copy_changed(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        directory = self._run.directory
        summaries = [(directory / name, *_read(directory / name)) for name in _SUMMARIES]
        for path in _files(directory):
            if is_stopped():
                return
            self._copy(path)
        for path, version, content in summaries:
            if content is not None and self._copied.get(path) != version:
                self._remote.write_bytes(path.name, content)
                self._copied[path] = version

    def _copy(self, path: Path) -> None:
        """Copy a file that changed; skip one that was removed since it was listed."""
        name = path.relative_to(self._run.directory).as_posix()
        try:
            version = _version(path)
            if self._copied.get(path) == version:
                return
            if name == _CURVES:
                self._remote.write_bytes(name, _complete_lines(path.read_bytes()))
            else:
                self._remote.upload(path, name)
            self._copied[path] = version
        except (FileNotFoundError, StorageError):
            if path.exists():
                raise


def _files(directory: Path) -> list[Path]:
    """Return all files but hidden ones and summaries; the record of test accesses comes first."""
    found: list[Path] = []
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += (Path(folder, name) for name in sorted(names) if not name.startswith("."))
    found = [path for path in found if path not in {directory / name for name in _SUMMARIES}]
    return sorted(found, key=lambda path: path.name != _TEST_ACCESSES)


def _read(path: Path) -> tuple[Version, bytes | None]:
    try:
        return _version(path), path.read_bytes()
    except FileNotFoundError:
        return (0, 0, 0), None


def _version(path: Path) -> Version:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _complete_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def fetch_run(uri: str, directory: Path) -> Run:
    """Fetch a mirrored run to `directory/<its name>`.

    If the same run exists there already, the one with more evaluations is kept, the local one if
    they have equally many. Test accesses of either run are kept.

    Raises:
        RunError: there is no run at `uri`, or another one of that name here.
        StorageError: the storage cannot be reached.
    """
    remote, name = Storage(uri.rstrip("/")), _name(uri)
    record = _read_record(remote, uri)
    local = directory / name
    if not local.exists():
        directory.mkdir(parents=True, exist_ok=True)
    else:
        _check_same(open_run(local), record, uri)
        if not _has_more(remote, Run(local)):
            return open_run(local)
    # The copy lies a directory deeper until it is complete: what a killed process leaves of it is
    # never found as a run.
    with tempfile.TemporaryDirectory(dir=directory, prefix=".fetched-") as scratch:
        fetched = Run(Path(scratch) / name)
        _download(remote, fetched.directory, uri)
        if local.exists():
            with open_run(local).lock():
                _merge(fetched, Run(local), replaced=Path(scratch) / "replaced")
        else:
            fetched.directory.rename(local)
    return open_run(local)


def fetch_overview(uri: str, directory: Path) -> Run:
    """Fetch only the files that describe the progress of a mirrored run, into `directory`.

    Raises:
        RunError: there is no run at `uri`.
        StorageError: the storage cannot be reached.
    """
    remote = Storage(uri.rstrip("/"))
    _read_record(remote, uri)
    for name in _OVERVIEW:
        remote.download(name, directory / name)
    return Run(directory)


def _name(uri: str) -> str:
    name = posixpath.basename(uri.rstrip("/"))
    if name in ("", ".", "..") or "?" in name:
        raise RunError(
            f"run {hide_secrets(uri)}: it does not end with a run's name, but must be the URI of"
            " one run; give STORAGE_PATH/NAME"
        )
    return name


def _read_record(remote: Storage, uri: str) -> dict[str, Any]:
    text = remote.read_text(_RECORD)
    if text is None:
        raise RunError(
            f"run {hide_secrets(uri)}: there is no search.json, so no search was mirrored there;"
            " give STORAGE_PATH/NAME of a mirrored search"
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
            f"run {hide_secrets(uri)}: it started at {there}, but {local.directory} contains"
            f" another run of that name, started at {here}; move that one away, or give another"
            " output.directory"
        )


def _has_more(remote: Storage, local: Run) -> bool:
    """Return whether the storage has more evaluations or more test accesses than the local run."""
    num_lines = (remote.read_text(_CURVES) or "").count("\n")
    accesses = _test_accesses(remote.read_text(_TEST_ACCESSES), remote.location)
    return num_lines > _num_lines(local) or len(accesses) > len(_local_test_accesses(local))


def _num_lines(run: Run) -> int:
    return run.curves.read_bytes().count(b"\n") if run.curves.exists() else 0


def _local_test_accesses(run: Run) -> list[dict[str, Any]]:
    text = run.test_openings.read_text("utf-8") if run.test_openings.exists() else None
    return _test_accesses(text, str(run.directory))


def _test_accesses(text: str | None, location: str) -> list[dict[str, Any]]:
    try:
        return [] if text is None else [dict(item) for item in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise RunError(
            f"run {hide_secrets(location)}: test_openings.json cannot be read ({error}), so it is"
            " unknown whether the winner was evaluated on the test set; restore the file"
        ) from error


def _download(remote: Storage, directory: Path, uri: str) -> None:
    directory.mkdir()
    # Another process may still write there: summaries are read before the files they describe.
    for name in sorted(remote.names(), key=_position_among_summaries, reverse=True):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise RunError(
                f"run {hide_secrets(uri)}: it contains {name!r}, which would lie outside of the"
                " run; remove it there"
            )
        if not any(part.startswith(".") for part in path.parts):
            remote.download(name, directory / name)


def _position_among_summaries(name: str) -> int:
    return _SUMMARIES.index(name) if name in _SUMMARIES else -1


def _merge(fetched: Run, local: Run, *, replaced: Path) -> None:
    """Keep at `local` the run with more evaluations, and the longer list of test accesses.

    Args:
        fetched: the copy from the storage.
        local: the run here.
        replaced: where the local run is moved if the fetched one replaces it.
    """
    longer, other = (
        (fetched, local) if _num_lines(fetched) > _num_lines(local) else (local, fetched)
    )
    accesses = _local_test_accesses(other)
    if len(accesses) > len(_local_test_accesses(longer)):
        write_text(longer.test_openings, other.test_openings.read_text("utf-8"))
        for name in {Path(str(access.get("directory"))).name for access in accesses}:
            if (other.directory / name).is_dir() and not (longer.directory / name).exists():
                shutil.copytree(other.directory / name, longer.directory / name)
    if longer is fetched:
        local.directory.rename(replaced)
        fetched.directory.rename(local.directory)
