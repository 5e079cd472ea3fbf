"""Define the protocol of everything that watches a search: files, log, TensorBoard, metrics.

Like the callbacks of Syne Tune's tuner, an observer is notified of events and decides nothing. A
new one is a subclass and one line in `tuning.assembly`.
"""

from results.trial_states import SearchStatus
from tuning.trials import Phase, Trial
from tuning.workers import Worker


class Observer:
    """Is notified of what happens in a search; a subclass overrides the methods that it needs.

    An OSError that a method raises ends the search; nothing else may be raised.
    """

    def started(self, trial: Trial) -> None:
        """Handle a trial that starts, or is resumed; it asks for a worker."""

    def placed(self, trial: Trial, worker: Worker) -> None:
        """Handle the process that a trial runs in from now on."""

    def evaluated(self, trial: Trial) -> None:
        """Handle the last evaluation of a trial."""

    def ended(self, trial: Trial) -> None:
        """Handle a trial that has finished for good."""

    def phase_changed(self, phase: Phase) -> None:
        """Handle the start of a phase."""

    def closed(self, status: SearchStatus) -> None:
        """Handle the end of the search in this process; nothing follows."""

    def idle(self) -> None:
        """Do what is due; called many times a second."""
