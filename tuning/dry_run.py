"""Rehearse a search for `--dry-run`: check everything, measure two steps, describe the plan."""

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from training.finetune import finetune
from training.shipping import check_shipping
from tuning.checks import JoinedCluster, check_new, check_storage, num_slots_here, try_cluster
from tuning.config import Configuration
from tuning.confirmation_rule import most_trainings
from tuning.log_lines import describe_special_rows
from tuning.preparation import Preparation, prepare_search
from tuning.rungs import LEAST_STEPS, expected_rows_of_search
from tuning.searchers import num_requested
from tuning.shipping_check import shipment_of
from tuning.space import largest_batch_size
from tuning.tracking import check_tracker

_NUM_STEPS = 2
_BYTES_A_TRIAL = 20_000
"""Bytes of event files, rows and Ray's state per trial; measured on the sample, rounded up."""
_BYTES_AN_EVALUATION = 1_000
_BYTES_A_PARAMETER = 4
_COPIES_A_TRAINING = 6
"""Copies of the model on disk at the peak: the old checkpoint and the one that replaces it, each
with weights and two moments. A retrain writes the final weights and model.onnx after one of the two
has been removed."""


def dry_run(configuration: Configuration) -> Iterator[str]:
    """Check everything that a search checks, start nothing, and yield the lines of its plan.

    Raises:
        InputError: configuration, data, model or cluster is not usable.
        RunError: the name of the run is taken, or its directory cannot be written.
        StorageError: the storage cannot be reached.
        ClusterError: the cluster cannot be reached.
        MemoryError: the largest batch does not fit in memory.
    """
    num_slots_here(configuration)
    check_storage(configuration)
    check_tracker(configuration)
    check_new(configuration)
    with tempfile.TemporaryDirectory() as scratch:
        preparation = prepare_search(configuration, tokenizer_directory=Path(scratch) / "tokenizer")
        configuration = preparation.configuration
        rehearsal = _rehearse(configuration, preparation)
        cluster = try_cluster(configuration, preparation)
        started = time.monotonic()
        shipment = shipment_of(configuration, preparation)
        warning = check_shipping(shipment, _existing_parent(configuration))
        seconds = time.monotonic() - started
    yield from _describe_plan(configuration, preparation, rehearsal, cluster)
    yield (
        f"checks      the model was checked in {preparation.seconds_of_checks:.1f} s; a small copy"
        f" of it was saved, loaded and run in {seconds:.1f} s"
    )
    if warning:
        yield f"            {warning}"


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Time and memory of two steps with the largest batch and the longest rows."""

    batch_size: int
    longest_row: int
    """Tokens."""
    seconds_a_step: float
    peak_memory: int
    """Bytes on the GPU where there is one, else of this whole process."""
    num_parameters: int


def _rehearse(configuration: Configuration, preparation: Preparation) -> Rehearsal:
    """Train two steps with the largest batch of the search space, on the longest training rows."""
    largest = largest_batch_size(configuration.search.space, configuration.training)
    task = preparation.search_data.task(0)
    longest = np.argsort(-task.train.tokens.lengths, kind="stable")[: largest * _NUM_STEPS]
    rows = task.train.take(longest)
    # The longest rows may lack a class, so that no class weights can be computed.
    changes = {"batch_size": largest, "epochs": 1, "warmup_steps": 0, "class_weights": "none"}
    torch.set_num_threads(preparation.search_data.num_threads)
    with _as_memory_error():
        tuned = finetune(
            replace(task, train=rows, validation=None),
            configuration.training.model_copy(update=changes),
            evaluate_at=(),
        )
    return Rehearsal(
        batch_size=largest,
        longest_row=int(rows.tokens.lengths.max()),
        seconds_a_step=tuned.seconds / -(-len(rows) // largest),
        peak_memory=_peak_memory(),
        num_parameters=sum(parameter.numel() for parameter in tuned.model.parameters()),
    )


def _describe_plan(
    configuration: Configuration,
    preparation: Preparation,
    rehearsal: Rehearsal,
    cluster: JoinedCluster | None,
) -> Iterator[str]:
    """Describe data, tokens, steps, trials, rungs, rows and disk space, a line each."""
    yield from _describe_data(configuration, preparation)
    yield (
        f"model       {rehearsal.num_parameters / 1e6:.1f} M parameters; batch size"
        f" {rehearsal.batch_size} x {rehearsal.longest_row} tokens:"
        f" {rehearsal.seconds_a_step:.2f} s per step, peak memory"
        f" {rehearsal.peak_memory / 2**30:.2f} GiB"
    )
    if note := preparation.search_data.encoder.note:
        yield f"            {note}"
    search, plan = configuration.search, preparation.plan
    requested = num_requested(search, configuration.training)
    confirmed = most_trainings(search, up_to=search.confirm_max_replicates)
    slots = num_slots_here(configuration) if cluster is None else cluster.slots
    where = "on this machine" if cluster is None else f"on {cluster.description}"
    yield f"trials      {requested} ({search.algorithm}), {slots} at once {where}"
    rungs = ", ".join(f"{rung:,}" for rung in plan.rungs) or "none"
    yield f"rungs       {rungs} training rows seen ({search.scheduler}); budget {plan.budget:,}"
    if search.scheduler != "none" and not plan.rungs:
        yield f"            no trial is stopped: no rung is at {LEAST_STEPS} steps or more"
    expected = expected_rows_of_search(plan, search, requested)
    yield (
        f"rows        at most {requested * plan.budget:,} trained by the search"
        f" (about {expected:,.0f} if scores were random),"
        f" at most {confirmed * plan.budget:,} by the confirmation"
    )
    a_trial = _BYTES_A_TRIAL + _BYTES_AN_EVALUATION * len(plan.points)
    checkpoints = _COPIES_A_TRAINING * rehearsal.num_parameters * _BYTES_A_PARAMETER
    at_once = min(max(slots, 1), max(requested, confirmed))
    yield from _describe_disk(
        (requested + confirmed) * a_trial + at_once * checkpoints, configuration
    )


def _describe_data(configuration: Configuration, preparation: Preparation) -> Iterator[str]:
    statistics, summary = preparation.statistics, preparation.data.summary
    yield f"data        {summary.kept:,} of {summary.rows:,} rows kept; dropped: " + (
        ", ".join(f"{count:,} {reason}" for reason, count in summary.dropped.items() if count)
        or "none"
    )
    for split, counts in summary.class_counts.items():
        yield f"            {split} {sum(counts.values()):,}: " + ", ".join(
            f"{label} {count:,}" for label, count in counts.items()
        )
    for line in describe_special_rows(summary):
        yield f"            {line}"
    yield f"            {summary.format}"
    yield from (f"            {note}" for note in summary.notes)
    yield (
        f"tokens      {statistics.unknown_share:.2%} unknown,"
        f" {statistics.tokens_per_word:.2f} per word,"
        f" {statistics.truncated_share:.2%} of the rows truncated"
        f" at {configuration.model.max_length}"
    )


def _describe_disk(needed: float, configuration: Configuration) -> Iterator[str]:
    free = shutil.disk_usage(_existing_parent(configuration)).free
    yield (
        f"disk        at most {needed / 2**20:,.0f} MiB at the peak, the final model included;"
        f" {free / 2**20:,.0f} MiB free"
    )
    if needed > free:
        yield "            this does not fit: free disk space, or choose another --output.directory"


def _existing_parent(configuration: Configuration) -> Path:
    """Return the output directory, or the nearest parent that exists."""
    directory = Path(configuration.output.directory).absolute()
    return next(path for path in (directory, *directory.parents) if path.is_dir())


@contextmanager
def _as_memory_error() -> Iterator[None]:
    """Raise MemoryError for torch's RuntimeErrors, which on the CPU have no class of their own."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise MemoryError from error
        raise


def _peak_memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
