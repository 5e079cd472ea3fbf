"""Files in a directory or behind a URI that may stall: every operation is tried, and ends."""

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

_BYTES_A_SECOND = 2_000_000
"""The slowest connection on which large files still arrive."""


class RetriesExhaustedError(Exception):
    """No try went well."""

    def __init__(self, num_tries: int, cause: Exception) -> None:
        super().__init__(f"given up after {num_tries} tries")
        self.num_tries = num_tries
        self.cause = cause


@dataclass(kw_only=True)
class Attempt:
    """One try, seen from the work that it does."""

    seconds: float
    """How long it may take."""
    _over: threading.Event = field(default_factory=threading.Event)

    def allow_time_for(self, num_bytes: int) -> None:
        """Allow the time that moving so many bytes takes: a second for each 2 MB."""
        self.seconds += num_bytes / _BYTES_A_SECOND

    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more: it woke up late and must change nothing."""
        return self._over.is_set()

    def abandon(self) -> None:
        """Wait no longer."""
        self._over.set()


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often something is tried and how long it is waited for: 58 seconds in all."""

    number: int = 5
    seconds: float = 8.5
    """Of one try; more where it expects much to move."""
    first_wait_s: float = 1.0
    """Seconds between the first and the second try; doubled after each."""

    def run(self, work: Callable[[Attempt], T], *, on_failure: Callable[[Exception], bool]) -> T:
        """The result of `work`, called in a thread of its own a try.

        Args:
            work: may hang; its thread is then left behind, and is told by its `Attempt`.
            on_failure: told of each try that failed; says whether another may help.

        Raises:
            RetriesExhaustedError: every try failed, or one failed for good.
        """
        for number in range(1, self.number + 1):
            try:
                return _in_thread(work, Attempt(seconds=self.seconds))
            except Exception as error:  # each kind of storage has exceptions of its own
                if not on_failure(error) or number == self.number:
                    raise RetriesExhaustedError(number, error) from error
            time.sleep(self.first_wait_s * 2 ** (number - 1))
        raise AssertionError("there is at least one try")


def _in_thread(work: Callable[[Attempt], T], now: Attempt) -> T:
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work(now))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="storage", daemon=True).start()
    began = time.monotonic()
    while not result.done():
        left = began + now.seconds - time.monotonic()
        if left <= 0:
            now.abandon()
            raise TimeoutError(f"no answer within {now.seconds:.3g} s")
        wait([result], timeout=left)
    return result.result()


Files = Any
"""A file system of fsspec, which ships no types."""

_connected: dict[str, Files] = {}
"""A file system a host or bucket, until a try fails: what hangs must not meet the next try."""

_FIVE_TRIES = Retries()

_LASTING = (
    *(PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError),
    *(ImportError, ValueError, TypeError),
)
_LASTING_NUMBERS = {errno.EROFS, errno.EINVAL, errno.ENOSYS, errno.ENAMETOOLONG}


