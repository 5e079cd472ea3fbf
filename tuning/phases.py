"""Runs a prepared search on Ray: the search itself, then the confirmation."""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ray import tune

from cluster.addresses import address_to_join
from cluster.errors import ClusterError
from cluster.resources import Resources
from cluster.sharing import Share, name_of_actor
from results.log import DETAIL
from results.report.periodic import PeriodicReport
from results.run import Run
from tuning.checkpoints import Checkpoints
from tuning.conductor import Conductor, search_phase
from tuning.config import Configuration
from tuning.confirmation import Confirmation
from tuning.endings import SearchAbortedError, SearchInterruptedError, describe_endings
from tuning.losses import NodeOutOfMemoryError, wait_for_memory
from tuning.pace import Pace, deadline_of_search
from tuning.preparation import Preparation
from tuning.progress import PhaseName
from tuning.proposers import make_proposer
from tuning.ray_adapters import run_with_ray
from tuning.record import count_examples
from tuning.recorder import Recorder
from tuning.shipping_check import ShippingCheck
from tuning.signals import StopSignal
from tuning.stop_flag import StopFlag
from tuning.telemetry import Telemetry
from tuning.trainable import Surroundings, run_trial
from tuning.trials import Trial
from tuning.workers import Worker

logger = logging.getLogger(__name__)

_SLACK_SHARE = 0.05
"""Of the time budget, kept for trials to come to an evaluation; what trains on then is halted."""


