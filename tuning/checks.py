"""Check before a search: free capacity and storage, the run to create or resume, each node."""

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
import transformers

from cluster.addresses import address_to_join
from cluster.nodes import Node, ask_each, nodes_for
from cluster.resources import Resources, describe_cluster, num_slots, resources_of_a_trial
from cluster.session import ray_session
from results.environment import VERSION, check_data_rules, hash_model
from results.errors import RunError, StorageError
from results.run import Run, check_new_run
from results.storage import Retries, Storage
from training.cli import hide_secrets, is_uri
from training.data import RULES, PreparedData
from training.encoder import Encoder
from training.errors import InputError
from tuning.config import Configuration
from tuning.preparation import Preparation
from tuning.searchers import num_requested
from tuning.trials import TrialStore

_SHORT = Retries(number=2)
"""Before anything runs there is nothing to lose, and somebody waits for the answer."""


def num_slots_here(configuration: Configuration) -> int:
    """Return how many trials this machine can run at once.

    Raises:
        InputError: none, and there is no cluster to run one.
    """
    cluster, cards = configuration.cluster, torch.cuda.device_count()
    cpus = cluster.cpus_per_trial or 1.0
    by_cpu = int((os.cpu_count() or 1) / cpus)
    gpus = (1.0 if cards else 0.0) if cluster.gpus_per_trial is None else cluster.gpus_per_trial
    slots = min(by_cpu, cards * int(1 / gpus)) if gpus else by_cpu
    if not slots and address_to_join(cluster.address) is None:
        raise _no_capacity(cpus, gpus)
    return min(slots, configuration.search.max_concurrent or slots)


def is_like_this_machine(configuration: Configuration) -> bool:
    """Return whether times and memory that are measured here hold for the trials.

    They do on a Ray of our own. A cluster that is joined may have GPUs that this machine lacks.
    """
    return address_to_join(configuration.cluster.address) is None or torch.cuda.is_available()


def resources_for(configuration: Configuration) -> Resources:
    """Return the resources of a trial on the Ray that this process is connected to.

    Raises:
        InputError: no node of a Ray of our own can run a trial.
    """
    cluster = configuration.cluster
    resources = resources_of_a_trial(cluster.cpus_per_trial, cluster.gpus_per_trial)
    if address_to_join(cluster.address) is None and not num_slots(resources):
        raise _no_capacity(resources.cpus, resources.gpus)
    return resources


def _no_capacity(cpus: float, gpus: float) -> InputError:
    return InputError(
        f"cluster: a trial needs {cpus:g} CPU cores and {gpus:g} GPUs, but this machine does not"
        " have them; lower cluster.cpus_per_trial or cluster.gpus_per_trial, or give the address"
        " of a cluster"
    )


def check_storage(configuration: Configuration) -> None:
    """Write a small file to the storage that the run is mirrored to, and remove it.

    Raises:
        InputError: `cluster.storage_path` cannot be written.
    """
    location = configuration.cluster.storage_path
    if location is None:
        return
    storage, name = Storage(location, retries=_SHORT), f".write-test-{uuid.uuid4().hex}"
    is_new = not is_uri(location) and not Path(location).exists()
    try:
        storage.write_text(name, "")
        (storage if is_new else storage.child(name)).remove()
    except StorageError as error:
        raise InputError(
            f"cluster.storage_path is {location!r}, but it cannot be written ({error.reason}); give"
            " a directory, or a URI that fsspec opens"
        ) from error


def storage_of(configuration: Configuration) -> Storage | None:
    """Return the storage that the run is mirrored to; None: it is not mirrored."""
    path = configuration.cluster.storage_path
    return None if path is None else Storage(path)


def check_new(configuration: Configuration) -> None:
    """Check that a new run of this name can be created, here and in the storage.

    Raises:
        InputError: as `check_storage`.
        RunError: the name is taken, here or in the storage, or the directory cannot be written.
        StorageError: the storage cannot be reached.
    """
    check_storage(configuration)
    check_new_run(Path(configuration.output.directory), configuration.output.name)
    _check_new_in_storage(configuration)


