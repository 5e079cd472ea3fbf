import os
import signal
import subprocess
import sys

import psutil
import pytest

from benchmarks.processes import ProcessError, map_in_order

SLEEPS = """
import time
from benchmarks.processes import map_in_order
if __name__ == "__main__":
    for _ in map_in_order(time.sleep, [0, *[600] * 4], workers=2):
        print("one", flush=True)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_order_of_the_items(workers: int) -> None:
    items = [-1, 0, -3]
    assert list(map_in_order(abs, items, workers=workers)) == [1, 0, 3]


def test_an_error_in_a_process_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_in_order(int, ["1", "x", "2"], workers=2))


def test_a_killed_process_is_one_line() -> None:
    with pytest.raises(ProcessError, match="one of the processes was killed"):
        list(map_in_order(os._exit, [1, 2], workers=2))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_is_left_when_the_command_is_killed(number: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "one\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.send_signal(number)
    process.wait()
    process.stdout.close()
    _, left = psutil.wait_procs(family, timeout=60)
    assert left == []
