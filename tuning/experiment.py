"""The one experiment of Ray Tune that a search is, and what ends it other than its policy."""

import logging
import shutil
from dataclasses import dataclass

from cluster.errors import ClusterError
from results.run import Run
from tuning.config import Configuration
from tuning.driver import Driver
from tuning.endings import SearchAbortedError, SearchInterruptedError, describe_endings
from tuning.policy import Policy
from tuning.ray_adapters import NodeOutOfMemoryError, run_with_ray
from tuning.signals import StopSignal
from tuning.worker_pool import WorkerPool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Runs a driver's trials on Ray; Ray must be connected."""

    driver: Driver
    pool: WorkerPool
    configuration: Configuration
    run: Run
    signal: StopSignal

    def fit(self) -> None:
        """Run all trials, from the first one to the last confirmation.

        A node that runs out of memory takes Tune with it, and a worker that hangs in a trial that
        is over does not come free: then one more experiment goes on.

        Raises:
            SearchInterruptedError: a signal came.
            ClusterError: Ray ended the trials.
            InputError: what ships would not answer as it does in training.
            OSError: the run's files, or a checkpoint, cannot be written.
        """
        self.signal.listen_for(self.driver.interrupt)
        num_failures = 0
        while True:
            known = self._num_evaluations()
            try:
                self._fit_once()
                if not self.driver.policy.needs_workers:
                    break
            except NodeOutOfMemoryError as error:
                num_failures = 1 if self._num_evaluations() > known else num_failures + 1
                if num_failures > self.configuration.cluster.max_failures:
                    raise ClusterError(
                        f"a node ran out of memory {num_failures} times before a trial came to its"
                        " next evaluation; lower search.max_concurrent or batch sizes or end what"
                        " else runs there, then go on with --resume"
                    ) from error
                self.driver.wait_for_memory(num_failures)
        if self.driver.error is not None:
            raise self.driver.error
        self._raise_if_interrupted()

    def _fit_once(self) -> None:
        self._raise_if_interrupted()
        name = self.driver.begin_experiment()
        try:
            run_with_ray(
                self.driver,
                self.pool.trainable,
                resources=self.pool.resources.as_ray(),
                max_failures=self.configuration.cluster.max_failures,
                storage_path=str(self.run.scratch),
                name=f"search-{name}",
            )
        except (NodeOutOfMemoryError, OSError):
            self._raise_if_interrupted()
            raise
        except Exception as error:
            if self.driver.error is None:
                self._raise_if_interrupted()
                reason = " ".join(str(error).split())[-300:]
                raise ClusterError(
                    f"Ray ended the search ({type(error).__name__}: {reason}); check the cluster,"
                    " then go on with --resume"
                ) from error
        finally:
            shutil.rmtree(self.run.scratch, ignore_errors=True)

    def _num_evaluations(self) -> int:
        return sum(len(trial.evaluations) for trial in self.driver.policy.store)

    def _raise_if_interrupted(self) -> None:
        if self.signal.received is not None:
            raise SearchInterruptedError(self.run.directory, self.signal.exit_code)


def check_has_score(policy: Policy, run: Run) -> None:
    """Make sure that a search that has ended found something.

    Raises:
        SearchAbortedError: the first trials fail alike, or no trial has a score.
    """
    if policy.aborted_by:
        raise SearchAbortedError(
            f"the first trials all failed with the same error: {policy.aborted_by}; correct it and"
            " start again"
        )
    if not policy.has_winner:
        endings = describe_endings(trial.status for trial in policy.store)
        raise SearchAbortedError(
            f"no trial reached the full budget with a score ({endings}); see {run.trials}"
        )
    if policy.confirmation_failed_by:
        logger.warning(
            "the first trials of the confirmation failed: %s", policy.confirmation_failed_by
        )
