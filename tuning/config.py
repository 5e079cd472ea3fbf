"""The whole configuration of a search: sections of `training.config` and those of the search."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cluster.addresses import problem_of_address
from results.places import holds_secret, without_secrets
from training.config import (
    Count,
    DataConfig,
    ModelConfig,
    Number,
    Section,
    Seed,
    TrainingConfig,
)
from training.errors import InputError
from training.objective import DEFAULT_METRIC, METRICS_TOLD, Objective, objective
from training.options import shorten
from tuning.space import Domain, SearchedField, check_space

_LONGEST_NAME = 200
"""Bytes: file systems take 255, and files aside have longer names."""

Algorithm = Literal["random", "grid", "tpe"]
Scheduler = Literal["asha", "median", "none"]


class SearchConfig(Section):
    """Which configurations are tried, and for how long."""

    space: Annotated[dict[SearchedField, Domain], Field(min_length=1)]
    """Training fields to search: {learning_rate: {log_uniform: [1e-5, 5e-5]}}; also uniform,
    integer and choice."""
    metric: Annotated[str, Field(min_length=1, description=METRICS_TOLD)] = DEFAULT_METRIC
    algorithm: Algorithm = "random"
    """`random`; `grid`, every point of the choices; or `tpe`, Optuna's sampler."""
    scheduler: Scheduler = "asha"
    """What ends trials before the full budget: `asha`, `median` or `none`."""
    trials: Annotated[Count, Field(le=100_000)] = 24
    """Configurations tried, trial 0 (the one under `training`) included; not read by a grid."""
    evaluations_per_epoch: Annotated[Count, Field(le=1000)] = 4
    """Looks at the validation rows in each pass over the training rows."""
    grace_epochs: Annotated[Number, Field(gt=0)] = 0.5
    """Passes over the training rows before a trial may be stopped: the first rung."""
    reduction_factor: Annotated[Count, Field(ge=2, le=100)] = 3
    """Of the trials at a rung one in this many goes on; each rung is this much further."""
    time_budget_s: Annotated[Number, Field(gt=0)] | None = None
    """Seconds after which no trial starts and running ones end; null: no limit."""
    max_concurrent: Count | None = None
    """Most trials at once; null: as many as the resources hold. On a joined cluster trials up to
    this number wait for room, which makes an autoscaled one grow."""
    seed: Seed = 42
    """Seed of the drawn configurations."""
    confirm_top: Count = 3
    """Best configurations that are trained again on fresh draws, beside trial 0."""
    confirm_replicates: Annotated[int, Field(ge=0, le=100)] = 3
    """Fresh draws (seed, train/validation split) of each; 0: no confirmation, else at least 2."""
    confirm_max_replicates: Annotated[Count, Field(le=100)] = 5
    """Draws up to which leader and default are raced while neither is clearly ahead."""

    @model_validator(mode="after")
    def _replicates_are_enough(self) -> "SearchConfig":
        if self.confirm_replicates == 1:
            raise ValueError(
                "confirm_replicates is 1, but must be 0 (no confirmation) or at least 2: a standard"
                " error needs two"
            )
        if self.confirm_replicates > self.confirm_max_replicates:
            raise ValueError(
                f"confirm_replicates is {self.confirm_replicates}, but must be at most"
                f" confirm_max_replicates ({self.confirm_max_replicates})"
            )
        return self


