"""Memory and processor time of a command and the processes that it starts."""

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

_SECONDS_BETWEEN_LOOKS = 0.25
_MIB = 2**20


@dataclass(kw_only=True)
class Watched:
    """Looks at a process and its descendants from another thread during a `with` block."""

    process: int
    """Its number."""
    driver_mib: float = field(default=0.0, init=False)
    """Most resident memory of the process itself."""
    worker_mib: float = field(default=0.0, init=False)
    """Most of any one process of Ray's in which trials run."""
    _used: list[tuple[float, float]] = field(default_factory=list, init=False)
    """Seconds since 1970, and seconds of a core that the process had used by then."""
    _has_ended: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Look no more."""
        self._has_ended.set()
        self._thread.join()

    def cores(self, began: float, ended: float) -> float | None:
        """Cores that the process itself used on average between two moments; None: not seen."""
        seen = [(at, used) for at, used in self._used if began <= at <= ended]
        if len(seen) < 2:
            return None
        (first, before), (last, after) = seen[0], seen[-1]
        return (after - before) / (last - first)

    def _look_on(self) -> None:
        driver = psutil.Process(self.process)
        while not self._has_ended.wait(_SECONDS_BETWEEN_LOOKS):
            try:
                times = driver.cpu_times()
                self._used.append((time.time(), times.user + times.system))
                self.driver_mib = max(self.driver_mib, driver.memory_info().rss / _MIB)
                for child in driver.children(recursive=True):
                    self._look_at(child)
            except psutil.NoSuchProcess:
                continue

    def _look_at(self, child: psutil.Process) -> None:
        try:
            if "ray::Impl" in " ".join(child.cmdline()):
                self.worker_mib = max(self.worker_mib, child.memory_info().rss / _MIB)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return