@dataclass(frozen=True)
class Storage:
    """A place for files: a directory, or a URI that fsspec opens.

    Every operation is tried up to five times within 60 seconds, and a second more a try for each
    2 MB that it moves. Each raises `StorageError`, whose message is one line for the user, when
    no try went well, or at once where no further try can help.
    """

    location: str
    """Path or URI; credentials belong into the environment or fsspec's configuration."""
    _: KW_ONLY
    retries: Retries = _FIVE_TRIES

    def child(self, name: str) -> "Storage":
        """The place `name` in this one."""
        return replace(self, location=f"{self.location.rstrip('/')}/{name}")

    def upload(self, path: Path, name: str) -> None:
        """Copy the file `path` to `name`, replacing it; nobody ever sees half of it.

        Raises:
            FileNotFoundError: there is no file at `path`.
        """
        size = path.stat().st_size

        def write(files: Files, aside: str, now: Attempt) -> range:
            now.allow_time_for(size)
            before = path.stat().st_size
            files.put_file(os.fspath(path), aside)
            # A file that grew meanwhile is as good as one that grows a moment later.
            lowest, highest = sorted((before, path.stat().st_size))
            return range(lowest, highest + 1)

        self._publish(name, write)

    def write_text(self, name: str, text: str) -> None:
        """Replace `name` with `text` (UTF-8), whole at every moment."""
        self.write_bytes(name, text.encode("utf-8"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Replace `name` with `content`, whole at every moment."""

        def write(files: Files, aside: str, now: Attempt) -> range:
            now.allow_time_for(len(content))
            files.pipe_file(aside, content)
            return range(len(content), len(content) + 1)

        self._publish(name, write)

    def download(self, name: str, path: Path) -> bool:
        """Copy `name` to the file `path`, which is replaced whole; False if it is not there."""
        path.parent.mkdir(parents=True, exist_ok=True)

        def fetch(files: Files, place: str, now: Attempt) -> bool:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
                aside = Path(scratch) / "file"
                try:
                    size = files.info(f"{place}/{name}")["size"]
                    now.allow_time_for(size)
                    files.get_file(f"{place}/{name}", os.fspath(aside))
                except FileNotFoundError:
                    return False
                _check_size(aside.stat().st_size, range(size, size + 1))
                _sync(aside)
                if not now.is_abandoned():
                    aside.replace(path)
            return True

        return self._try(f"reading {name}", fetch)

    def read_text(self, name: str) -> str | None:
        """Content of `name` (UTF-8; what is not, as a sign for it); None if it is not there."""

        def read(files: Files, place: str, now: Attempt) -> str | None:
            try:
                now.allow_time_for(files.info(f"{place}/{name}")["size"])
                content: bytes = files.cat_file(f"{place}/{name}")
            except FileNotFoundError:
                return None
            return content.decode("utf-8", errors="replace")

        return self._try(f"reading {name}", read)

    def names(self) -> list[str]:
        """Names of all files below, relative, with `/`; none where there is no such place."""

        def find(files: Files, place: str, _now: Attempt) -> list[str]:
            with suppress(FileNotFoundError):
                below = (path.removeprefix(f"{place}/") for path in files.find(place))
                return sorted(name for name in below if name and name != place)
            return []

        return self._try("listing", find)

    def remove(self) -> None:
        """Remove the whole place; one that is missing is removed already."""

        def remove(files: Files, place: str, _now: Attempt) -> None:
            with suppress(FileNotFoundError):
                if isinstance(files, LocalFileSystem):
                    files.rm(place, recursive=True)
                    return
                for path in files.find(place):
                    files.rm_file(path)  # not `rm`, which takes names for patterns

        self._try("removing", remove)

    def _publish(self, name: str, write: Callable[[Files, str, Attempt], range]) -> None:
        def publish(files: Files, place: str, now: Attempt) -> None:
            folder, base = posixpath.split(f"{place}/{name}")
            aside = f"{folder}/.{base}.{uuid.uuid4().hex}"
            try:
                sizes = write(files, aside, now)
            except FileNotFoundError:
                _make_directory(files, folder)
                sizes = write(files, aside, now)
            if now.is_abandoned():  # it woke up late: its content may be old by now
                files.rm_file(aside)
                return
            _check_size(files.info(aside)["size"], sizes)
            _move(files, aside, f"{folder}/{base}")

        self._try(f"writing {name}", publish)

    def _try(self, what: str, act: Callable[[Files, str, Attempt], T]) -> T:
        host = "/".join(self.location.split("/")[:3]) if is_uri(self.location) else ""

        def work(now: Attempt) -> T:
            if host not in _connected:
                _connected[host] = fsspec.core.url_to_fs(self.location, skip_instance_cache=True)[0]
            files = _connected[host]
            files.invalidate_cache()  # others write there too
            return act(files, files._strip_protocol(self.location).rstrip("/"), now)

        def may_pass(error: Exception) -> bool:
            _connected.pop(host, None)
            return not _is_lasting(error)

        try:
            if host:  # the import of its package is not timed
                fsspec.get_filesystem_class(host.partition("://")[0])
            return self.retries.run(work, on_failure=may_pass)
        except RetriesExhaustedError as error:
            raise self._error(what, error.cause, error.num_tries) from error
        except (ImportError, ValueError) as error:
            raise self._error(what, error) from error

    def _error(self, what: str, error: BaseException, num_tries: int = 1) -> StorageError:
        where = hide_secrets(f"storage {self.location}: {what}")
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        reason = hide_secrets(reason)
        if isinstance(error, ImportError):
            rest = f"is not possible ({reason}); install that package with pip"
        elif _is_lasting(error):
            rest = f"is not possible ({reason}); check that the place exists and may be written"
        else:
            rest = (
                f"failed {num_tries} times ({reason}); check that the storage can be reached: what"
                " is known is in the local run, and --resume goes on"
            )
        return StorageError(f"{where} {rest}", reason=reason)


def _is_lasting(error: BaseException) -> bool:
    """Whether no further try can help."""
    return (
        isinstance(error, _LASTING)
        or getattr(error, "errno", None) in _LASTING_NUMBERS
        or "Credentials" in type(error).__name__  # each kind of storage has a class of its own
    )


def _check_size(size: int, expected: range) -> None:
    if size not in expected:
        raise OSError(f"{size} bytes arrived of {expected[0]}")


def _make_directory(files: Files, folder: str) -> None:
    """Make `folder`, but never its first part: a bucket whose name is mistyped stays unmade."""
    parts = folder.split("/")
    for depth in range(2, len(parts) + 1):
        with suppress(FileExistsError):
            files.mkdir("/".join(parts[:depth]), create_parents=False)


def _move(files: Files, source: str, target: str) -> None:
    if type(files).mv is AbstractFileSystem.mv:  # it takes names for patterns
        files.copy([source], [target], on_error="raise")
        files.rm_file(source)
    else:
        files.mv(source, target)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
