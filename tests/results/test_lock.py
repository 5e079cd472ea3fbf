import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from results import lock
from results.errors import RunError
from results.lock import UNREADABLE, acquire, is_locked, read_owner, this_process
from tests.results.starters import (
    LONG_AGO,
    Start,
    assert_acquired_at_once,
    dead,
    leave_lock,
    owner_of,
    wait_until,
)


def test_the_error_for_a_second_process_names_the_owner_its_host_and_the_time(
    tmp_path: Path, start: Start
) -> None:
    first, second = start(), start()
    assert first.acquire(tmp_path) == "acquired"
    assert is_locked(tmp_path)
    error = second.acquire(tmp_path)
    number, host = first.process.pid, os.uname().nodename
    assert error.startswith(f"run {tmp_path}: another process is writing it: process {number} on")
    assert f"on host {host}, since {owner_of(tmp_path).since};" in error
    assert error.endswith(f"wait until it ends, or stop it first (kill {number} on {host})")
    first.release()
    assert not is_locked(tmp_path)
    assert second.acquire(tmp_path) == "acquired"


def test_a_released_lock_leaves_neither_file_nor_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with acquire(tmp_path, interval_s=0.01):
        wait_until(lambda: owner_of(tmp_path).heartbeat > 2)
    assert set(threading.enumerate()) <= before
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_raises_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), acquire(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_process_cannot_acquire_a_lock_twice(tmp_path: Path) -> None:
    with acquire(tmp_path):
        with pytest.raises(RunError, match=f"process {os.getpid()} on"), acquire(tmp_path):
            pass
        assert is_locked(tmp_path)


def test_a_stopped_process_on_this_machine_keeps_its_lock(tmp_path: Path, start: Start) -> None:
    stopped = start(interval_s=0.05)
    assert stopped.acquire(tmp_path) == "acquired"
    stopped.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    assert is_locked(tmp_path)
    with pytest.raises(RunError, match="another process is writing it"), acquire(tmp_path):
        pass


def test_a_reader_never_reads_half_a_heartbeat(tmp_path: Path) -> None:
    with acquire(tmp_path, interval_s=0.0005):
        contents: set[bytes] = set()
        while len(contents) < 100:
            contents.add((tmp_path / ".lock").read_bytes())
    assert len({len(content) for content in contents}) == 1
    assert {json.loads(content)["process"] for content in contents} == {os.getpid()}


def test_a_full_disk_does_not_stop_the_heartbeat(tmp_path: Path) -> None:
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", os.fspath(tmp_path)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with acquire(tmp_path, interval_s=0.02):
            with pytest.raises(OSError, match="No space"), (tmp_path / "filling").open("wb") as all:
                all.write(bytes(1 << 20))
            seen = owner_of(tmp_path).heartbeat
            wait_until(lambda: owner_of(tmp_path).heartbeat > seen + 3)
        assert list(tmp_path.iterdir()) == [tmp_path / "filling"]
    finally:
        subprocess.run(["umount", os.fspath(tmp_path)], check=True)


def test_a_transient_error_does_not_stop_the_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with acquire(tmp_path, interval_s=0.02):
        with monkeypatch.context() as fake:  # a fake: a file server that is away for a while
            fake.setattr(Path, "open", _raise_io_error)
            time.sleep(0.2)
        seen = owner_of(tmp_path).heartbeat
        wait_until(lambda: owner_of(tmp_path).heartbeat > seen + 3)


def _raise_io_error(*_: Any, **__: Any) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_the_release_waits_for_a_heartbeat_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Event()

    def beat_slowly(*_: Any) -> bool:  # a fake: a slow file server
        started.set()
        time.sleep(0.3)
        return True

    monkeypatch.setattr("results.lock.write_heartbeat", beat_slowly)
    with acquire(tmp_path, interval_s=0.01):
        assert started.wait(10)
    assert "lock" not in {thread.name for thread in threading.enumerate()}


def test_a_lock_that_was_taken_over_is_neither_written_nor_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = replace(this_process(5.0), host="elsewhere").as_bytes()
    with acquire(tmp_path, interval_s=0.02):
        (tmp_path / "theirs").write_bytes(theirs)
        (tmp_path / "theirs").replace(tmp_path / ".lock")
        wait_until(lambda: "no longer ours" in caplog.text)
        time.sleep(0.1)
    assert caplog.text.count("no longer ours") == 1
    assert (tmp_path / ".lock").read_bytes() == theirs


def test_a_lock_that_was_removed_by_hand_is_not_written_again(tmp_path: Path) -> None:
    with acquire(tmp_path, interval_s=0.02):
        (tmp_path / ".lock").unlink()
        time.sleep(0.2)
        assert list(tmp_path.iterdir()) == []


def test_a_forked_child_that_leaves_the_block_does_not_release_the_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from results.lock import acquire, is_locked\n"
        "directory = Path(sys.argv[1])\n"
        "with acquire(directory):\n"
        "    child = os.fork()\n"
        "    if child: os.waitpid(child, 0); print(is_locked(directory))\n"
        "if child: print(list(directory.iterdir()))\n"
    )
    command = [sys.executable, "-c", code, os.fspath(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout == "True\n[]\n", ended.stderr


def test_a_directory_that_does_not_exist_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), acquire(tmp_path / "none"):
        pass
    assert not is_locked(tmp_path / "none")


@pytest.mark.parametrize("reap", [True, False], ids=["reaped", "zombie"])
def test_the_lock_of_a_killed_process_is_taken_over_at_once(
    tmp_path: Path, start: Start, reap: bool, caplog: pytest.LogCaptureFixture
) -> None:
    killed = start()
    assert killed.acquire(tmp_path) == "acquired"
    killed.kill(reap=reap)
    assert not is_locked(tmp_path)
    assert_acquired_at_once(tmp_path)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert (
        f"took over the lock of dead process {killed.process.pid} on host" in warning.getMessage()
    )


def test_the_owner_is_dead_if_its_process_id_was_reused(tmp_path: Path) -> None:
    leave_lock(tmp_path, this_process(5.0))
    assert is_locked(tmp_path)
    leave_lock(tmp_path, dead())
    assert not is_locked(tmp_path)
    assert_acquired_at_once(tmp_path)


def test_a_lock_of_an_earlier_boot_is_dead(tmp_path: Path) -> None:
    leave_lock(tmp_path, replace(this_process(5.0), boot="an earlier one"), at=LONG_AGO)
    assert not is_locked(tmp_path)
    assert_acquired_at_once(tmp_path)


def test_a_recent_lock_of_another_boot_may_belong_to_a_machine_of_the_same_name(
    tmp_path: Path,
) -> None:
    leave_lock(tmp_path, replace(this_process(0.2), boot="another one"))
    started = time.monotonic()
    with acquire(tmp_path):
        assert time.monotonic() - started >= 0.6


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\x00", b'{"host": "h"}', dead().as_bytes()[:-40]]
)
def test_a_file_that_is_no_lock_has_no_owner(tmp_path: Path, content: bytes) -> None:
    leave_lock(tmp_path, content)
    assert not is_locked(tmp_path)
    assert_acquired_at_once(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_another_machine_is_taken_over_once_its_heartbeat_stops(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    other = start(host="elsewhere", interval_s=0.5)
    assert other.acquire(tmp_path) == "acquired"
    with pytest.raises(RunError, match=f"kill {other.process.pid} on elsewhere"), acquire(tmp_path):
        pass
    other.kill()
    caplog.clear()
    started = time.monotonic()
    with acquire(tmp_path):
        assert time.monotonic() - started >= 1.5
        assert owner_of(tmp_path).host == os.uname().nodename
    waiting, taken = (record.getMessage() for record in caplog.records)
    whose = f"process {other.process.pid} on host elsewhere"
    assert f"waiting up to 1.5 s for a heartbeat of {whose}" in waiting
    assert f"took over the lock of dead {whose}" in taken


def test_the_wait_for_another_machine_ends_when_it_releases_the_lock(
    tmp_path: Path, start: Start
) -> None:
    leave_lock(tmp_path, replace(dead(), host="elsewhere"))
    starter = start()
    starter.send(tmp_path)
    time.sleep(0.5)
    (tmp_path / ".lock").unlink()
    started = time.monotonic()
    assert starter.answer() == "acquired"
    assert time.monotonic() - started < 5


def test_the_owner_in_another_container_is_judged_by_its_heartbeat(tmp_path: Path) -> None:
    """Its process ids are not ours: a process of that id here is another one."""
    leave_lock(tmp_path, replace(this_process(0.1), pid_namespace="pid:[1]"))
    with acquire(tmp_path):
        pass


def test_reading_the_state_of_another_machine_s_lock_is_quick_and_changes_nothing(
    tmp_path: Path,
) -> None:
    elsewhere = replace(this_process(5.0), host="elsewhere")
    for at, expected in ((None, True), (LONG_AGO, False)):
        leave_lock(tmp_path, elsewhere, at=at)
        before = (tmp_path / ".lock").stat().st_mtime_ns
        started = time.monotonic()
        assert is_locked(tmp_path) is expected
        assert time.monotonic() - started < 1
        assert (tmp_path / ".lock").stat().st_mtime_ns == before
        assert list(tmp_path.iterdir()) == [tmp_path / ".lock"]


def test_of_eight_processes_that_find_a_dead_lock_exactly_one_acquires_it(
    tmp_path: Path, start: Start
) -> None:
    starters = [start() for _ in range(8)]
    for number in range(12):
        directory = tmp_path / str(number)
        directory.mkdir()
        gone = dead()
        leave_lock(directory, b"" if number % 4 == 2 else gone)
        if number % 4 == 1:  # somebody was killed while taking it over
            (directory / f".lock.{gone.token}").write_bytes(dead().as_bytes())
        if number % 4 == 3:  # and so was the machine
            (directory / f".lock.{gone.token}").write_bytes(b"")
        for one in starters:
            one.send(directory)
        answers = [one.answer() for one in starters]
        found = zip(starters, answers, strict=True)
        (winner,) = (one for one, answer in found if answer == "acquired")
        assert sum("another process is writing it" in answer for answer in answers) == 7
        assert owner_of(directory).process == winner.process.pid
        winner.release()
        assert list(directory.iterdir()) == []


def test_no_other_process_acquires_the_lock_at_the_last_step_of_a_takeover(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, really_replace, answers = start(), Path.replace, []

    def replace_slowly(path: Path, target: Path) -> Path:  # a fake: the worst of moments
        answers.append(other.acquire(tmp_path))
        return really_replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_slowly)
    leave_lock(tmp_path, dead())
    with acquire(tmp_path):
        (answer,) = answers
        assert f"another process is writing it: process {os.getpid()} on" in answer


def test_a_process_killed_while_acquiring_leaves_no_half_lock(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from results.lock import acquire\n"
        "print(flush=True)\n"
        "while True:\n"
        "    with acquire(Path(sys.argv[1])): pass\n"
    )
    for number in range(8):
        command = [sys.executable, "-c", code, os.fspath(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            until = time.monotonic() + 0.02 + number * 0.003
            while time.monotonic() < until:
                with suppress(FileNotFoundError):
                    json.loads((tmp_path / ".lock").read_bytes())
            process.kill()
        assert read_owner(tmp_path / ".lock") != UNREADABLE
        assert_acquired_at_once(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_the_lock_of_an_older_version_is_read(tmp_path: Path, start: Start) -> None:
    """Version 0.3.0 wrote this content; its owner on this machine is alive, then killed."""
    owner = start()
    mine = this_process(5.0)
    started = psutil.Process(owner.process.pid).create_time() - psutil.boot_time()
    content = (
        f'{{"host": "{mine.host}", "boot": "{mine.boot}", "pid_namespace": "{mine.pid_namespace}",'
        f' "process": {owner.process.pid}, "process_started": {started:.2f},'
        ' "since": "2025-01-01T00:00:00+00:00", "token": "0123456789abcdef", "interval_s": 5.0,'
        ' "heartbeat":            7}\n'
    )
    leave_lock(tmp_path, content.encode(), at=LONG_AGO)
    assert is_locked(tmp_path)
    with pytest.raises(RunError, match=f"kill {owner.process.pid} on"), acquire(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == content
    owner.kill()
    assert not is_locked(tmp_path)
    assert_acquired_at_once(tmp_path)


def test_setting_the_clock_does_not_make_the_owner_seem_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("there the start of a process does not move with the clock")
    boot_time = psutil.boot_time()
    with acquire(tmp_path):
        # A fake: the kernel's boot time, as it moves when the clock is set an hour forward.
        monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot_time + 3600)
        assert psutil.boot_time() == boot_time + 3600
        assert is_locked(tmp_path)


def test_without_proc_boots_are_distinguished_by_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_BOOT_ID", "_PID_NAMESPACE"):  # a fake: there is no macOS here
        monkeypatch.setattr(lock, name, tmp_path / "none")
    with acquire(tmp_path):
        assert float(owner_of(tmp_path).boot) == pytest.approx(psutil.boot_time(), abs=1)
        assert owner_of(tmp_path).pid_namespace == ""
        with pytest.raises(RunError, match="another process is writing it"), acquire(tmp_path):
            pass
    leave_lock(tmp_path, dead())
    assert_acquired_at_once(tmp_path)
    leave_lock(tmp_path, replace(this_process(5.0), boot="1000000000"), at=LONG_AGO)
    assert_acquired_at_once(tmp_path)


def test_a_file_system_without_hard_links_has_locks_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)  # a fake: what FAT answers
    leave_lock(tmp_path, dead())
    with acquire(tmp_path):
        with pytest.raises(RunError, match="another process is writing it"), acquire(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == [tmp_path / ".lock"]
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_takeovers_block_nobody(tmp_path: Path) -> None:
    for name in (".lock", ".lock.unreadable", ".lock.unreadable.unreadable"):
        (tmp_path / name).touch()
    assert_acquired_at_once(tmp_path)
    assert list(tmp_path.iterdir()) == []
