"""Evaluate the winner of a run on the test set; the command and the Python API call this."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.evaluate import evaluate_winner, remove_checkpoints
from evaluation.gates import GateKind, all_unmet
from evaluation.test_lock import TestLock
from evaluation.winner import load_winner
from results.key_figures import KeyFigure, key_figures
from results.log import log_to_file
from results.mirror import Mirror, fetch_run
from results.recommendation import Recommendation, recommend
from results.run import Run, open_run
from results.storage import Storage
from results.summary import Summary, summarize
from training.cli import is_uri
from training.model_files import Weights

logger = logging.getLogger(__name__)

_FETCHED = Path("results/runs")
_SECONDS_BETWEEN_COPIES = 2.0  # other machines must soon see that the test set was accessed


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The winner of a search, retrained and evaluated; a notebook displays a table."""

    directory: Path
    """Directory of its files in the run: `final`, or `final-2`, ..."""
    record: dict[str, Any] = field(repr=False)
    """Content of the search's `search.json`."""
    report: dict[str, Any] = field(repr=False)
    """Content of `evaluation_report.json`."""
    gates_missed: tuple[str, ...]
    """Quality gates that the model does not meet, of those that were asked for."""

    @property
    def test(self) -> KeyFigure:
        """The score on the test set with its interval: the one to quote."""
        return key_figures(self.record, self.report)[0]

    @property
    def verdict(self) -> Recommendation:
        """Whether to use the model, why, and what to do next."""
        run = Run(self.directory.parent)
        return recommend(run, self.record, self.report, directory=self.directory)

    @property
    def model(self) -> Path:
        """Directory of the model, for `predict`."""
        return self.directory / "model"

    @property
    def baseline(self) -> Path:
        """Directory of the TF-IDF baseline, for `predict` as well."""
        return self.directory / "baseline"

    def __repr__(self) -> str:
        """Return a summary in lines."""
        return self._summary().as_text()

    def _repr_html_(self) -> str:
        return self._summary().as_html()

    def _summary(self) -> Summary:
        return summarize(
            "Evaluation",
            Run(self.directory.parent),
            self.record,
            self.report,
            directory=self.directory,
        )


@contextmanager
def opened(location: str) -> Iterator[Run]:
    """Open the run in a directory; or fetch the run at a URI, and mirror it there until the end.

    Raises:
        RunError: there is no run.
        StorageError: the storage cannot be reached.
    """
    if not is_uri(location):
        run = open_run(Path(location))
        run.read_record()  # fails before a lock is written into a directory that is no run
        yield run
        return
    run = fetch_run(location, _FETCHED)
    storage = Storage(location.rstrip("/").rpartition("/")[0])
    with Mirror(run, storage, interval_s=_SECONDS_BETWEEN_COPIES, on_error=_warn_of_storage):
        yield run


def _warn_of_storage(error: OSError) -> None:
    logger.warning("%s; another attempt is made at the end", error)


def evaluate_run(
    run: Run,
    *,
    gates: GateKind,
    weights: Weights,
    reopen_reason: str | None,
    with_texts: bool,
    encoder: str | None = None,
) -> Evaluation:
    """Retrain the winner of a run, locked by this process, and evaluate it on the test set.

    Args:
        run: the run.
        encoder: whose best confirmed candidate is taken instead of the winner; None: the winner.
        gates: which quality gates are checked.
        weights: `safetensors`, or `bin` to save `pytorch_model.bin` as well.
        reopen_reason: the reason for another evaluation on the test set; None for the first one.
        with_texts: whether `report.html` may contain texts of rows.

    Raises:
        RetrainError, RunError, InputError, OSError: as `evaluation.evaluate.evaluate_winner` and
            `evaluation.winner.load_winner`.
    """
    lock = TestLock(run)
    remove_checkpoints(lock)
    directory = lock.next_directory(reopen_reason)
    winner = load_winner(run, encoder)
    log_to_file(directory / "logs" / "training.log")
    report = evaluate_winner(
        winner,
        lock,
        directory,
        gates=gates,
        weights=weights,
        reopen_reason=reopen_reason,
        with_texts=with_texts,
    )
    return Evaluation(
        directory=directory,
        record=winner.record,
        report=report,
        gates_missed=tuple(all_unmet(gates, report)),
    )
