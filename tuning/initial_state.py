"""Prepare the state a search starts from: its data, the trials of an earlier start, its run."""

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cluster.session import check_not_connected
from results.errors import RunError
from results.files import write_bytes
from results.micro_batch_limits import Limits, read_limits
from results.run import Run
from training.config import TINY
from training.errors import Problems
from training.split_texts import write_split_texts
from tuning.baseline_measurement import BaselineMeasurement, baseline_measurement
from tuning.checks import (
    check_enough_trials,
    check_new,
    check_not_tested,
    check_same_data,
    check_same_encoders,
    check_same_rules,
    check_storage,
    num_slots_here,
)
from tuning.config import Configuration
from tuning.earlier_runs import prepare_from_earlier
from tuning.preparation import OnSplit, Preparation, ignore_split, prepare_search
from tuning.resume import last_evaluated, recall_trials
from tuning.start import new_run, with_name, write_configuration
from tuning.tracking import check_tracker
from tuning.trials import TrialStore
from tuning.warm_start import WarmStart, read_warm_start, write_warm_start


@dataclass(frozen=True, kw_only=True)
class InitialState:
    """The prepared data and, for a run that is resumed, its trials."""

    preparation: Preparation
    resumed: Run | None
    """The run that is resumed, locked by this process; None: the run is new."""
    store: TrialStore
    last_evaluated: str | None
    tokenizer: Path
    """Directory of the tokenizer that was learnt for `tiny`."""
    warm_start: WarmStart
    """What the search takes from earlier runs."""
    table: Path | None = None
    """The file that becomes the run's `data.parquet`; None: the data lie outside of the run."""

    @property
    def configuration(self) -> Configuration:
        """The configuration, with the columns and labels that were recognised."""
        return self.preparation.configuration

    @property
    def earlier_record(self) -> dict[str, Any]:
        """The record that an earlier start wrote; empty: there is none."""
        if self.resumed is None or not self.resumed.record.exists():
            return {}
        return self.resumed.read_whole_record()

    @property
    def memory_limits(self) -> Limits:
        """The micro-batch sizes that an earlier start found; later trials may lower them."""
        return read_limits(self.earlier_record, [one.name for one in self.configuration.models])

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.resumed.directory.name if self.resumed else str(self.configuration.output.name)

    def make_run(self) -> Run:
        """Return the run that is resumed, or make the new one.

        Raises:
            RunError: the directory cannot be made or written.
        """
        if self.resumed is None:
            return new_run(self.configuration, self._fill)
        write_configuration(self.resumed, self.configuration)
        return self.resumed

    def _fill(self, run: Run) -> None:
        if self.table is not None:
            write_bytes(run.data, self.table.read_bytes())
        if any(model.name == TINY for model in self.configuration.models):
            shutil.copytree(self.tokenizer, run.tokenizer)
        write_warm_start(run, self.warm_start)
        texts, held_out = self.preparation.data.split_texts, self.warm_start.held_out
        write_split_texts(run.split_texts, texts if held_out is None else texts.merge(held_out))
        assignment = self.preparation.data.assignment
        run.write_splits(assignment.to_csv(index=False, lineterminator="\n"))


def check_resources(configuration: Configuration, *, is_new: bool) -> Problems:
    """Check what needs no data: cores or GPUs of a trial, storage, a new run's name, the tracker.

    Returns:
        The problems, to be raised with those of the data and the model.

    Raises:
        ClusterError: this process is connected to Ray already.
    """
    check_not_connected()
    problems = Problems(RunError)
    for check in (num_slots_here, check_new if is_new else check_storage, check_tracker):
        problems.attempt(partial(check, configuration))
    return problems


