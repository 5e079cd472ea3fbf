"""Rehearse a search for `--dry-run`: check everything, measure a trial, describe the plan."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.errors import InputError
from training.shipping import check_all
from tuning.baseline_measurement import baseline_measurement, describe_measured
from tuning.checks import JoinedCluster, num_slots_here, try_cluster
from tuning.config import Configuration, objective_of
from tuning.confirmation_rule import most_trainings
from tuning.earlier_runs import prepare_from_earlier
from tuning.forecast import Progress
from tuning.initial_state import check_resources
from tuning.log_lines import describe_special_rows
from tuning.planned import Plan, describe_plan, plan_search, start_up_seconds
from tuning.policy import make_policy
from tuning.preparation import Preparation
from tuning.rehearsal import Rehearsal, RehearsalProcess, rehearsal_process
from tuning.rungs import describe_absent_rungs, expected_rows_of_search
from tuning.searchers import num_requested
from tuning.shipping_check import describe_checked, shipments_of
from tuning.space import Parameters

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
    problems = check_resources(configuration, is_new=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        rehearsal_process() as rehearsing,
        baseline_measurement() as measurement,
    ):
        tokenizer = Path(scratch) / "tokenizer"
        preparation, warm_start = prepare_from_earlier(
            configuration, tokenizer_directory=tokenizer, problems=problems
        )
        configuration = preparation.configuration
        slots = num_slots_here(configuration)
        rehearsal = _rehearse(rehearsing, configuration, preparation, max(slots, 1))
        measurement.start(configuration, preparation.data)  # after the steps, which are timed
        cluster = try_cluster(configuration, preparation)
        slots = slots if cluster is None else cluster.slots
        plan = plan_from(
            configuration, preparation, rehearsal, max(slots, 1), first_points=warm_start.points
        )
        started = time.monotonic()
        shipments = shipments_of(configuration, preparation)
        warnings = check_all(shipments, _existing_parent(configuration))
        seconds = time.monotonic() - started
        measurement.wait()
        baseline = measurement.record()
    yield from describe_search(configuration, preparation, plan, cluster)
    yield (
        f"checks      the model was checked in {preparation.seconds_of_checks:.1f} s;"
        f" {describe_checked(len(shipments), seconds)}"
    )
    yield from (f"            {warning}" for warning in warnings)
    if baseline is not None:
        label = objective_of(configuration).label
        yield f"to beat     {describe_measured(baseline, label)}"


def _rehearse(
    process: RehearsalProcess, configuration: Configuration, preparation: Preparation, slots: int
) -> Rehearsal:
    try:
        return process.run(configuration, preparation.search_data, slots)
    except RuntimeError as error:
        raise InputError(
            f"a trial could not be rehearsed ({error}); correct this, or start the search without"
            " --dry-run to see where it fails"
        ) from error


def plan_from(
    configuration: Configuration,
    preparation: Preparation,
    rehearsal: Rehearsal,
    slots: int,
    *,
    first_points: Sequence[Parameters] = (),
) -> Plan:
    """Return the plan of a search whose trials, `slots` at once, take what was rehearsed."""
    policy = make_policy(
        configuration,
        preparation.plan,
        num_rows=preparation.num_rows,
        validation_labels=preparation.data.validation.labels,
        first_points=first_points,
    )
    progress = Progress(
        policy=policy,
        clock=lambda: 0.0,
        rehearsal=rehearsal.sharing(configuration.cluster.gpus_per_trial or 0),
        slots=slots,
        starts_at=start_up_seconds(slots),
    )
    plan = plan_search(progress, num_final_rows=preparation.num_final_rows)
    assert plan is not None, "there is a rehearsal"
    return plan


def describe_search(
    configuration: Configuration,
    preparation: Preparation,
    planned: Plan,
    cluster: JoinedCluster | None,
) -> Iterator[str]:
    """Describe data, tokens, steps, trials, rungs, rows, time, memory and disk space by line."""
    rehearsal, slots = planned.rehearsal, planned.slots
    yield from _describe_data(configuration, preparation)
    for name in preparation.encoders:
        yield from _describe_model(rehearsal.of(name), name, len(preparation.encoders))
    yield from (f"            {note}" for note in preparation.notes)
    search, plan = configuration.search, preparation.plan
    requested = num_requested(configuration)
    confirmed = most_trainings(search, up_to=search.confirm_max_replicates)
    where = "on this machine" if cluster is None else f"on {cluster.description}"
    yield f"trials      {requested} ({search.algorithm}), {slots} at once {where}"
    rungs = ", ".join(f"{rung:,}" for rung in plan.rungs)
    rungs = f"{rungs} training rows seen ({search.scheduler})" if rungs else "none"
    yield f"rungs       {rungs}; budget {plan.budget:,} training rows seen"
    if absent := describe_absent_rungs(configuration, plan):
        yield f"            {absent}"
    expected = expected_rows_of_search(plan, search, requested)
    yield (
        f"rows        at most {requested * plan.budget:,} trained by the search"
        f" (about {expected:,.0f} if scores were random),"
        f" at most {confirmed * plan.budget:,} by the confirmation"
    )
    yield from describe_plan(planned)
    a_trial = _BYTES_A_TRIAL + _BYTES_AN_EVALUATION * len(plan.points)
    largest = max(one.num_parameters for one in (rehearsal, *rehearsal.others.values()))
    checkpoints = _COPIES_A_TRAINING * largest * _BYTES_A_PARAMETER
    at_once = min(max(slots, 1), max(requested, confirmed))
    yield from _describe_disk(
        (requested + confirmed) * a_trial + at_once * checkpoints, configuration
    )


def _describe_data(configuration: Configuration, preparation: Preparation) -> Iterator[str]:
    summary = preparation.data.summary
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
    for name, encoder in preparation.encoders.items():
        statistics = encoder.statistics
        yield (
            f"tokens      {_of(name, len(preparation.encoders))}{statistics.unknown_share:.2%}"
            f" unknown, {statistics.tokens_per_word:.2f} per word,"
            f" {statistics.truncated_share:.2%} of the rows truncated"
            f" at {configuration.model.max_length}"
        )


def _of(name: str, num_encoders: int) -> str:
    return f"{name}: " if num_encoders > 1 else ""


def _describe_model(rehearsal: Rehearsal, name: str, num_encoders: int) -> Iterator[str]:
    """Describe size and times of one encoder; of several also how long a process builds it."""
    built = f"; built in {rehearsal.build:.1f} s by each worker" if num_encoders > 1 else ""
    yield (
        f"model       {_of(name, num_encoders)}{rehearsal.num_parameters / 1e6:.1f} M parameters;"
        f" batch size {rehearsal.batch_size} x {rehearsal.longest_row} tokens:"
        f" {rehearsal.seconds_of_largest:.2f} s per step; typical rows: "
        + ", ".join(f"{s:.3g} s at batch size {size}" for size, s in rehearsal.steps.items())
        + built
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
