"""Evaluate a search and use its model from Python, a notebook or a thread."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import torch

from evaluation.gates import GateKind
from evaluation.predicted_rows import RowPredictions, predict_rows
from evaluation.run_evaluation import Evaluation, evaluate_run, opened
from results.log import PACKAGES, log_to_terminal, preserve_logging, quieted_transformers
from training.cells import Cell, Unreadable, whole_characters
from training.classifier import Backend, load
from training.cli import shorten
from training.errors import InputError
from training.model_files import Weights

_ROWS_AT_A_TIME = 1024


def evaluate(
    run: object,
    *,
    gates: GateKind = "minimum",
    weights: Weights = "safetensors",
    reopen_reason: str | None = None,
    with_texts: bool = True,
    encoder: str | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Evaluate the winner of a search on the test set, as `python -m evaluation.final` does.

    The winner is retrained on the training and validation rows and evaluated once. A gate that is
    not met is no error: `Evaluation.gates_missed` names it. After an interrupt the next call
    continues the retrain. Loggers and the number of threads of torch are restored at the end.

    Args:
        run: the result of `tuning.api.search` or `results.load.load_run`, the directory of a run,
            or its URI. A run at a URI is fetched into results/runs, and the results are copied
            back.
        gates: which quality gates are checked: `minimum`, `optimal` or `none`.
        weights: `safetensors`, or `bin` to write `pytorch_model.bin` as well.
        reopen_reason: reason for another evaluation on the test set, which is recorded; None: a
            second evaluation is refused.
        with_texts: whether `report.html` may contain texts of rows.
        encoder: name, or its unique end, of the encoder whose best confirmed candidate is evaluated
            instead of the winner; None: the winner.
        quiet: print nothing; `final/logs/training.log` is written in any case.

    Raises:
        InputError: an argument, the data or the model cannot be used.
        RunError: there is no completed search, its files or data have changed, another process is
            writing it, or its winner was evaluated before and there is no `reopen_reason`.
        RetrainError: no retrain learnt as much as the search; the test set was not used.
        StorageError: the storage cannot be reached.
        OSError: the disk is full or cannot be written.
        torch.OutOfMemoryError: the memory of the GPU does not suffice.
    """
    _check_choice("gates", gates, get_args(GateKind))
    _check_choice("weights", weights, get_args(Weights))
    if not isinstance(reopen_reason, str | None):
        raise InputError(f"reopen_reason is {shorten(reopen_reason)}, but must be text; give one")
    if not isinstance(encoder, str | None):
        raise InputError(f"encoder is {shorten(encoder)}, but must be a name; give one")
    location = _location(run)
    with _process_restored(quiet=quiet), opened(location) as found, found.lock():
        return evaluate_run(
            found,
            gates=gates,
            weights=weights,
            reopen_reason=reopen_reason,
            with_texts=with_texts,
            encoder=encoder,
        )


def predict(model: object, texts: object, *, backend: Backend = "torch") -> pd.DataFrame:
    """Classify texts, as `python -m evaluation.predict` does.

    The model is loaded at each call: give all texts at once.

    Args:
        model: the result of `evaluate`, or a directory: `final/model`, or `final/baseline` for the
            TF-IDF baseline.
        texts: a list, a Series, a column of another library, or another iterable of texts.
        backend: `torch` uses a GPU if there is one; `onnx` runs on the CPU.

    Returns:
        A row a text in the same order, with the index of a Series: `label`, `p_<class>` (float64)
        for each class, and `error`, the reason why a row has neither (`label` and `p_<class>` are
        then missing). It is empty for a row with a label.

    Raises:
        InputError: an argument or the model cannot be used.
        ModelBrokenError: the model classified texts before and now fails for each.
        torch.OutOfMemoryError: the memory of the GPU does not suffice.
    """
    _check_choice("backend", backend, get_args(Backend))
    items, index = _items(texts)
    directory = _model_directory(model)
    with quieted_transformers():
        classifier = load(directory, backend)
        parts = [
            predict_rows(classifier, list(map(_as_cell, some)), [""] * len(some))
            for some in _in_parts(items)
        ]
    frame = _as_frame(parts, classifier.names)
    return frame if index is None else frame.set_axis(index)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(
            f"{name} is {shorten(value)}, but must be one of {', '.join(choices)}; choose one"
        )


def _location(run: object) -> str:
    """Return the directory or URI of a run."""
    where = getattr(run, "directory", run)
    if isinstance(where, str | os.PathLike):
        return str(os.fspath(where) or ".")
    raise InputError(
        f"run has the type {type(run).__name__}, but must be the result of a search, the directory"
        " of a run or its URI; give what tuning.api.search returned"
    )


def _model_directory(model: object) -> Path:
    where = getattr(model, "model", model)
    if isinstance(where, str | os.PathLike):
        return Path(where)
    hint = "; evaluate(...) of a search has one" if hasattr(model, "directory") else ""
    raise InputError(
        f"model has the type {type(model).__name__}, but must be the result of evaluate or the"
        f" directory of a model{hint}; give final/model"
    )


def _items(texts: Any) -> tuple[Iterable[object], pd.Index | None]:
    """Return the texts to classify, and the index of a Series.

    Raises:
        InputError: it is a single text or a table, or cannot be iterated over.
    """
    if not isinstance(texts, pd.Series) and callable(getattr(texts, "to_pandas", None)):
        texts = texts.to_pandas()  # the items of an Arrow array are no texts
    if isinstance(texts, pd.Series):
        return texts, texts.index
    if isinstance(texts, str | bytes):
        raise InputError(
            f"texts is a single text ({shorten(texts, 40)}), but must be a list of texts; give"
            " [text]"
        )
    if isinstance(texts, Mapping) or hasattr(texts, "columns"):
        raise InputError(
            f"texts is a {type(texts).__name__}, but must be a list of texts; give the column of"
            " the texts, such as table['text']"
        )
    if not isinstance(texts, Iterable):
        raise InputError(f"texts is {shorten(texts)}, but must be a list of texts; give [text]")
    return texts, None


def _in_parts(items: Iterable[object]) -> Iterator[list[object]]:
    """Split items into lists whose predictions fit in memory."""
    left = iter(items)
    while part := list(islice(left, _ROWS_AT_A_TIME)):
        yield part


def _as_cell(item: object) -> Cell:
    if isinstance(item, str):
        return whole_characters(item)
    if item is None or item is pd.NA or (isinstance(item, float) and item != item):
        return None
    return Unreadable(type(item).__name__)


def _as_frame(parts: list[RowPredictions], names: Iterable[str]) -> pd.DataFrame:
    """Return predictions as a table, [rows] x (label, p_<class>..., error)."""
    shares = [row for part in parts for row in part.probabilities]
    columns: dict[str, pd.Series] = {
        "label": pd.Series([row or None for part in parts for row in part.labels], dtype="str")
    }
    for code, name in enumerate(names):
        values = [None if row is None else row[code] for row in shares]
        columns[f"p_{name}"] = pd.Series(values, dtype="float64")
    columns["error"] = pd.Series([row for part in parts for row in part.errors], dtype="str")
    return pd.DataFrame(columns)


@contextmanager
def _process_restored(*, quiet: bool) -> Iterator[None]:
    """Print log lines, or with `quiet` none, and restore loggers and threads afterwards."""
    num_threads = torch.get_num_threads()
    with preserve_logging(PACKAGES), quieted_transformers():
        log_to_terminal(quiet=quiet)
        try:
            yield
        finally:
            torch.set_num_threads(num_threads)
