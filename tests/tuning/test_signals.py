import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tuning.errors import SearchInterruptedError, describe_endings
from tuning.signals import stop_signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_asks_for_the_end_and_is_kept(number: int, code: int) -> None:
    asked = []
    before = signal.getsignal(number)
    with stop_signals() as stop:
        stop.call_in_handler(lambda: asked.append(True))
        os.kill(os.getpid(), number)
        assert (stop.received, stop.exit_code, asked) == (number, code, [True])
    assert signal.getsignal(number) is before


def test_a_handler_that_another_library_set_is_replaced() -> None:
    with stop_signals() as stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop.listen()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == signal.SIGTERM


def test_a_second_signal_ends_the_process_at_once() -> None:
    code = (
        "import os, signal\n"
        "from tuning.signals import stop_signals\n"
        "with stop_signals():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('never printed', flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "still here\n", "")


def test_outside_a_process_of_its_own_a_second_signal_is_python_s_own() -> None:
    with stop_signals(ends_process=False) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_in_a_thread_no_signal_is_handled() -> None:
    before, received = signal.getsignal(signal.SIGINT), []

    def listen() -> None:
        with stop_signals(ends_process=False) as stop:
            received.append((stop.received, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert received == [(None, before)]


def test_the_resume_command_is_quoted_for_a_shell() -> None:
    interrupted = SearchInterruptedError(Path("/data/my runs/first"), 130)
    assert interrupted.resume_command == (
        "python -m tuning.search --resume --name first --output.directory '/data/my runs'"
    )


def test_advice_depends_on_how_the_trials_ended() -> None:
    assert describe_endings(["failed", "failed"]) == "2 failed"
    assert describe_endings(["diverged", "failed"]) == (
        "1 diverged: try lower learning rates, 1 failed"
    )
    assert "longer time budget" in describe_endings(["stopped"])
    assert "learning rates" not in describe_endings(["stopped", "failed", "running"])
