"""The configuration of a search: its fields with their documentation, ranges and cross-checks."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cluster.addresses import problem_of_address
from training.cli import has_secret, hide_secrets, shorten
from training.config import (
    TINY,
    Count,
    DataConfig,
    ModelConfig,
    Number,
    Section,
    Seed,
    TrainingConfig,
)
from training.errors import InputError
from training.objective import DEFAULT_METRIC, METRICS_HELP, Objective, objective
from tuning.space import (
    MODEL,
    Domain,
    Parameters,
    SearchedField,
    absolute_model,
    check_space,
    typed_space,
)

_LONGEST_NAME = 200
"""Bytes; file systems allow 255, and temporary files have longer names."""

PRETRAINED_RATE = 5e-5
"""Learning rate up to which pretrained encoders are tuned: the top of the study's range in
`configurations/indobert.yaml`."""
SCRATCH_RATE = 5e-4
"""Learning rate that a small BERT from scratch needs: trial 0 of `configurations/sample.yaml`."""

Algorithm = Literal["random", "grid", "tpe"]
Scheduler = Literal["asha", "median", "none"]
Tracker = Literal["none", "mlflow", "wandb"]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class SearchConfig(Section):
    """Which configurations are tried, and for how long."""

    space: Annotated[dict[SearchedField, Domain], Field(min_length=1), AfterValidator(typed_space)]
    """Training fields to search, each with a range: {learning_rate: {log_uniform: [1e-5, 5e-5]}};
    also uniform, integer, and choice of numbers or words: {schedule: {choice: [linear, cosine]}};
    `model` is searched over names of encoders."""
    metric: Annotated[str, Field(min_length=1, description=METRICS_HELP)] = DEFAULT_METRIC
    algorithm: Algorithm = "random"
    """How configurations are chosen: `random`; `grid`, every combination of the choices; or `tpe`,
    Optuna's sampler."""
    scheduler: Scheduler = "asha"
    """What stops trials early: `asha`, the best 1 in reduction_factor at a rung are promoted;
    `median`, those not below the median; `none`, no trial is stopped. Under the first two, all
    trials end at the last rung if the best are confirmed, since these are trained afresh."""
    trials: Annotated[Count, Field(le=100_000)] = 24
    """Number of configurations to try, with trial 0, which is the one under `training`; `grid`
    ignores it."""
    evaluations_per_epoch: Annotated[Count, Field(le=1000)] = 4
    """Evaluations on the validation rows in each epoch."""
    grace_epochs: Annotated[Number, Field(gt=0)] = 0.5
    """Epochs before a trial may be stopped early: the first rung."""
    reduction_factor: Annotated[Count, Field(ge=2, le=100)] = 3
    """One in this many trials at a rung is promoted, and each rung is this many times the one
    before."""
    time_budget_s: Annotated[Number, Field(gt=0)] | None = None
    """Seconds after which no trial starts and running trials are stopped; null: no limit."""
    max_concurrent: Count | None = None
    """Most trials at once; null: as many as the resources allow. On a joined cluster, trials up to
    this number wait for resources, so that an autoscaler adds nodes."""
    seed: Seed = 42
    """Seed of the sampled configurations."""
    warm_start: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_list)
    ] = ()
    """Earlier runs, as directories or names in output.directory: up to 3 of the best configurations
    of each are tried right after trial 0, and the texts that they tested on stay in the test."""
    confirm_top: Count = 3
    """Number of best configurations, the finalists, that are confirmed on replicates beside
    trial 0; the one furthest behind is dropped after each replicate. Where `model` is searched, the
    best of each encoder is one of them, and there are at least as many as encoders."""
    confirm_replicates: Annotated[int, Field(ge=0, le=100)] = 3
    """Fewest replicates, each with a fresh seed and train/validation split, on which a
    configuration can replace trial 0; 0: no confirmation, else at least 2."""
    confirm_max_replicates: Annotated[Count, Field(le=100)] = 5
    """Most replicates; there are fewer if a finalist wins before, or none can win any more."""
    decision_rule: Annotated[int, Field(ge=1, le=2)] = 2
    """Rules by which trials end and finalists are confirmed; 1: those of version 0.3.0, by which
    its runs are resumed."""

    @property
    def encoders(self) -> tuple[str, ...]:
        """The searched names of encoders; none where `model` is not searched."""
        searched = self.space.get(MODEL)
        return tuple(map(str, searched.choice or ())) if searched else ()

    @property
    def num_finalists(self) -> int:
        """Most finalists: `confirm_top`, or one of each encoder if these are more."""
        return max(self.confirm_top, len(self.encoders))

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
    """Where trials run and what resources each of them has."""

    address: str | None = None
    """`auto` or HOST:PORT of a running Ray; `local`: a Ray that the search starts on this machine;
    null: the value of RAY_ADDRESS, else `local`."""
    cpus_per_trial: Annotated[Number, Field(gt=0)] | None = None
    """CPU cores, and threads, of each trial; null: 1."""
    gpus_per_trial: Annotated[Number, Field(ge=0)] | None = None
    """GPUs of each trial, 1 or a fraction; null: 1 where there is a GPU, else 0."""
    storage_path: str | None = None
    """Directory that all nodes share, or URI that fsspec opens, for the checkpoints of running
    trials and a mirror of the run's files; null: checkpoints are in the run, without a mirror."""
    max_failures: Annotated[int, Field(ge=0, le=1000)] = 3
    """Times that a trial is restarted after the failure of its process or node."""

    @model_validator(mode="after")
    def _address_is_not_of_a_client(self) -> "ClusterConfig":
        if self.address is not None and (problem := problem_of_address(self.address)):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _storage_path_is_no_secret(self) -> "ClusterConfig":
        if self.storage_path is not None and has_secret(self.storage_path):
            raise ValueError(
                f"storage_path is {hide_secrets(self.storage_path)!r}, but must hold no password"
                " or key: config.yaml and the log would show it; give credentials by the"
                " environment or fsspec's configuration"
            )
        return self

    @model_validator(mode="after")
    def _one_gpu_at_most(self) -> "ClusterConfig":
        if self.gpus_per_trial is not None and self.gpus_per_trial > 1:
            raise ValueError(
                f"gpus_per_trial is {self.gpus_per_trial}, but must be at most 1: a trial trains"
                " on one GPU"
            )
        return self


