"""A run's overview, read anew only when its files have changed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from results.errors import RunError
from results.overview import Overview, read_overview
from results.run import Run

Version = tuple[int, int]


@dataclass(kw_only=True)
class Watched:
    """A run that is looked at again and again."""

    run: Run
    lives: Callable[[], bool] = lambda: True
    """Whether a process is writing it."""
    _seen: object = field(default=None, init=False)
    _overview: Overview | None = field(default=None, init=False)

    def look(self) -> Overview | None:
        """The overview; what was known before while the files cannot be read."""
        now = (_version(self.run.record), _version(self.run.log), self.lives())
        if now != self._seen:
            try:
                self._overview = read_overview(self.run, lives=now[2])
                self._seen = now
            except (RunError, OSError, ValueError, KeyError):
                pass  # whoever watches is not the one to end a search
        return self._overview


def _version(path: Path) -> Version:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