class ClusterConfig(Section):
    """Where trials run and what each is given."""

    address: str | None = None
    """`auto` or HOST:PORT of a running Ray; `local`: a Ray of its own on this machine; null: what
    RAY_ADDRESS says, else `local`."""
    cpus_per_trial: Annotated[Number, Field(gt=0)] | None = None
    """CPU cores a trial, its threads; null: 1."""
    gpus_per_trial: Annotated[Number, Field(ge=0)] | None = None
    """GPUs a trial, 1 or a fraction of one; null: 1 where there is a GPU, else 0."""
    storage_path: str | None = None
    """Directory that all nodes reach, or URI that fsspec opens: the run's files are mirrored there
    and running trials keep their checkpoints there; null: in the run."""
    max_failures: Annotated[int, Field(ge=0, le=1000)] = 3
    """Times a trial whose process or node was lost is started again."""

    @model_validator(mode="after")
    def _address_is_not_of_a_client(self) -> "ClusterConfig":
        if self.address is not None and (problem := problem_of_address(self.address)):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _storage_path_is_no_secret(self) -> "ClusterConfig":
        if self.storage_path is not None and holds_secret(self.storage_path):
            raise ValueError(
                f"storage_path is {without_secrets(self.storage_path)!r}, but must hold no password"
                " or key: it would stand in config.yaml and the log; give credentials by the"
                " environment or fsspec's configuration"
            )
        return self

    @model_validator(mode="after")
    def _one_gpu_at_most(self) -> "ClusterConfig":
        if self.gpus_per_trial is not None and self.gpus_per_trial > 1:
            raise ValueError(
                f"gpus_per_trial is {self.gpus_per_trial}, but must be at most 1: a trial trains"
                " on one card"
            )
        return self


class OutputConfig(Section):
    """Where the run's files go."""

    directory: str = "results/runs"
    """Directory of all runs."""
    name: str | None = None
    """Name of the run, a directory in it; null: the configuration's name and the UTC time."""

    @model_validator(mode="after")
    def _name_is_of_a_directory(self) -> "OutputConfig":
        name = self.name
        if name is None:
            return self
        is_plain = name not in ("", ".", "..") and Path(name).name == name and "\0" not in name
        if not is_plain or len(os.fsencode(name)) > _LONGEST_NAME:
            raise ValueError(
                f"name is {shorten(name)}, but must be a plain directory name inside"
                f" output.directory, of at most {_LONGEST_NAME} bytes; use letters, digits, - and _"
            )
        return self


class Configuration(Section):
    """Everything a search depends on."""

    data: DataConfig
    """Which rows are read, which are kept, and how they are split."""
    model: ModelConfig = ModelConfig()
    """Which encoder is fine-tuned."""
    training: TrainingConfig = TrainingConfig()
    """How a model is fine-tuned; also trial 0."""
    search: SearchConfig
    """Which configurations are tried, and for how long."""
    cluster: ClusterConfig = ClusterConfig()
    """Where trials run and what each is given."""
    output: OutputConfig = OutputConfig()
    """Where the run's files go."""


SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "search": SearchConfig,
    "cluster": ClusterConfig,
    "output": OutputConfig,
}

MAY_CHANGE = {
    ("search", "trials"),
    ("search", "time_budget_s"),
    ("search", "max_concurrent"),
    *(("cluster", name) for name in ClusterConfig.model_fields),
    *(("output", name) for name in OutputConfig.model_fields),
}
"""Fields that may differ between a start and its resume."""


def check(configuration: Configuration) -> None:
    """Check what spans sections.

    Raises:
        InputError: one line for each problem of the space or the rungs.
    """
    problems = list(
        check_space(
            configuration.search.space, configuration.training, configuration.search.algorithm
        )
    )
    if problem := problem_of_address(configuration.cluster.address):
        problems.append(f"cluster: {problem}")
    search, training = configuration.search, configuration.training
    try:
        objective_of(configuration)
    except InputError as error:
        problems += error.problems
    if search.scheduler != "none" and search.grace_epochs >= training.epochs:
        problems.append(
            f"search.grace_epochs is {search.grace_epochs}, but must be less than training.epochs"
            f" ({training.epochs}); lower it, or set search.scheduler to none"
        )
    if problems:
        raise InputError(*problems)


def objective_of(configuration: Configuration) -> Objective:
    """What a search decides by.

    Raises:
        InputError: the metric does not exist or does not fit the labels.
    """
    data = configuration.data
    return objective(configuration.search.metric, data.labels, ordered=data.is_ordered)


def changed_fields(old: Configuration, new: Configuration) -> list[str]:
    """One line for each field that must not change between a start and its resume but did."""
    lines = []
    for section, model in SECTIONS.items():
        for name in model.model_fields:
            before = getattr(getattr(old, section), name)
            after = getattr(getattr(new, section), name)
            if before != after and (section, name) not in MAY_CHANGE:
                lines.append(
                    f"--resume: {section}.{name} is {shorten(after)}, but the run began with"
                    f" {shorten(before)}; leave it as it was, or start a new run"
                )
    return lines
