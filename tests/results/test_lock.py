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
    assert_taken_at_once,
    dead,
    leave_lock,
    named,
    wait_until,
)


def test_a_second_process_is_refused_and_told_who_where_and_since_when(
    tmp_path: Path, start: Start
) -> None:
    first, second = start(), start()
    assert first.hold(tmp_path) == "held"
    assert is_locked(tmp_path)
    told = second.hold(tmp_path)
    number, host = first.process.pid, os.uname().nodename
    assert told.startswith(f"run {tmp_path}: another process is writing it: process {number} on")
    assert f"on host {host}, since {named(tmp_path).since};" in told
    assert told.endswith(f"wait for its end, or end it first (kill {number} on {host})")
    first.say("let go")
    assert first.answer() == "let go"
    assert not is_locked(tmp_path)
    assert second.hold(tmp_path) == "held"


def test_nothing_is_left_after_the_end_neither_file_nor_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with acquire(tmp_path, interval_s=0.01):
        wait_until(lambda: named(tmp_path).heartbeat > 2)
    assert set(threading.enumerate()) == before
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_fails_lets_go(tmp_path: Path) -> None:
    with pytest.raises(KeyError), acquire(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_process_does_not_hold_a_run_twice(tmp_path: Path) -> None:
    with acquire(tmp_path):
        with pytest.raises(RunError, match=f"process {os.getpid()} on"), acquire(tmp_path):
            pass
        assert is_locked(tmp_path)


def test_a_stopped_process_on_this_machine_still_holds(tmp_path: Path, start: Start) -> None:
    stopped = start(interval_s=0.05)
    assert stopped.hold(tmp_path) == "held"
    stopped.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    assert is_locked(tmp_path)
    with pytest.raises(RunError, match="another process is writing it"), acquire(tmp_path):
        pass


def test_a_reader_never_meets_a_torn_heartbeat(tmp_path: Path) -> None:
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
            seen = named(tmp_path).heartbeat
            wait_until(lambda: named(tmp_path).heartbeat > seen + 3)
        assert list(tmp_path.iterdir()) == [tmp_path / "filling"]
    finally:
        subprocess.run(["umount", os.fspath(tmp_path)], check=True)


def test_a_passing_error_does_not_stop_the_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with acquire(tmp_path, interval_s=0.02):
        with monkeypatch.context() as fake:  # a fake: a file server that is away for a while
            fake.setattr(Path, "open", _raise_io_error)
            time.sleep(0.2)
        seen = named(tmp_path).heartbeat
        wait_until(lambda: named(tmp_path).heartbeat > seen + 3)


def _raise_io_error(*_: Any, **__: Any) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_a_heartbeat_under_way_is_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def beat_slowly(*_: Any) -> bool:  # a fake: a slow file server
        begun.set()
        time.sleep(0.3)
        return True

    monkeypatch.setattr("results.lock.bump", beat_slowly)
    with acquire(tmp_path, interval_s=0.01):
        assert begun.wait(10)
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


def test_a_lock_that_was_removed_by_hand_does_not_come_back(tmp_path: Path) -> None:
    with acquire(tmp_path, interval_s=0.02):
        (tmp_path / ".lock").unlink()
        time.sleep(0.2)
        assert list(tmp_path.iterdir()) == []


def test_a_forked_child_that_leaves_the_block_does_not_let_go(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from results.lock import acquire, is_locked\n"
        "place = Path(sys.argv[1])\n"
        "with acquire(place):\n"
        "    child = os.fork()\n"
        "    if child: os.waitpid(child, 0); print(is_locked(place))\n"
        "if child: print(list(place.iterdir()))\n"
    )
    command = [sys.executable, "-c", code, os.fspath(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout == "True\n[]\n", ended.stderr


def test_a_directory_that_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), acquire(tmp_path / "none"):
        pass
    assert not is_locked(tmp_path / "none")


@pytest.mark.parametrize("reap", [True, False], ids=["reaped", "zombie"])
def test_the_lock_of_a_killed_process_is_taken_over_at_once(
    tmp_path: Path, start: Start, reap: bool, caplog: pytest.LogCaptureFixture
) -> None:
    killed = start()
    assert killed.hold(tmp_path) == "held"
    killed.kill(reap=reap)
    assert not is_locked(tmp_path)
    assert_taken_at_once(tmp_path)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert (
        f"took over the lock of dead process {killed.process.pid} on host" in warning.getMessage()
    )


def test_a_process_number_that_was_given_to_another_process_is_dead(tmp_path: Path) -> None:
    leave_lock(tmp_path, this_process(5.0))
    assert is_locked(tmp_path)
    leave_lock(tmp_path, dead())
    assert not is_locked(tmp_path)
    assert_taken_at_once(tmp_path)


def test_a_lock_of_an_earlier_boot_is_dead(tmp_path: Path) -> None:
    leave_lock(tmp_path, replace(this_process(5.0), boot="an earlier one"), at=LONG_AGO)
    assert not is_locked(tmp_path)
    assert_taken_at_once(tmp_path)


def test_a_fresh_lock_of_another_boot_is_watched_for_machines_may_share_a_name(
    tmp_path: Path,
) -> None:
    leave_lock(tmp_path, replace(this_process(0.2), boot="another one"))
    began = time.monotonic()
    with acquire(tmp_path):
        assert time.monotonic() - began >= 0.6


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\x00", b'{"host": "h"}', dead().as_bytes()[:-40]]
)
def test_a_file_that_is_no_lock_holds_nothing(tmp_path: Path, content: bytes) -> None:
    leave_lock(tmp_path, content)
    assert not is_locked(tmp_path)
    assert_taken_at_once(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_machine_is_respected_while_it_beats_and_taken_over_after(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    other = start(host="elsewhere", interval_s=0.5)
    assert other.hold(tmp_path) == "held"
    with pytest.raises(RunError, match=f"kill {other.process.pid} on elsewhere"), acquire(tmp_path):
        pass
    other.kill()
    caplog.clear()
    began = time.monotonic()
    with acquire(tmp_path):
        assert time.monotonic() - began >= 1.5
        assert named(tmp_path).host == os.uname().nodename
    waiting, taken = (record.getMessage() for record in caplog.records)
    whose = f"process {other.process.pid} on host elsewhere"
    assert f"waiting up to 1.5 s for a sign of life of {whose}" in waiting
    assert f"took over the lock of dead {whose}" in taken


def test_another_machine_that_lets_go_meanwhile_is_not_waited_for(
    tmp_path: Path, start: Start
) -> None:
    leave_lock(tmp_path, replace(dead(), host="elsewhere"))
    starter = start()
    starter.say(tmp_path)
    time.sleep(0.5)
    (tmp_path / ".lock").unlink()
    began = time.monotonic()
    assert starter.answer() == "held"
    assert time.monotonic() - began < 5


def test_a_container_beside_this_one_is_watched_too(tmp_path: Path) -> None:
    """Its process numbers are not ours, so that a living one here says nothing."""
    leave_lock(tmp_path, replace(this_process(0.1), pid_namespace="pid:[1]"))
    with acquire(tmp_path):
        pass


def test_asking_for_another_machine_is_quick_and_changes_nothing(tmp_path: Path) -> None:
    elsewhere = replace(this_process(5.0), host="elsewhere")
    for at, held in ((None, True), (LONG_AGO, False)):
        leave_lock(tmp_path, elsewhere, at=at)
        before = (tmp_path / ".lock").stat().st_mtime_ns
        began = time.monotonic()
        assert is_locked(tmp_path) is held
        assert time.monotonic() - began < 1
        assert (tmp_path / ".lock").stat().st_mtime_ns == before
        assert list(tmp_path.iterdir()) == [tmp_path / ".lock"]


def test_of_eight_that_find_a_dead_lock_exactly_one_gets_it(tmp_path: Path, start: Start) -> None:
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
            one.say(directory)
        answers = [one.answer() for one in starters]
        (winner,) = (one for one, told in zip(starters, answers, strict=True) if told == "held")
        assert sum("another process is writing it" in told for told in answers) == 7
        assert named(directory).process == winner.process.pid
        winner.say("let go")
        assert winner.answer() == "let go"
        assert list(directory.iterdir()) == []


def test_whoever_is_at_the_last_step_of_taking_over_is_not_overtaken(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, really_replace, told = start(), Path.replace, []

    def replace_slowly(path: Path, target: Path) -> Path:  # a fake: the worst of moments
        told.append(other.hold(tmp_path))
        return really_replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_slowly)
    leave_lock(tmp_path, dead())
    with acquire(tmp_path):
        (answer,) = told
        assert f"another process is writing it: process {os.getpid()} on" in answer


def test_a_killed_claimer_leaves_no_half_lock(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from results.lock import acquire\n"
        "print(flush=True)\n"
        "while True:\n"
        "    with acquire(Path(sys.argv[1])): pass\n"
    )
    for number in range(8):
        command = [sys.executable, "-c", code, os.fspath(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as claimer:
            assert claimer.stdout is not None
            claimer.stdout.readline()
            until = time.monotonic() + 0.02 + number * 0.003
            while time.monotonic() < until:
                with suppress(FileNotFoundError):
                    json.loads((tmp_path / ".lock").read_bytes())
            claimer.kill()
        assert read_owner(tmp_path / ".lock") != UNREADABLE
        assert_taken_at_once(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_clock_that_is_set_kills_no_holder(
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


def test_without_proc_the_boot_s_time_tells_boots_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_BOOT_ID", "_PID_NAMESPACE"):  # a fake: there is no macOS here
        monkeypatch.setattr(lock, name, tmp_path / "none")
    with acquire(tmp_path):
        assert float(named(tmp_path).boot) == pytest.approx(psutil.boot_time(), abs=1)
        assert named(tmp_path).pid_namespace == ""
        with pytest.raises(RunError, match="another process is writing it"), acquire(tmp_path):
            pass
    leave_lock(tmp_path, dead())
    assert_taken_at_once(tmp_path)
    leave_lock(tmp_path, replace(this_process(5.0), boot="1000000000"), at=LONG_AGO)
    assert_taken_at_once(tmp_path)


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


def test_what_is_left_of_killed_takers_over_stops_nobody(tmp_path: Path) -> None:
    for name in (".lock", ".lock.unreadable", ".lock.unreadable.unreadable"):
        (tmp_path / name).touch()
    assert_taken_at_once(tmp_path)
    assert list(tmp_path.iterdir()) == []
