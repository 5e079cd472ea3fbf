"""Storage in a directory or behind a URI: atomic writes, retries, and quirks of file systems."""

import errno
import os
import posixpath
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from results.errors import StorageError
from training.cli import hide_secrets, is_uri

T = TypeVar("T")

Files = Any
"""A file system of fsspec, which ships no types."""

_BYTES_PER_SECOND = 2_000_000
"""The slowest connection on which large files still arrive in time."""

_PERMANENT = (
    *(PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError),
    *(ImportError, ValueError, TypeError),
)
_PERMANENT_NUMBERS = {errno.EROFS, errno.EINVAL, errno.ENOSYS, errno.ENAMETOOLONG}


class RetriesExhaustedError(Exception):
    """Every attempt failed, or one failed with an error that no further attempt can change."""

    def __init__(self, num_attempts: int, cause: Exception) -> None:
        super().__init__(f"failed after {num_attempts} attempts")
        self.num_attempts = num_attempts
        self.cause = cause


@dataclass(kw_only=True)
class Attempt:
    """One attempt at an operation, which runs in a thread of its own."""

    seconds: float
    """Time limit; the operation adds to it by `allow_time_for`."""
    _abandoned: threading.Event = field(default_factory=threading.Event)

    def allow_time_for(self, num_bytes: int) -> None:
        """Add the time that moving so many bytes takes: a second for each 2 MB."""
        self.seconds += num_bytes / _BYTES_PER_SECOND

    def is_abandoned(self) -> bool:
        """Return whether the time limit has passed: a late attempt must change nothing any more."""
        return self._abandoned.is_set()

    def abandon(self) -> None:
        """Stop waiting for this attempt."""
        self._abandoned.set()


@dataclass(frozen=True, kw_only=True)
class Retries:
    """Number of attempts, their time limit and the pauses between them: 58 seconds in all."""

    number: int = 5
    """Attempts in all."""
    seconds: float = 8.5
    """Time limit of an attempt, without the time for what it moves."""
    first_wait_s: float = 1.0
    """Seconds between the first and the second attempt; doubled after each."""

    def run(self, work: Callable[[Attempt], T], *, on_failure: Callable[[Exception], bool]) -> T:
        """Return the result of `work`, which is called in a new thread for each attempt.

        Args:
            work: may hang; then its thread is left behind, and its `Attempt` is abandoned.
            on_failure: is called after each failed attempt; returns whether another one may help.

        Raises:
            RetriesExhaustedError: all attempts failed, or `on_failure` returned False.
        """
        for number in range(1, self.number + 1):
            try:
                return _run_in_thread(work, Attempt(seconds=self.seconds))
            except Exception as error:  # each kind of storage has exceptions of its own
                if not on_failure(error) or number == self.number:
                    raise RetriesExhaustedError(number, error) from error
            time.sleep(self.first_wait_s * 2 ** (number - 1))
        raise AssertionError("there is at least one attempt")


def _run_in_thread(work: Callable[[Attempt], T], attempt: Attempt) -> T:
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work(attempt))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="storage", daemon=True).start()
    started = time.monotonic()
    while not result.done():
        left = started + attempt.seconds - time.monotonic()
        if left <= 0:
            attempt.abandon()
            raise TimeoutError(f"no answer within {attempt.seconds:.3g} s")
        wait([result], timeout=left)
    return result.result()


_connections: dict[str, Files] = {}
"""File system by host or bucket. A failed attempt removes it: the next one must not reuse a
connection that hangs."""

_DEFAULT_RETRIES = Retries()


