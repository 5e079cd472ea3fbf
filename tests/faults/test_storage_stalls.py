"""A storage that hangs, refuses or ends: operations end in time, and no file is damaged."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from results.errors import StorageError
from results.mirror import Mirror
from results.run import Run, create_run
from results.storage import Retries, Storage
from tests.faults.s3 import S3Server, s3_server

QUICK = Retries(number=2, seconds=1.0, first_wait_s=0.2)
IN_TIME_S = 2 * 1.0 + 0.2 + 2.0
PATIENT = Retries(number=9, seconds=1.0, first_wait_s=0.1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        Storage(server.uri).write_text("old", "old")  # imports, untimed
        yield server


def _fails_in_time(storage: Storage, within_s: float = IN_TIME_S) -> str:
    started_at = time.monotonic()
    with pytest.raises(StorageError) as raised:
        storage.write_text("old", "new")
    assert time.monotonic() - started_at < within_s
    return str(raised.value)


def _run(directory: Path) -> Run:
    run = create_run(directory, "mine")
    run.write_record({"status": "running", "started_at": "2026-01-01"})
    return run


@pytest.mark.slow
def test_a_stopped_server_ends_every_operation_in_time(server: S3Server, tmp_path: Path) -> None:
    storage = Storage(server.uri, retries=QUICK)
    server.stop()
    assert "failed 2 times (TimeoutError: no answer" in _fails_in_time(storage)
    for operation in (storage.names, storage.remove, lambda: storage.read_text("old")):
        with pytest.raises(StorageError):
            operation()
    with pytest.raises(StorageError):
        storage.download("old", tmp_path / "old")
    assert not (tmp_path / "old").exists()


def test_attempts_answered_late_leave_nothing_beside_the_file(
    server: S3Server,
) -> None:
    others = set(threading.enumerate())
    server.stop()
    _fails_in_time(Storage(server.uri, retries=QUICK))
    server.resume()
    storage = Storage(server.uri, retries=PATIENT)
    storage.write_text("old", "newest")
    deadline = time.monotonic() + 20
    while any(thread.name == "storage" for thread in set(threading.enumerate()) - others):
        assert time.monotonic() < deadline, "an attempt never ended"
        time.sleep(0.1)
    assert storage.read_text("old") == "newest"
    assert storage.names() == ["old"]


def test_a_server_that_is_resumed_in_time_is_used_by_a_later_attempt(server: S3Server) -> None:
    server.stop()
    timer = threading.Timer(1.5, server.resume)
    timer.start()
    storage = Storage(server.uri, retries=PATIENT)
    storage.write_text("old", "new")
    assert storage.read_text("old") == "new"


def test_a_server_that_is_gone_ends_in_time(server: S3Server) -> None:
    server.kill()
    assert "failed 2 times" in _fails_in_time(Storage(server.uri, retries=QUICK))


@pytest.mark.slow
def test_a_mirror_reports_once_that_the_storage_hangs_and_can_continue_later(
    server: S3Server, tmp_path: Path
) -> None:
    run, errors = _run(tmp_path), []
    storage = Storage(server.uri, retries=QUICK)
    with Mirror(run, storage, interval_s=0.1, on_error=errors.append) as mirror:
        mirror.flush()
        server.stop()
        run.write_config("later: true\n")
        time.sleep(IN_TIME_S + 1)
        assert len(errors) == 1
        assert isinstance(errors[0], StorageError)
        with pytest.raises(StorageError):
            mirror.flush()
        server.resume()
    assert storage.child("mine").read_text("config.yaml") == "later: true\n"


def test_the_local_run_stays_when_the_mirror_fails(server: S3Server, tmp_path: Path) -> None:
    run = _run(tmp_path)
    server.kill()
    storage = Storage(server.uri, retries=QUICK)
    with pytest.raises(StorageError), Mirror(run, storage, on_error=lambda _: None):
        pass
    assert run.read_record()["status"] == "running"


def test_an_error_is_not_hidden_by_one_of_the_storage(server: S3Server, tmp_path: Path) -> None:
    server.kill()
    storage = Storage(server.uri, retries=QUICK)
    with pytest.raises(KeyError), Mirror(_run(tmp_path), storage, on_error=lambda _: None):
        raise KeyError


def test_after_a_storage_error_the_end_does_not_wait_for_the_storage_again(
    server: S3Server, tmp_path: Path
) -> None:
    server.stop()
    mirror = Mirror(_run(tmp_path), Storage(server.uri, retries=QUICK), on_error=lambda _: None)
    time.sleep(IN_TIME_S)  # the thread gives up in this time
    started_at = time.monotonic()
    mirror.__exit__(OSError, OSError("disk full"), None)
    assert time.monotonic() - started_at < 4


class _FakeFiles(MemoryFileSystem):
    """Files in memory, and a connection that hangs when a test wants it to."""

    protocol = "fake"
    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    is_released = threading.Event()
    num_connections = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        type(self).num_connections += 1
        self.is_first = self.num_connections == 1

    def pipe_file(self, path: str, value: bytes, *arguments: Any, **options: Any) -> None:
        if self.is_first:
            assert self.is_released.wait(30)
        super().pipe_file(path, value, *arguments, **options)


@pytest.fixture
def fake() -> Iterator[type[_FakeFiles]]:
    _FakeFiles.store.clear()
    _FakeFiles.is_released.clear()
    _FakeFiles.num_connections = 0
    fsspec.register_implementation("fake", _FakeFiles, clobber=True)
    yield _FakeFiles
    _FakeFiles.is_released.set()


def test_a_connection_that_hangs_does_not_delay_the_next_attempt(fake: type[_FakeFiles]) -> None:
    storage = Storage("fake://one/x", retries=QUICK)
    storage.write_text("a", "1")
    storage.write_text("b", "2")
    assert storage.names() == ["a", "b"]
    assert fake.num_connections == 2


def test_an_attempt_that_wakes_up_after_a_newer_one_changes_nothing(fake: type[_FakeFiles]) -> None:
    others = set(threading.enumerate())
    with pytest.raises(StorageError):
        Storage("fake://two/x", retries=Retries(number=1, seconds=0.2)).write_text("a", "old")
    storage = Storage("fake://two/x")
    storage.write_text("a", "new")
    fake.is_released.set()
    for late in set(threading.enumerate()) - others:
        late.join(10)
    assert storage.read_text("a") == "new"
    assert storage.names() == ["a"]


@pytest.mark.slow
@pytest.mark.long
def test_the_default_retries_end_within_a_minute_and_not_long_before(server: S3Server) -> None:
    server.stop()
    started_at = time.monotonic()
    assert "failed 5 times" in _fails_in_time(Storage(server.uri), within_s=60)
    assert time.monotonic() - started_at > 50
