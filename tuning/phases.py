"""Runs a prepared search on Ray: the search itself, then the confirmation."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ray import tune

from cluster.resources import Resources, num_slots
from cluster.session import ClusterError
from results.run import Run
from training.errors import InputError
from tuning.conductor import Conductor, search_phase
from tuning.config import Configuration
from tuning.confirmation import Confirmation, split_seed
from tuning.preparation import Preparation
from tuning.proposers import make_proposer
from tuning.ray_adapters import run_with_ray
from tuning.recorder import Recorder
from tuning.rungs import expected_epochs
from tuning.signals import StopSignal
from tuning.trainable import SearchData, run_trial
from tuning.trials import Trial


class SearchAborted(Exception):
    """The trials fail alike, or none has a score; the message is one line for the user."""


class SearchInterrupted(Exception):
    """A signal ended the search; the run goes on by `resume_command`."""

    def __init__(self, run: Run, signal: StopSignal) -> None:
        """Take the run and the signal that came."""
        super().__init__("interrupted")
        self.exit_code = signal.exit_code
        self.resume_command = (
            "python -m tuning.search --resume"
            f" --name {run.directory.name} --output.directory {run.directory.parent}"
        )


@dataclass(kw_only=True)
class Phases:
    """The two phases of one search and what they share."""

    configuration: Configuration
    preparation: Preparation
    resources: Resources
    run: Run
    recorder: Recorder
    signal: StopSignal
    known: Sequence[Trial]
    started: float

    def search(self) -> None:
        """Run the trials of the search.

        Raises:
            SearchAborted: the first trials fail alike, or no trial has a score.
            SearchInterrupted: a signal came.
        """
        configuration = self.configuration
        conductor = search_phase(
            configuration,
            self.preparation.plan,
            self.preparation.num_rows,
            make_proposer(configuration.search, configuration.training),
            lambda: num_slots(self.resources),
            known=[trial for trial in self.known if trial.source != "confirm"],
        )
        conductor.deadline = self._deadline(with_confirmation=True)
        self._run(conductor, self.preparation.search_data, "search")
        if conductor.aborted_by:
            raise SearchAborted(
                f"the first trials all failed with the same error: {conductor.aborted_by}; correct"
                " it and start again"
            )
        if self.recorder.record()["best"] is None:
            raise SearchAborted(
                "no trial reached the full budget with a score; see the errors in"
                f" {self.run.trials}, and try lower learning rates or a longer time budget"
            )

    def confirm(self) -> None:
        """Run the confirmation, if the configuration asks for one.

        Raises:
            SearchInterrupted: a signal came.
        """
        search = self.configuration.search
        if not search.confirm_replicates:
            return
        seeds = [
            split_seed(self.configuration, replicate)
            for replicate in range(1, search.confirm_max_replicates + 1)
        ]
        data = self.preparation.with_replicates(seeds)
        train, validation = self.preparation.search_data.splits[0]
        confirmation = Confirmation(
            configuration=self.configuration,
            trials=self.recorder.trials,
            validation_share=len(validation) / len(train),
            run=lambda trials: self._run(self._confirmation_phase(trials), data, "confirmation"),
        )
        self.recorder.confirmation = confirmation
        confirmation.confirm()

    def _confirmation_phase(self, trials: Sequence[Trial]) -> Conductor:
        return Conductor(
            configuration=self.configuration,
            plan=self.preparation.plan,
            num_rows=self.preparation.num_rows,
            proposer=make_proposer(self.configuration.search, self.configuration.training),
            num_slots=lambda: num_slots(self.resources),
            waiting=list(trials),
            deadline=self._deadline(with_confirmation=False),
        )

    def _run(self, conductor: Conductor, data: SearchData, phase: str) -> None:
        conductor.on_evaluation = self.recorder.evaluated
        conductor.on_change = self.recorder.changed
        self.signal.on_stop = conductor.interrupt
        if self.signal.received is not None:
            raise SearchInterrupted(self.run, self.signal)
        storage = self.configuration.cluster.storage_path or str(self.run.scratch)
        try:
            run_with_ray(
                conductor,
                tune.with_parameters(run_trial, data=data),
                resources=self.resources.as_ray(),
                max_failures=self.configuration.cluster.max_failures,
                storage_path=storage,
                name=f"{self.run.directory.name}-{phase}-{time.time_ns()}",
            )
        except (InputError, OSError):
            raise
        except Exception as error:
            if conductor.broken_by is None:
                reason = " ".join(str(error).split())[-300:]
                raise ClusterError(
                    f"Ray ended the {phase} ({type(error).__name__}: {reason}); check the cluster,"
                    " then go on with --resume"
                ) from error
        finally:
            shutil.rmtree(self.run.scratch, ignore_errors=True)
        if conductor.broken_by is not None:
            raise conductor.broken_by
        if conductor.interrupted:
            raise SearchInterrupted(self.run, self.signal)
        conductor.cut_short()

    def _deadline(self, *, with_confirmation: bool) -> float | None:
        budget = self.configuration.search.time_budget_s
        if budget is None:
            return None
        reserve = share_of_confirmation(self.configuration) if with_confirmation else 0.0
        return self.started + budget * (1 - reserve)


def share_of_confirmation(configuration: Configuration) -> float:
    """Share of the training rows of a whole search that its confirmation is expected to see."""
    search = configuration.search
    epochs = configuration.training.epochs
    confirmed = (search.confirm_top + 1) * search.confirm_replicates * epochs
    return confirmed / (confirmed + expected_epochs(epochs, search))