def prepare_state(
    stack: ExitStack,
    configuration: Configuration,
    resume: Run | None,
    label: str,
    *,
    owns_data: bool,
) -> tuple[InitialState, BaselineMeasurement]:
    """Prepare a new run, or lock one and prepare to resume it; start to measure the baseline.

    Args:
        stack: unlocks the run, ends the measurement, and removes what is learnt for a new run.
        configuration: the configuration of the search.
        resume: the run to resume; None: a new run.
        label: first part of a new run's name where the configuration gives no name.
        owns_data: whether a new run gets the file of `data.path`.
    """
    baseline = stack.enter_context(baseline_measurement())
    if resume is not None:
        stack.enter_context(resume.lock())
        return prepare_resumed(resume, configuration, measure_baseline=baseline.start), baseline
    tokenizer = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "tokenizer"
    state = prepare_new(
        configuration, label, tokenizer, on_split=baseline.start, owns_data=owns_data
    )
    return state, baseline


def prepare_new(
    configuration: Configuration,
    label: str,
    tokenizer: Path,
    *,
    on_split: OnSplit = ignore_split,
    owns_data: bool = False,
) -> InitialState:
    """Check resources and name of a new run, and prepare its data.

    Args:
        configuration: the configuration of the search.
        label: first part of the run's name where the configuration gives no name.
        tokenizer: directory for the tokenizer that is learnt for `tiny`.
        on_split: as of `prepare_search`.
        owns_data: whether the run gets the file of `data.path`, a Parquet, as its `data.parquet`.

    Raises:
        InputError: resources, data, model or a warm-up are not usable, a line each, and one for a
            name that is taken beside them.
        RunError: only the name is taken, or the directory cannot be written.
        StorageError: the storage cannot be reached.
    """
    configuration = with_name(configuration, label)
    problems = check_resources(configuration, is_new=True)
    preparation, warm_start = prepare_from_earlier(
        configuration, tokenizer_directory=tokenizer, problems=problems, on_split=on_split
    )
    state = InitialState(
        preparation=preparation,
        warm_start=warm_start,
        resumed=None,
        store=TrialStore(),
        last_evaluated=None,
        tokenizer=tokenizer,
    )
    return _with_own_table(state) if owns_data else state


def _with_own_table(state: InitialState) -> InitialState:
    """Let the run own its table: configuration and record name the copy that it gets."""
    output = state.configuration.output
    path = os.fspath(Run(Path(output.directory).absolute() / str(output.name)).data)
    return replace(
        state,
        preparation=state.preparation.with_data_path(path),
        table=Path(state.configuration.data.path),
    )


def prepare_resumed(
    run: Run, configuration: Configuration, *, measure_baseline: OnSplit
) -> InitialState:
    """Read the trials of an earlier start, and prepare the same data; the run is locked already.

    Args:
        run: the run of the earlier start.
        configuration: its configuration, with what a resume may change.
        measure_baseline: is called as `on_split` of `prepare_search` unless the earlier start has
            recorded the baseline.

    Raises:
        InputError: fewer trials are requested than have started, or the data are not usable.
        RunError: a file cannot be read, the data or their rules have changed, or the run was
            evaluated on the test set.
    """
    problems = check_resources(configuration, is_new=False)
    check_not_tested(run)
    check_same_rules(run)  # before any file is changed
    check_same_encoders(run, configuration)
    run.remove_leftovers()
    store = recall_trials(run, configuration)
    check_enough_trials(configuration, store)
    warm_start = read_warm_start(run, configuration)
    is_known = run.record.exists() and run.read_record().get("baseline") is not None
    preparation = prepare_search(
        configuration,
        tokenizer_directory=run.tokenizer,
        problems=problems,
        on_split=ignore_split if is_known else measure_baseline,
        held_out=warm_start.held_out,
    )
    check_same_data(run, preparation)
    # The run is changed only after all checks, so that a refused run stays as it is.
    run.keep_curves_of({trial.trial_id for trial in store})
    return InitialState(
        preparation=preparation,
        warm_start=warm_start,
        resumed=run,
        store=store,
        last_evaluated=last_evaluated(run),
        tokenizer=run.tokenizer,
    )
