import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from results.errors import RunError
from results.lock import hold, is_held, this_process
from tests.results.starters import (
    Start,
    named,
    wait_until,
)


def test_a_second_process_is_refused_and_told_who_where_and_since_when(
    tmp_path: Path, start: Start
) -> None:
    first, second = start(), start()
    assert first.hold(tmp_path) == "held"
    assert is_held(tmp_path)
    told = second.hold(tmp_path)
    number, host = first.process.pid, os.uname().nodename
    assert told.startswith(f"run {tmp_path}: another process is writing it: process {number} on")
    assert f"on host {host}, since {named(tmp_path).since};" in told
    assert told.endswith(f"wait for its end, or end it first (kill {number} on {host})")
    first.say("let go")
    assert first.answer() == "let go"
    assert not is_held(tmp_path)
    assert second.hold(tmp_path) == "held"


def test_nothing_is_left_after_the_end_neither_file_nor_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with hold(tmp_path, interval_s=0.01):
        wait_until(lambda: named(tmp_path).heartbeat > 2)
    assert set(threading.enumerate()) == before
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_fails_lets_go(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_process_does_not_hold_a_run_twice(tmp_path: Path) -> None:
    with hold(tmp_path):
        with pytest.raises(RunError, match=f"process {os.getpid()} on"), hold(tmp_path):
            pass
        assert is_held(tmp_path)


def test_a_stopped_process_on_this_machine_still_holds(tmp_path: Path, start: Start) -> None:
    stopped = start(interval_s=0.05)
    assert stopped.hold(tmp_path) == "held"
    stopped.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    assert is_held(tmp_path)
    with pytest.raises(RunError, match="another process is writing it"), hold(tmp_path):
        pass


def test_a_reader_never_meets_a_torn_heartbeat(tmp_path: Path) -> None:
    with hold(tmp_path, interval_s=0.0005):
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
        with hold(tmp_path, interval_s=0.02):
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
    with hold(tmp_path, interval_s=0.02):
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
    with hold(tmp_path, interval_s=0.01):
        assert begun.wait(10)
    assert "lock" not in {thread.name for thread in threading.enumerate()}


def test_a_lock_that_was_taken_over_is_neither_written_nor_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = replace(this_process(5.0), host="elsewhere").as_bytes()
    with hold(tmp_path, interval_s=0.02):
        (tmp_path / "theirs").write_bytes(theirs)
        (tmp_path / "theirs").replace(tmp_path / ".lock")
        wait_until(lambda: "no longer ours" in caplog.text)
        time.sleep(0.1)
    assert caplog.text.count("no longer ours") == 1
    assert (tmp_path / ".lock").read_bytes() == theirs


def test_a_lock_that_was_removed_by_hand_does_not_come_back(tmp_path: Path) -> None:
    with hold(tmp_path, interval_s=0.02):
        (tmp_path / ".lock").unlink()
        time.sleep(0.2)
        assert list(tmp_path.iterdir()) == []


def test_a_forked_child_that_leaves_the_block_does_not_let_go(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from results.lock import hold, is_held\n"
        "place = Path(sys.argv[1])\n"
        "with hold(place):\n"
        "    child = os.fork()\n"
        "    if child: os.waitpid(child, 0); print(is_held(place))\n"
        "if child: print(list(place.iterdir()))\n"
    )
    command = [sys.executable, "-c", code, os.fspath(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout == "True\n[]\n", ended.stderr


def test_a_directory_that_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), hold(tmp_path / "none"):
        pass
    assert not is_held(tmp_path / "none")
