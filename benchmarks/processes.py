"""Compute in several processes, with the results in order; none of them outlives the command."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessError(RuntimeError):
    """A process was killed; the message is one line for the user."""


def map_in_order(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int
) -> Iterator[Result]:
    """Yield the result of each item, in the order of the items.

    Args:
        function: defined in a module that other processes can import.
        items: its arguments.
        workers: number of processes; 1: this one.

    Raises:
        ProcessError: a process was killed. What `function` raises is raised here, too.
    """
    if workers == 1:
        yield from map(function, items)
        return
    # A forked process would share the threads and locks of the libraries of this one.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), end_with_parent)
    try:
        yield from pool.map(function, items)
    except BrokenProcessPool as error:
        raise ProcessError(
            "one of the processes was killed, perhaps for its memory; repeat the command with fewer"
            " of them"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """Let this process ignore Ctrl-C, and end when its parent has ended, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
