"""Ctrl-C and SIGTERM: the first asks the search to end, a second ends the process at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

OVERDUE_S = 9.0
"""Seconds after a signal at which the process ends, whatever hangs in it."""


@dataclass
class StopSignal:
    """The signal that came, and what to tell of it."""

    received: int | None = None
    on_stop: Callable[[], None] = lambda: None
    """Called in the signal's handler."""
    on_received: Callable[[], None] = lambda: None
    """Called after that in another thread, where more may be done than in a handler."""
    on_overdue: Callable[[], None] = lambda: None
    """Called there where the search has not ended in time; then the process ends."""
    _has_ended: threading.Event = field(default_factory=threading.Event)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        assert self.received is not None
        return 128 + self.received

    def listen(self) -> None:
        """Handle Ctrl-C and SIGTERM; again once Ray, which has a handler of its own, is there."""
        for number in _SIGNALS:
            signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        self.on_stop()
        threading.Thread(target=self._see_to_the_end, daemon=True).start()

    def close(self) -> None:
        """The search has ended in time."""
        self._has_ended.set()

    def _see_to_the_end(self) -> None:
        self.on_received()
        if self._has_ended.wait(OVERDUE_S):
            return
        try:
            self.on_overdue()
        finally:
            os._exit(self.exit_code)


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Listen to Ctrl-C and SIGTERM for the time of a `with` block."""
    stop = StopSignal()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    # Ray Tune would take Ctrl-C for itself and end without a word to the caller.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    stop.listen()
    try:
        yield stop
    finally:
        stop.close()
        for number, handler in before.items():
            signal.signal(number, handler)
