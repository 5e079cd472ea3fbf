"""The live view of a search on the terminal that it runs in."""

from contextlib import ExitStack

from results.run import Run
from results.terminal import shown
from results.trial_states import SearchStatus
from results.watched import Watched
from tuning.decisions import Phase
from tuning.observers import Observer


class TerminalView(Observer):
    """Shows the search from its first moment to its end; it reads the run's files."""

    def __init__(self, run: Run) -> None:
        """Take the run; nothing is shown yet."""
        self._watched = Watched(run=run)
        self._view = ExitStack()
        self._is_shown = False

    def phase_changed(self, phase: Phase) -> None:
        """Show it, the first time."""
        if not self._is_shown:
            self._is_shown = True
            self._view.enter_context(shown(self._watched.look))

    def closed(self, status: SearchStatus) -> None:
        """Leave what was shown last."""
        self._view.close()