class OutputConfig(Section):
    """Where the run's files go."""

    directory: str = "results/runs"
    """Directory of the runs."""
    name: str | None = None
    """Name of the run, which is a directory inside it; null: the configuration's name and the UTC
    time."""
    tracker: Tracker = "none"
    """Where the search is tracked as well: `mlflow` (MLFLOW_TRACKING_URI, or MLflow's own default)
    or `wandb` (Weights & Biases; WANDB_MODE=offline is honoured); each needs the extra of its
    name."""
    tracker_texts: bool = False
    """Whether the tracker may receive texts of rows, in the report's list of mistakes."""

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
    """Which rows are read and kept, and how they are split."""
    model: ModelConfig = ModelConfig()
    """Which encoder is fine-tuned."""
    training: TrainingConfig = TrainingConfig()
    """How a model is fine-tuned; this is also trial 0."""
    search: SearchConfig
    """Which configurations are tried, and for how long."""
    cluster: ClusterConfig = ClusterConfig()
    """Where trials run and what resources each of them has."""
    output: OutputConfig = OutputConfig()
    """Where the run's files go."""

    @property
    def default_point(self) -> Parameters:
        """The searched fields as they are configured: trial 0, inside the space or not."""
        return {
            name: self.model.name if name == MODEL else getattr(self.training, name)
            for name in self.search.space
        }

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The encoders that trials may have: trial 0's first, then the other searched ones."""
        names = dict.fromkeys((self.model.name, *self.search.encoders))
        return tuple(map(self._named, names))

    @property
    def changes_dropout(self) -> bool:
        """Whether some trial may have another dropout than its encoder's own."""
        searched = self.search.space.get("dropout")
        return self.training.dropout is not None or (
            searched is not None and searched.choice != (None,)
        )

    def model_of(self, parameters: Parameters) -> ModelConfig:
        """Return the encoder of a trial with these parameters."""
        return self._named(str(parameters.get(MODEL, self.model.name)))

    def _named(self, name: str) -> ModelConfig:
        return self.model.model_copy(update={"name": name})


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
"""Fields that a resume may change."""


def check(
    *,
    data: DataConfig | None,
    model: ModelConfig | None,
    training: TrainingConfig | None,
    search: SearchConfig | None,
    cluster: ClusterConfig | None,
) -> Iterator[str]:
    """Yield one line for each problem of what depends on several sections, or the environment.

    A section is None if it has problems itself, and is not checked. The metric is checked only if
    the labels are known.
    """
    if search is not None and training is not None:
        yield from check_space(search.space, training, search.algorithm)
    if search is not None and model is not None:
        yield from _check_encoders(search, model)
    if cluster is not None and (problem := problem_of_address(cluster.address)):
        yield f"cluster: {problem}"
    if search is not None and data is not None and data.labels is not None:
        try:
            objective(search.metric, data.labels, ordered=data.is_ordered)
        except InputError as error:
            yield from error.problems


def _check_encoders(search: SearchConfig, model: ModelConfig) -> Iterator[str]:
    """Yield the problems of several encoders in one search."""
    if not search.encoders:
        return
    if model.revision is not None:
        yield (
            f"model.revision is {model.revision!r}, but must be null where model is searched: a"
            " revision belongs to one hub id; leave one of them out"
        )
    names = {absolute_model(model.name), *search.encoders}
    are_names = all(isinstance(one, str) for one in search.space[MODEL].choice or ())
    if TINY not in names or names == {TINY} or model.weights == "random" or not are_names:
        return
    rates = search.space.get("learning_rate")
    if rates is None or not _serves_both(rates):
        yield (
            f"search.space: {TINY} is an encoder beside pretrained ones, but then learning_rate"
            f" must be searched from at most {PRETRAINED_RATE:g} to at least {SCRATCH_RATE:g}:"
            f" leave {TINY} out, or write learning_rate: {{log_uniform: [1e-5, 5e-3]}}"
        )


def _serves_both(rates: Domain) -> bool:
    if not rates.is_numeric:
        return False
    low, high = rates.bounds
    return low <= PRETRAINED_RATE and high >= SCRATCH_RATE


def with_data(configuration: Configuration, data: DataConfig) -> Configuration:
    """Return the configuration with the section `data` as it was recognised."""
    return configuration.model_copy(update={"data": data})


def objective_of(configuration: Configuration) -> Objective:
    """Return the objective of a search whose labels are recognised.

    Raises:
        InputError: the metric does not exist or does not fit the labels.
    """
    data = configuration.data
    return objective(configuration.search.metric, data.label_names, ordered=data.is_ordered)


def changed_fields(old: Configuration, new: Configuration) -> list[str]:
    """Return one line for each changed field that a resume must not change."""
    lines = []
    for section, model in SECTIONS.items():
        for name in model.model_fields:
            before = getattr(getattr(old, section), name)
            after = getattr(getattr(new, section), name)
            if before != after and (section, name) not in MAY_CHANGE:
                lines.append(
                    f"--resume: {section}.{name} is {shorten(after)}, but the run started with"
                    f" {shorten(before)}; leave it as it was, or start a new run"
                )
    return lines
