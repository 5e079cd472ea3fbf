"""What the log of a search says of its trials."""

import logging
import math

from results.log import DETAIL
from results.trial_states import Source, Status, StoppedBy
from tuning.observers import Observer
from tuning.trials import Trial
from tuning.workers import Worker

logger = logging.getLogger(__name__)

_TOLD = (StoppedBy.SCHEDULER, StoppedBy.PATIENCE)


class LogLines(Observer):
    """Writes a line a start and an end of a trial."""

    def __init__(self, label: str, *, tells_places: bool) -> None:
        """Take how to speak.

        Args:
            label: of the objective.
            tells_places: whether it says where trials run: on one machine there is nothing to say.
        """
        self._label = label
        self._tells_places = tells_places

    def started(self, trial: Trial) -> None:
        """Say that it starts, or continues."""
        name = trial.trial_id
        if trial.evaluations:
            logger.info("%s goes on after %.2f epochs", name, trial.evaluations[-1].epoch)
        else:
            logger.info("%s begins: %s", name, describe_parameters(trial), extra=DETAIL)
        further = trial.training.model_dump(exclude=set(trial.parameters))
        logger.debug("%s further hyperparameters: %s", name, further)

    def placed(self, trial: Trial, worker: Worker) -> None:
        """Say where it runs."""
        if self._tells_places:
            where = (trial.trial_id, worker.node, worker.address)
            logger.info("%s runs on %s (%s)", *where, extra=DETAIL)

    def ended(self, trial: Trial) -> None:
        """Say how it ended."""
        level = logging.WARNING if trial.status == Status.FAILED else logging.INFO
        logger.log(level, "%s", self._describe_end(trial), extra=DETAIL)

    def _describe_end(self, trial: Trial) -> str:
        if not trial.evaluations or trial.status == Status.FAILED:
            return f"{trial.trial_id} {trial.status}: {trial.error}"
        last = trial.evaluations[-1]
        score = f"{last.score:.4f}" if math.isfinite(last.eval_loss) else "no score"
        why = f" by the {trial.stopped_by}" if trial.stopped_by in _TOLD else ""
        return (
            f"{trial.trial_id} {trial.status}{why} after {last.epoch:.2f} epochs,"
            f" {self._label} {score}, {last.seconds:.0f} s"
        )


def describe_parameters(trial: Trial) -> str:
    """The searched values of a trial in one line; a confirmation says its replicate."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in trial.parameters.items())
    if trial.source == Source.CONFIRM:
        return f"{values} (replicate {trial.replicate})"
    return values + (" (the default)" if trial.source == Source.DEFAULT else "")
