"""From a configuration to what a search starts with: data, trials known before, the run."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.session import check_not_connected
from results.files import write_text
from results.run import Run
from training.config import TINY
from tuning.checkpoints import check_storage, num_slots_here
from tuning.config import Configuration
from tuning.preparation import Preparation, prepare_search
from tuning.resume import last_evaluated, recall_trials
from tuning.run_checks import (
    check_enough_trials,
    check_new,
    check_same_data,
    check_same_rules,
    check_test_is_closed,
)
from tuning.start import new_run, with_name, write_configuration
from tuning.trials import TrialStore


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Data that are ready and, of a run to resume, what it left."""

    configuration: Configuration
    preparation: Preparation
    resumed: Run | None
    """Held by this process; None: the run is new."""
    store: TrialStore
    last_evaluated: str | None
    tokenizer: Path
    """Where the tokenizer of `tiny` was learnt."""

    @property
    def before(self) -> dict[str, Any]:
        """The record of an earlier start; empty: there was none."""
        if self.resumed is None or not self.resumed.record.exists():
            return {}
        return self.resumed.read_whole_record()

    @property
    def name(self) -> str:
        """Of the run."""
        return self.resumed.directory.name if self.resumed else str(self.configuration.output.name)

    def make_run(self) -> Run:
        """The run: the one that is resumed, or a new one, which is made.

        Raises:
            RunError: the directory cannot be made or written.
        """
        if self.resumed is None:
            return new_run(self.configuration, self._fill)
        write_configuration(self.resumed, self.configuration)
        return self.resumed

    def _fill(self, run: Run) -> None:
        if self.configuration.model.name == TINY:
            shutil.copytree(self.tokenizer, run.tokenizer)
        assignment = self.preparation.data.assignment
        write_text(run.splits, assignment.to_csv(index=False, lineterminator="\n"))


def check_place(configuration: Configuration) -> None:
    """Check what needs no data: that this process may search, that trials and files find room.

    Raises:
        ClusterError: this process is connected to a Ray already.
        InputError: no machine at hand holds a trial, or the storage cannot be written.
    """
    check_not_connected()
    num_slots_here(configuration)
    check_storage(configuration)


def open_new(configuration: Configuration, label: str, tokenizer: Path) -> Opening:
    """Check that a new run can be made, and prepare its data.

    Args:
        configuration: of the search.
        label: the beginning of the run's name where the configuration gives none.
        tokenizer: where the tokenizer of `tiny` is learnt.

    Raises:
        InputError: the data, the model or a warm-up does not do.
        RunError: the name is taken, or the directory cannot be written.
        StorageError: the storage cannot be reached.
    """
    configuration = with_name(configuration, label)
    check_new(configuration)
    return Opening(
        configuration=configuration,
        preparation=prepare_search(configuration, tokenizer_directory=tokenizer),
        resumed=None,
        store=TrialStore(),
        last_evaluated=None,
        tokenizer=tokenizer,
    )


def open_again(run: Run, configuration: Configuration) -> Opening:
    """Read what an earlier start left, and prepare the same data; the run is held already.

    Raises:
        InputError: fewer trials are asked for than have started, or the data do not do.
        RunError: a file cannot be read, the data or the rules are others, or the test was opened.
    """
    check_test_is_closed(run)
    check_same_rules(run)  # before anything is changed
    run.sweep()
    store = recall_trials(run, configuration)
    check_enough_trials(configuration, store)
    preparation = prepare_search(configuration, tokenizer_directory=run.tokenizer)
    check_same_data(run, preparation)
    # From here on this version writes the run; one that is refused stays as it is.
    run.keep_curves_of({trial.trial_id for trial in store})
    return Opening(
        configuration=configuration,
        preparation=preparation,
        resumed=run,
        store=store,
        last_evaluated=last_evaluated(run),
        tokenizer=run.tokenizer,
    )