@dataclass(kw_only=True)
class Phases:
    """The two phases of one search and what they share."""

    configuration: Configuration
    preparation: Preparation
    resources: Resources
    run: Run
    checkpoints: Checkpoints
    mirror_error: Callable[[], OSError | None]
    """What kept the run from being mirrored."""
    shipping: ShippingCheck
    """Begun; no result counts before it has ended."""
    recorder: Recorder
    signal: StopSignal
    known: Sequence[Trial]
    last_shown: str | None
    """The known trial whose evaluation was written down last."""
    started: float

    def search(self) -> None:
        """Run the trials of the search.

        Raises:
            SearchAbortedError: the first trials fail alike, or no trial has a score.
            SearchInterruptedError: a signal came.
            InputError: what ships would not answer as it does in training.
        """
        configuration = self.configuration
        conductor = search_phase(
            configuration,
            self.preparation.plan,
            self.preparation.num_rows,
            make_proposer(configuration.search, configuration.training),
            self._share,
            known=[trial for trial in self.known if trial.source != "confirm"],
            num_others=sum(trial.source == "confirm" for trial in self.known),
        )
        if self.last_shown in conductor.trials:
            conductor.decide_again(self.last_shown)
        conductor.deadline = self._ends
        pace = Pace(began=time.monotonic(), rows_before=self._rows_seen())

        def evaluated(trial: Trial) -> None:
            self._evaluated(trial)
            if self._ends is not None:
                needed = pace.seconds_for(self._rows_to_confirm(), self._rows_seen())
                conductor.deadline = deadline_of_search(pace.began, self._ends, needed)

        conductor.on_evaluation = evaluated
        self._run(conductor, "search")
        logger.info("checks: %s", self.shipping.require(), extra=DETAIL)
        if conductor.aborted_by:
            raise SearchAbortedError(
                f"the first trials all failed with the same error: {conductor.aborted_by}; correct"
                " it and start again"
            )
        if self.recorder.record()["best"] is None:
            raise SearchAbortedError(
                "no trial reached the full budget with a score"
                f" ({describe_endings(trial.status for trial in self.recorder.trials)}); see"
                f" {self.run.trials}"
            )

    def confirm(self) -> None:
        """Run the confirmation, if the configuration asks for one.

        Raises:
            SearchInterruptedError: a signal came.
        """
        if not self.configuration.search.confirm_replicates:
            return
        draw = self.preparation.search_data.draws[0]
        confirmation = Confirmation(
            configuration=self.configuration,
            trials=self.recorder.trials,
            validation_share=len(draw.validation) / len(draw.train),
            run=lambda trials: self._run(self._confirmation_phase(trials), "confirmation"),
        )
        self.recorder.confirmation = confirmation
        confirmation.confirm()

    def _confirmation_phase(self, trials: Sequence[Trial]) -> Conductor:
        return Conductor(
            configuration=self.configuration,
            plan=self.preparation.plan,
            num_rows=self.preparation.num_rows,
            proposer=make_proposer(self.configuration.search, self.configuration.training),
            num_slots=self._share,
            waiting=list(trials),
            deadline=self._ends,
            on_evaluation=self._evaluated,
        )

    @property
    def _ends(self) -> float | None:
        """When trials end at their next evaluation so that the time budget is kept."""
        budget = self.configuration.search.time_budget_s
        return None if budget is None else self.started + budget - self._slack

    @property
    def _slack(self) -> float:
        """Seconds that trials have for coming to their next evaluation."""
        return _SLACK_SHARE * (self.configuration.search.time_budget_s or 0.0)

    def _rows_seen(self) -> int:
        return count_examples(self.recorder.trials)["search"]

    def _rows_to_confirm(self) -> int:
        search = self.configuration.search
        trainings = (search.confirm_top + 1) * search.confirm_replicates
        return trainings * self.preparation.plan.budget

    @cached_property
    def _flag(self) -> StopFlag:
        return StopFlag(self._actor_name)

    @cached_property
    def _actor_name(self) -> str:
        return name_of_actor(self.run.directory.name)

    @cached_property
    def _trainable(self) -> Any:
        """The trial's function with its data, put in the object store once."""
        return tune.with_parameters(
            run_trial,
            data=self.preparation.search_data,
            surroundings=Surroundings(
                checkpoints=self.checkpoints, flag=self._flag, gpus=self.resources.gpus
            ),
        )

    @cached_property
    def _share(self) -> Share:
        return Share(
            name=self._actor_name,
            resources=self.resources,
            limit=self.configuration.search.max_concurrent,
            is_joined=self._is_joined,
        )

    @property
    def _is_joined(self) -> bool:
        return address_to_join(self.configuration.cluster.address) is not None

    @cached_property
    def _report(self) -> PeriodicReport:
        return PeriodicReport(self.run)

    @cached_property
    def _telemetry(self) -> Telemetry:
        return Telemetry(self.run.directory.name)

    def placed(self, trial: Trial, worker: Worker) -> None:
        """Write down where a trial begins, or goes on."""
        self.recorder.placed(trial, worker, is_told=self._is_joined)
        self._telemetry.placed(trial)

    def reserved(self, trial: Trial, num_bytes: int) -> None:
        """Show the device memory of a trial's process."""
        self._telemetry.reserved(trial, num_bytes)

    def stepped(self) -> None:
        """Write what has changed, if that is cheap."""
        self.recorder.catch_up()

    def _evaluated(self, trial: Trial) -> None:
        self.recorder.evaluated(trial)
        self._telemetry.evaluated(trial)

    def _run(self, conductor: Conductor, phase: PhaseName) -> None:
        conductor.on_change = self._changed
        conductor.slack_s = self._slack
        conductor.outer_error = self._outer_error
        conductor.rows_at_once = self.recorder.rows_at_once
        self.signal.on_stop = conductor.interrupt
        if self.recorder.progress:
            self.recorder.progress.enter(phase)
        self._raise_if_interrupted()
        num_losses = 0
        while True:
            shown = self._num_evaluations()
            try:
                self._run_once(conductor, phase)
                break
            except NodeOutOfMemoryError as error:
                num_losses = 1 if self._num_evaluations() > shown else num_losses + 1
                if num_losses > self.configuration.cluster.max_failures:
                    raise ClusterError(
                        f"a node ran out of memory {num_losses} times before a trial came to its"
                        " next evaluation; lower search.max_concurrent or batch sizes or end what"
                        " else runs there, then go on with --resume"
                    ) from error
                wait_for_memory(conductor, num_losses)
                conductor.begin_again()
        if conductor.broken_by is not None:
            raise conductor.broken_by
        self._raise_if_interrupted()
        if conductor.aborted_by:
            logger.warning("the first trials of the %s failed: %s", phase, conductor.aborted_by)
        conductor.cut_short()

    def _run_once(self, conductor: Conductor, phase: str) -> None:
        conductor.phase = f"{phase}-{time.time_ns()}"
        try:
            run_with_ray(
                conductor,
                self._trainable,
                watcher=self,
                halt=lambda: self._flag.lift(conductor.phase),
                resources=self.resources.as_ray(),
                max_failures=self.configuration.cluster.max_failures,
                storage_path=str(self.run.scratch),
                name=conductor.phase,
            )
        except (NodeOutOfMemoryError, OSError):
            self._raise_if_interrupted()
            raise
        except Exception as error:
            if conductor.broken_by is None:
                self._raise_if_interrupted()
                reason = " ".join(str(error).split())[-300:]
                raise ClusterError(
                    f"Ray ended the {phase} ({type(error).__name__}: {reason}); check the cluster,"
                    " then go on with --resume"
                ) from error
        finally:
            shutil.rmtree(self.run.scratch, ignore_errors=True)

    def _outer_error(self) -> Exception | None:
        return self.mirror_error() or self.shipping.error()

    def _num_evaluations(self) -> int:
        return sum(len(trial.evaluations) for trial in self.recorder.trials)

    def _changed(self, trial: Trial) -> None:
        self.recorder.changed(trial)
        self._telemetry.changed(self.recorder.trials)
        self._report.update()
        if trial.status != "running":  # and this is on disk
            self.checkpoints.remove(trial.trial_id)

    def _raise_if_interrupted(self) -> None:
        if self.signal.received is not None:
            raise SearchInterruptedError(self.run.directory, self.signal.exit_code)
