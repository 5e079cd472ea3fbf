"""Work that may hang or fail for a while: tried a few times, each time for a bounded while."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

_BYTES_A_SECOND = 2_000_000
"""The slowest connection on which large files still arrive."""


class GivenUpError(Exception):
    """No try went well."""

    def __init__(self, num_tries: int, cause: Exception) -> None:
        super().__init__(f"given up after {num_tries} tries")
        self.num_tries = num_tries
        self.cause = cause


@dataclass(kw_only=True)
class Try:
    """One try, seen from the work that it does."""

    seconds: float
    """How long it may take."""
    _over: threading.Event = field(default_factory=threading.Event)

    def expect(self, num_bytes: int) -> None:
        """Allow the time that moving so many bytes takes: a second for each 2 MB."""
        self.seconds += num_bytes / _BYTES_A_SECOND

    def is_given_up(self) -> bool:
        """Whether nobody waits for it any more: it woke up late and must change nothing."""
        return self._over.is_set()

    def give_up(self) -> None:
        """Wait no longer."""
        self._over.set()


@dataclass(frozen=True, kw_only=True)
class Tries:
    """How often something is tried and how long it is waited for: 58 seconds in all."""

    number: int = 5
    seconds: float = 8.5
    """Of one try; more where it expects much to move."""
    first_wait_s: float = 1.0
    """Seconds between the first and the second try; doubled after each."""

    def run(self, work: Callable[[Try], T], *, on_failure: Callable[[Exception], bool]) -> T:
        """The result of `work`, called in a thread of its own a try.

        Args:
            work: may hang; its thread is then left behind, and is told by its `Try`.
            on_failure: told of each try that failed; says whether another may help.

        Raises:
            GivenUpError: every try failed, or one failed for good.
        """
        for number in range(1, self.number + 1):
            try:
                return _in_thread(work, Try(seconds=self.seconds))
            except Exception as error:  # each kind of storage has exceptions of its own
                if not on_failure(error) or number == self.number:
                    raise GivenUpError(number, error) from error
            time.sleep(self.first_wait_s * 2 ** (number - 1))
        raise AssertionError("there is at least one try")


def _in_thread(work: Callable[[Try], T], now: Try) -> T:
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work(now))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="storage", daemon=True).start()
    began = time.monotonic()
    while not result.done():
        left = began + now.seconds - time.monotonic()
        if left <= 0:
            now.give_up()
            raise TimeoutError(f"no answer within {now.seconds:.3g} s")
        wait([result], timeout=left)
    return result.result()