def _check_new_in_storage(configuration: Configuration) -> None:
    storage, name = storage_of(configuration), configuration.output.name
    if storage is None or name is None:
        return  # a name made of the time is new
    if storage.child(name).read_text("config.yaml") is not None:
        uri = hide_secrets(storage.child(name).location)
        raise RunError(
            f"output.name is {name!r}, but cluster.storage_path holds a run of that name; choose"
            f" another --name, or resume that run by --resume {uri}"
        )


def check_not_tested(run: Run) -> None:
    """Check that the run to resume has not been evaluated on the test set.

    The accesses of runs that it started from are no evaluations of this one.

    Raises:
        RunError: it has been, or the file that lists this is damaged.
    """
    accesses = run.read_test_accesses()
    is_of_others = bool(accesses) and all(access.get("run") for access in accesses)
    if run.test_openings.exists() and not is_of_others:
        raise RunError(
            f"--resume: run {run.directory} has been evaluated on the test set, but a search must"
            " not be resumed after that; start a new run under another --name"
        )


def check_enough_trials(configuration: Configuration, known: TrialStore) -> None:
    """Check that at least as many trials are requested as have started.

    Raises:
        InputError: fewer are requested.
    """
    requested = num_requested(configuration)
    started = len(known.searched)
    if requested < started:
        raise InputError(
            f"--resume: search.trials is {requested}, but {started} trials have started; request"
            f" at least {started}, or start a new run"
        )


def check_same_rules(run: Run) -> None:
    """Check that this version drops and groups rows by the rules that the run was made with.

    Raises:
        RunError: the rules differ, or the record cannot be read.
    """
    if run.record.exists():
        check_data_rules(run, run.read_whole_record(), RULES, goal="resume it")


def check_same_data(run: Run, preparation: Preparation) -> None:
    """Check that the data are those that the run started with.

    Raises:
        RunError: the data differ, or the record cannot be read.
    """
    if not run.record.exists():  # the process was killed before it wrote one
        check_same_split(run, preparation.data)
        return
    before, found = run.read_whole_record()["data"]["sha256"], preparation.data.summary.sha256
    if before != found:
        raise RunError(
            f"--resume: data {preparation.data.summary.path} has SHA-256 {found[:12]}..., but the"
            f" run started with {before[:12]}...; restore the file, or start a new run"
        )


def check_same_encoders(run: Run, configuration: Configuration) -> None:
    """Check that the directories of encoders hold the files that the run started with.

    Raises:
        RunError: files of a directory have changed, or the record cannot be read.
    """
    recorded = run.read_whole_record().get("encoders", ()) if run.record.exists() else ()
    before = {one["name"]: one.get("sha256") for one in recorded}
    for model in configuration.models:
        found = hash_model(Path(model.name))
        if None not in (found, before.get(model.name)) and found != before[model.name]:
            raise RunError(
                f"--resume: the files in {model.name} have changed since the run started (SHA-256"
                f" {str(found)[:12]}..., but was {before[model.name][:12]}...), so that trials"
                " could not be compared; restore them, or start a new run"
            )


def check_same_split(run: Run, data: PreparedData) -> None:
    """Check that the data are split as `splits.csv` records, where that file exists.

    Raises:
        RunError: the split differs; without a record either the data or the version has changed.
    """
    text = data.assignment.to_csv(index=False, lineterminator="\n")
    if run.splits.exists() and run.splits.read_text(encoding="utf-8") != text:
        raise RunError(
            f"run {run.directory}: splits.csv does not hold the split that this version ({VERSION})"
            f" makes of data {data.summary.path}; restore the data that were searched, or use the"
            " version that searched them, or start a new run"
        )


_NOT_SHARED = "does not see the files that this machine writes there"

Versions = tuple[str, str]


