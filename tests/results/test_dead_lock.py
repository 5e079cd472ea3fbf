import errno
import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from results import lock
from results.errors import RunError
from results.lock import UNREADABLE, hold, is_held, read_holder, this_process
from tests.results.starters import (
    LONG_AGO,
    Start,
    assert_taken_at_once,
    dead,
    leave_lock,
    named,
)


@pytest.mark.parametrize("reap", [True, False], ids=["reaped", "zombie"])
def test_the_lock_of_a_killed_process_is_taken_over_at_once(
    tmp_path: Path, start: Start, reap: bool, caplog: pytest.LogCaptureFixture
) -> None:
    killed = start()
    assert killed.hold(tmp_path) == "held"
    killed.kill(reap=reap)
    assert not is_held(tmp_path)
    assert_taken_at_once(tmp_path)
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert (
        f"took over the lock of dead process {killed.process.pid} on host" in warning.getMessage()
    )


def test_a_process_number_that_was_given_to_another_process_is_dead(tmp_path: Path) -> None:
    leave_lock(tmp_path, this_process(5.0))
    assert is_held(tmp_path)
    leave_lock(tmp_path, dead())
    assert not is_held(tmp_path)
    assert_taken_at_once(tmp_path)


def test_a_lock_of_an_earlier_boot_is_dead(tmp_path: Path) -> None:
    leave_lock(tmp_path, replace(this_process(5.0), boot="an earlier one"), at=LONG_AGO)
    assert not is_held(tmp_path)
    assert_taken_at_once(tmp_path)


def test_a_fresh_lock_of_another_boot_is_watched_for_machines_may_share_a_name(
    tmp_path: Path,
) -> None:
    leave_lock(tmp_path, replace(this_process(0.2), boot="another one"))
    began = time.monotonic()
    with hold(tmp_path):
        assert time.monotonic() - began >= 0.6


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\x00", b'{"host": "h"}', dead().as_bytes()[:-40]]
)
def test_a_file_that_is_no_lock_holds_nothing(tmp_path: Path, content: bytes) -> None:
    leave_lock(tmp_path, content)
    assert not is_held(tmp_path)
    assert_taken_at_once(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_machine_is_respected_while_it_beats_and_taken_over_after(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    other = start(host="elsewhere", interval_s=0.5)
    assert other.hold(tmp_path) == "held"
    with pytest.raises(RunError, match=f"kill {other.process.pid} on elsewhere"), hold(tmp_path):
        pass
    other.kill()
    caplog.clear()
    began = time.monotonic()
    with hold(tmp_path):
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
    with hold(tmp_path):
        pass


def test_asking_for_another_machine_is_quick_and_changes_nothing(tmp_path: Path) -> None:
    elsewhere = replace(this_process(5.0), host="elsewhere")
    for at, held in ((None, True), (LONG_AGO, False)):
        leave_lock(tmp_path, elsewhere, at=at)
        before = (tmp_path / ".lock").stat().st_mtime_ns
        began = time.monotonic()
        assert is_held(tmp_path) is held
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
    with hold(tmp_path):
        (answer,) = told
        assert f"another process is writing it: process {os.getpid()} on" in answer


def test_a_killed_claimer_leaves_no_half_lock(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from results.lock import hold\n"
        "print(flush=True)\n"
        "while True:\n"
        "    with hold(Path(sys.argv[1])): pass\n"
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
        assert read_holder(tmp_path / ".lock") != UNREADABLE
        assert_taken_at_once(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_clock_that_is_set_kills_no_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("there the start of a process does not move with the clock")
    boot_time = psutil.boot_time()
    with hold(tmp_path):
        # A fake: the kernel's boot time, as it moves when the clock is set an hour forward.
        monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot_time + 3600)
        assert psutil.boot_time() == boot_time + 3600
        assert is_held(tmp_path)


def test_without_proc_the_boot_s_time_tells_boots_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_BOOT_ID", "_PID_NAMESPACE"):  # a fake: there is no macOS here
        monkeypatch.setattr(lock, name, tmp_path / "none")
    with hold(tmp_path):
        assert float(named(tmp_path).boot) == pytest.approx(psutil.boot_time(), abs=1)
        assert named(tmp_path).pid_namespace == ""
        with pytest.raises(RunError, match="another process is writing it"), hold(tmp_path):
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
    with hold(tmp_path):
        with pytest.raises(RunError, match="another process is writing it"), hold(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == [tmp_path / ".lock"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_of_killed_takers_over_stops_nobody(tmp_path: Path) -> None:
    for name in (".lock", ".lock.unreadable", ".lock.unreadable.unreadable"):
        (tmp_path / name).touch()
    assert_taken_at_once(tmp_path)
    assert list(tmp_path.iterdir()) == []
