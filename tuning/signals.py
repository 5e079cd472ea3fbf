"""Handle Ctrl-C and SIGTERM: the first ends the search in order, the second ends the process.

In a process that is not the search's own, such as a notebook's, the second signal raises Python's
KeyboardInterrupt instead, and nothing ends the process.
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
"""Seconds after the first signal at which the process ends, even if something in it hangs."""


@contextmanager
def stop_signals(*, ends_process: bool = True) -> Iterator["StopSignal"]:
    """Handle Ctrl-C and SIGTERM during a `with` block.

    Outside of the main thread Python allows no handlers, so that no signal is ever received.
    """
    stop = StopSignal(ends_process=ends_process)
    # Ray Tune's own handler would end the search without an exception for the caller.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    with kept_handlers():
        if is_main_thread():
            stop.listen()
        try:
            yield stop
        finally:
            stop.close()


@dataclass
class StopSignal:
    """The first signal that is received, and the functions that it calls."""

    ends_process: bool = True
    """Whether the process ends at a second signal, or when the search hangs after the first."""
    received: int | None = field(default=None, init=False)
    """The number of the signal; None: none has been received."""
    _on_stop: list[Call] = field(default_factory=list, init=False)
    _on_received: list[Call] = field(default_factory=list, init=False)
    _on_overdue: list[Call] = field(default_factory=list, init=False)
    _has_ended: threading.Event = field(default_factory=threading.Event, init=False)

    @property
    def exit_code(self) -> int:
        """128 plus the number of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        assert self.received is not None
        return 128 + self.received

    def call_in_handler(self, on_stop: Call) -> None:
        """Add a function that is called inside the signal's handler."""
        self._on_stop.append(on_stop)

    def call_in_thread(self, *, on_received: Call, on_overdue: Call) -> None:
        """Add functions that are called in another thread, which may do more than a handler.

        Args:
            on_received: called after the signal.
            on_overdue: called if the search has not ended in time; the process ends after it.
        """
        self._on_received.append(on_received)
        self._on_overdue.append(on_overdue)

    def listen(self) -> None:
        """Set the handlers; call this again after Ray has started, which sets its own."""
        for number in _SIGNALS:
            signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.received is not None:
            if not self.ends_process:
                raise KeyboardInterrupt
            os._exit(128 + number)
        self.received = number
        _call(self._on_stop)
        threading.Thread(target=self._wait_for_end, daemon=True).start()

    def close(self) -> None:
        """Note that the search has ended in time."""
        self._has_ended.set()

    def _wait_for_end(self) -> None:
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
def kept_handlers() -> Iterator[None]:
    """Restore the handlers of Ctrl-C and SIGTERM after a `with` block."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: a handler that Python did not set and cannot restore.
            if is_main_thread() and handler is not None:
                signal.signal(number, handler)


def is_main_thread() -> bool:
    """Return whether this thread may set signal handlers."""
    return threading.current_thread() is threading.main_thread()