def check_joined_nodes(
    configuration: Configuration, resources: Resources, encoders: Mapping[str, Encoder]
) -> None:
    """Check versions, models and shared storage on each node that can run a trial.

    A Ray that the search itself started has one node, this machine, which is not checked.

    Args:
        configuration: the configuration, which has the storage of the checkpoints.
        resources: the resources of a trial.
        encoders: by name; each node builds a model of each.

    Raises:
        InputError: one line for each problem, with the names of the nodes.
        StorageError: this machine cannot write to the storage.
    """
    if address_to_join(configuration.cluster.address) is None:
        return
    nodes = nodes_for(resources)
    if not nodes:
        return  # none has joined yet; trials check the storage again when they start
    problems = [*_check_programs(nodes, encoders), *_check_storage(configuration, nodes)]
    if problems:
        raise InputError(*problems)


@dataclass(frozen=True, kw_only=True)
class JoinedCluster:
    """The capacity of a cluster whose nodes have passed the checks."""

    slots: int
    """Most trials at once."""
    description: str


def try_cluster(configuration: Configuration, preparation: Preparation) -> JoinedCluster | None:
    """Join the cluster, check its nodes, and leave it; return None where there is none to join.

    Raises:
        ClusterError: the cluster cannot be reached.
        InputError: as `check_joined_nodes`.
    """
    if address_to_join(configuration.cluster.address) is None:
        return None
    with ray_session(configuration.cluster.address, metadata={"run": "dry run"}):
        resources = resources_for(configuration)
        check_joined_nodes(configuration, resources, preparation.models_to_build)
        slots, limit = num_slots(resources), configuration.search.max_concurrent
        return JoinedCluster(slots=min(slots, limit or slots), description=describe_cluster())


def _check_programs(nodes: list[Node], encoders: Mapping[str, Encoder]) -> Iterator[str]:
    answers = ask_each(nodes, try_program, _versions())
    for node, problem in answers.items():
        if problem:
            yield f"cluster: node {node} cannot run trials: {problem}"
    able = [node for node in nodes if not answers[node]]
    for name, encoder in encoders.items():  # one after the other: a node may have little memory
        for node, problem in ask_each(able, try_encoder, ray.put(encoder)).items():
            if problem:
                yield f"cluster: node {node} cannot train {name!r}: {problem}"


def try_program(_node: Node, versions: Versions) -> str:
    """Return, on a node, why it cannot run a trial; empty: it can."""
    if _versions() != versions:
        return (
            "it has torch {} and transformers {}, but this machine has torch {} and transformers"
            " {}; install the same versions there".format(*_versions(), *versions)
        )
    return ""


def try_encoder(_node: Node, encoder: Encoder) -> str:
    """Build a model on a node; what it raises is the reason why the node cannot train it."""
    encoder.build(seed=0)
    return ""


def _versions() -> Versions:
    return str(torch.__version__), transformers.__version__


def _check_storage(configuration: Configuration, nodes: list[Node]) -> Iterator[str]:
    # Absolute, since the working directory of a worker is not that of the driver.
    output = str(Path(configuration.output.directory).absolute())
    location = configuration.cluster.storage_path or output
    storage = Storage(f"{location.rstrip('/')}/.nodes-{uuid.uuid4().hex}", retries=_SHORT)
    try:
        storage.write_text("driver", "")
        answers = ask_each(nodes, try_storage, storage)
        unshared = {node: problem for node, problem in answers.items() if problem}
        for node in set(nodes) - set(unshared):
            if storage.read_text(node.node_id) is None:
                unshared[node] = "this machine does not see the files that it writes there"
    finally:
        storage.remove()
    if unshared:
        name = "cluster.storage_path" if configuration.cluster.storage_path else "output.directory"
        reasons = "; ".join(f"{node}: {unshared[node]}" for node in nodes if node in unshared)
        yield (
            f"{name} is {hide_secrets(location)!r}, but {len(unshared)} of {len(nodes)} nodes"
            f" do not share it ({reasons}); give --cluster.storage_path a directory that is mounted"
            " on all nodes, or a URI such as s3://bucket/runs"
        )


def try_storage(node: Node, storage: Storage) -> str:
    """Write a file on a node; return why the storage is not the driver's, empty: it is."""
    try:
        if storage.read_text("driver") is None:
            return _NOT_SHARED
        storage.write_text(node.node_id, "")
    except StorageError as error:
        return error.reason
    return ""