@dataclass(frozen=True)
class Storage:
    """Files in a directory, or behind a URI that fsspec opens.

    Every operation is attempted up to five times within 60 seconds, and a second more per attempt
    for each 2 MB that it moves. Each raises `StorageError`, whose message is one line for the user,
    when no attempt succeeded, or at once after an error that no further attempt can change.
    """

    location: str
    """Path or URI; credentials belong in the environment or in fsspec's configuration."""
    _: KW_ONLY
    retries: Retries = _DEFAULT_RETRIES

    def child(self, name: str) -> "Storage":
        """Return the storage of the directory `name` in this one."""
        return replace(self, location=f"{self.location.rstrip('/')}/{name}")

    def upload(self, path: Path, name: str) -> None:
        """Copy the file `path` to `name`, atomically.

        Raises:
            FileNotFoundError: there is no file at `path`.
        """
        size = path.stat().st_size

        def write(files: Files, temporary: str, attempt: Attempt) -> range:
            attempt.allow_time_for(size)
            before = path.stat().st_size
            files.put_file(os.fspath(path), temporary)
            # A file that grew meanwhile is as valid as one that grows a moment later.
            smallest, largest = sorted((before, path.stat().st_size))
            return range(smallest, largest + 1)

        self._write_atomically(name, write)

    def write_text(self, name: str, text: str) -> None:
        """Replace `name` with `text` (UTF-8), atomically."""
        self.write_bytes(name, text.encode("utf-8"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Replace `name` with `content`, atomically."""

        def write(files: Files, temporary: str, attempt: Attempt) -> range:
            attempt.allow_time_for(len(content))
            files.pipe_file(temporary, content)
            return range(len(content), len(content) + 1)

        self._write_atomically(name, write)

    def download(self, name: str, path: Path) -> bool:
        """Copy `name` to the file `path`, atomically; return False if there is no such file."""
        path.parent.mkdir(parents=True, exist_ok=True)

        def fetch(files: Files, root: str, attempt: Attempt) -> bool:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
                temporary = Path(scratch) / "file"
                try:
                    size = files.info(f"{root}/{name}")["size"]
                    attempt.allow_time_for(size)
                    files.get_file(f"{root}/{name}", os.fspath(temporary))
                except FileNotFoundError:
                    return False
                _check_size(temporary.stat().st_size, range(size, size + 1))
                _sync(temporary)
                if not attempt.is_abandoned():
                    temporary.replace(path)
            return True

        return self._attempt(f"reading {name}", fetch)

    def read_text(self, name: str) -> str | None:
        """Return the content of `name` (UTF-8, invalid bytes replaced); None: no such file."""

        def read(files: Files, root: str, attempt: Attempt) -> str | None:
            try:
                attempt.allow_time_for(files.info(f"{root}/{name}")["size"])
                content: bytes = files.cat_file(f"{root}/{name}")
            except FileNotFoundError:
                return None
            return content.decode("utf-8", errors="replace")

        return self._attempt(f"reading {name}", read)

    def names(self) -> list[str]:
        """Return the relative names of all files, with `/`; none if the directory is missing."""

        def find(files: Files, root: str, _attempt: Attempt) -> list[str]:
            with suppress(FileNotFoundError):
                below = (path.removeprefix(f"{root}/") for path in files.find(root))
                return sorted(name for name in below if name and name != root)
            return []

        return self._attempt("listing", find)

    def remove(self) -> None:
        """Remove the directory with all its files, if it exists."""

        def remove(files: Files, root: str, _attempt: Attempt) -> None:
            with suppress(FileNotFoundError):
                if isinstance(files, LocalFileSystem):
                    files.rm(root, recursive=True)
                    return
                for path in files.find(root):
                    files.rm_file(path)  # not `rm`, which takes names for patterns

        self._attempt("removing", remove)

    def _write_atomically(self, name: str, write: Callable[[Files, str, Attempt], range]) -> None:
        """Write a temporary file beside `name` and move it there.

        Args:
            name: of the file to replace.
            write: writes the temporary file; returns the sizes that it may have.
        """

        def publish(files: Files, root: str, attempt: Attempt) -> None:
            folder, base = posixpath.split(f"{root}/{name}")
            temporary = f"{folder}/.{base}.{uuid.uuid4().hex}"
            try:
                sizes = write(files, temporary, attempt)
            except FileNotFoundError:
                _make_directory(files, folder)
                sizes = write(files, temporary, attempt)
            if attempt.is_abandoned():  # a later attempt may have written newer content
                files.rm_file(temporary)
                return
            _check_size(files.info(temporary)["size"], sizes)
            _move(files, temporary, f"{folder}/{base}")

        self._attempt(f"writing {name}", publish)

    def _attempt(self, operation: str, act: Callable[[Files, str, Attempt], T]) -> T:
        host = "/".join(self.location.split("/")[:3]) if is_uri(self.location) else ""

        def work(attempt: Attempt) -> T:
            if host not in _connections:
                opened, _ = fsspec.core.url_to_fs(self.location, skip_instance_cache=True)
                _connections[host] = opened
            files = _connections[host]
            files.invalidate_cache()  # other processes write there too
            return act(files, files._strip_protocol(self.location).rstrip("/"), attempt)

        def is_transient(error: Exception) -> bool:
            _connections.pop(host, None)
            return not _is_permanent(error)

        try:
            if host:  # imports the package of the protocol outside of the time limit
                fsspec.get_filesystem_class(host.partition("://")[0])
            return self.retries.run(work, on_failure=is_transient)
        except RetriesExhaustedError as error:
            raise self._error(operation, error.cause, error.num_attempts) from error
        except (ImportError, ValueError) as error:
            raise self._error(operation, error) from error

    def _error(self, operation: str, error: BaseException, num_attempts: int = 1) -> StorageError:
        where = hide_secrets(f"storage {self.location}: {operation}")
        reason = hide_secrets(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        if isinstance(error, ImportError):
            rest = f"is not possible ({reason}); install that package with pip"
        elif _is_permanent(error):
            rest = f"is not possible ({reason}); check that the location exists and is writable"
        else:
            rest = (
                f"failed {num_attempts} times ({reason}); check that the storage can be reached,"
                " then use --resume: the local run is complete"
            )
        return StorageError(f"{where} {rest}", reason=reason)


def _is_permanent(error: BaseException) -> bool:
    """Return whether no further attempt can succeed."""
    return (
        isinstance(error, _PERMANENT)
        or getattr(error, "errno", None) in _PERMANENT_NUMBERS
        or "Credentials" in type(error).__name__  # each kind of storage has a class of its own
    )


def _check_size(size: int, expected: range) -> None:
    if size not in expected:
        raise OSError(f"{size} bytes arrived of {expected[0]}")


def _make_directory(files: Files, folder: str) -> None:
    """Make `folder`, but not its first part: a bucket whose name is misspelt is not created."""
    parts = folder.split("/")
    for depth in range(2, len(parts) + 1):
        with suppress(FileExistsError):
            files.mkdir("/".join(parts[:depth]), create_parents=False)


def _move(files: Files, source: str, target: str) -> None:
    if type(files).mv is AbstractFileSystem.mv:  # fsspec's own `mv` takes names for patterns
        files.copy([source], [target], on_error="raise")
        files.rm_file(source)
    else:
        files.mv(source, target)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
