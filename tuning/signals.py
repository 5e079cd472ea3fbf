"""Ctrl-C and SIGTERM: the first asks the search to end, a second ends the process at once.

In a process that is not the search's own, such as a notebook's, a second one is Python's
KeyboardInterrupt and nothing ends the process.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Call = Callable[[], None]

OVERDUE_S = 9.0
"""Seconds after a signal at which the process ends, whatever hangs in it."""


@dataclass
class StopSignal:
    """The signal that came, and what to tell of it."""

    ends_process: bool = True
    """Whether a second signal ends the process, and so does a search that hangs after the first."""
    received: int | None = field(default=None, init=False)
    _on_stop: list[Call] = field(default_factory=list, init=False)
    _on_received: list[Call] = field(default_factory=list, init=False)
    _on_overdue: list[Call] = field(default_factory=list, init=False)
    _has_ended: threading.Event = field(default_factory=threading.Event, init=False)

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        assert self.received is not None
        return 128 + self.received

    def listen_for(self, on_stop: Call) -> None:
        """Call this in the signal's handler."""
        self._on_stop.append(on_stop)

    def tell(self, *, received: Call, overdue: Call) -> None:
        """Call these in another thread, where more may be done than in a handler.

        Args:
            received: after the signal.
            overdue: where the search has not ended in time; then the process ends.
        """
        self._on_received.append(received)
        self._on_overdue.append(overdue)

    def listen(self) -> None:
        """Handle Ctrl-C and SIGTERM; again once Ray, which has a handler of its own, is there."""
        for number in _SIGNALS:
            signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self.received is not None:
            if not self.ends_process:
                raise KeyboardInterrupt
            os._exit(128 + number)
        self.received = number
        _call(self._on_stop)
        threading.Thread(target=self._see_to_the_end, daemon=True).start()

    def close(self) -> None:
        """The search has ended in time."""
        self._has_ended.set()

    def _see_to_the_end(self) -> None:
        _call(self._on_received)
        if not self.ends_process or self._has_ended.wait(OVERDUE_S):
            return
        try:
            _call(self._on_overdue)
        finally:
            os._exit(self.exit_code)


def _call(calls: Sequence[Call]) -> None:
    for call in calls:
        call()


@contextmanager
def stop_signals(*, ends_process: bool = True) -> Iterator[StopSignal]:
    """Listen to Ctrl-C and SIGTERM for the time of a `with` block.

    Outside of the main thread, where Python lets nobody listen, none ever comes.
    """
    stop = StopSignal(ends_process=ends_process)
    # Ray Tune would take Ctrl-C for itself and end without a word to the caller.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    with kept_handlers():
        if is_main_thread():
            stop.listen()
        try:
            yield stop
        finally:
            stop.close()


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Leave Ctrl-C and SIGTERM to whoever had them, after a `with` block that changes it."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: not of Python, and not to be put back from it.
            if is_main_thread() and handler is not None:
                signal.signal(number, handler)


def is_main_thread() -> bool:
    """Whether handlers of signals can be set here."""
    return threading.current_thread() is threading.main_thread()
