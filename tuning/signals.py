"""Ctrl-C and SIGTERM: the first asks the search to end, a second ends the process at once."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopSignal:
    """The signal that came, and what to tell of it."""

    received: int | None = None
    on_stop: Callable[[], None] = lambda: None

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        assert self.received is not None
        return 128 + self.received

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        self.on_stop()


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Listen to Ctrl-C and SIGTERM for the time of a `with` block.

    Begin it after Ray has started: Ray puts a handler of its own in place.
    """
    stop = StopSignal()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Ray Tune would take Ctrl-C for itself and end without a word to the caller.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    for number in before:
        signal.signal(number, stop.handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
