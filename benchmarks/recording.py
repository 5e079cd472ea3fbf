"""What `benchmarks.record` records: the configurations, the rows, and one training of the grid."""

import csv
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.columns import sha256_of
from training.config import TINY, DataConfig
from training.data import file_of
from training.errors import InputError
from training.finetune import finetune
from training.model_cache import ModelCache
from training.recognition import read_table
from training.schedule import schedule_of
from tuning.config import Configuration
from tuning.confirmation import fresh_seed
from tuning.preparation import prepare_search
from tuning.space import Parameters, sample, to_plain_space, with_parameters
from tuning.start import build
from tuning.trainable import SearchData

_MODEL_CACHE = ModelCache()
"""The built model of this process, which all its trainings use."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options that decide what is recorded."""

    data: str
    """Table with the columns of the bundled sample."""
    configurations: int
    """The default, and others that are sampled from the configured space."""
    replicates: int
    evaluations_per_epoch: int
    space_seed: int
    """Seed of the sampled configurations."""
    max_rows: int | None
    """Most rows of the table; None: all."""
    rows_seed: int
    """Seed of the choice of `max_rows` rows."""

    @property
    def trainings(self) -> list[tuple[int, int]]:
        """Configuration and replicate of each training, in the order of the file."""
        replicates = range(1, self.replicates + 1)
        return [(c, k) for k in replicates for c in range(self.configurations)]

    @property
    def rows_each(self) -> int:
        """Rows of a training: its evaluations."""
        return self.configuration(self.data).training.epochs * self.evaluations_per_epoch

    def configuration(self, data: str) -> Configuration:
        """Return the configuration of a search on a table, whose replicates are recorded."""
        search = {
            "scheduler": "none",
            "evaluations_per_epoch": self.evaluations_per_epoch,
            "confirm_replicates": 2,  # 1 is refused; more of them change nothing here
            "confirm_max_replicates": max(2, self.replicates),
        }
        return build({"data": {"path": data}, "model": {"name": TINY}, "search": search})

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the file, which `benchmarks.recorded` explains."""
        return [
            *("configuration", "replicate", *self.configuration(self.data).search.space),
            *("train_rows", "validation_rows", "constant_score"),
            *("examples", "f1_macro", "accuracy"),
        ]

    def as_record(self) -> dict[str, Any]:
        """Return everything that decides the numbers in the file, as plain values.

        Raises:
            InputError: there is no such data, or an option is out of range.
        """
        configuration = self.configuration(self.data)
        path = file_of(self.data)
        if not path.is_file():
            raise InputError(f"--data is {self.data!r}, but there is no such file; check the path")
        return {
            **asdict(self),
            "data": f"SHA-256 {sha256_of(path)}",
            "model": configuration.model.model_dump(mode="json"),
            "training": configuration.training.model_dump(mode="json"),
            "space": to_plain_space(configuration.search.space),
        }


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Everything that a training of the grid needs; it is sent to each process once."""

    configuration: Configuration
    parameters: Sequence[Parameters]
    """Of each configuration; 0 is the default."""
    search_data: SearchData


def prepare_grid(options: Options) -> Grid:
    """Sample the configurations, read the rows and split them for each replicate.

    Raises:
        InputError: the data cannot be used, or evaluations are closer than a training's steps.
    """
    with tempfile.TemporaryDirectory() as directory:
        data = options.data
        if options.max_rows is not None:
            data = str(Path(directory) / "rows.csv")
            choose_rows(options, Path(data))
        configuration = options.configuration(data)
        prepared = prepare_search(
            configuration, tokenizer_directory=Path(directory) / "tokenizer", num_threads=1
        )
    grid = Grid(
        configuration=configuration,
        parameters=_parameters(configuration, options),
        search_data=prepared.search_data,
    )
    _check_steps(grid, options)
    return grid


def choose_rows(options: Options, target: Path) -> None:
    """Write `max_rows` random rows of the table, in random order.

    Raises:
        InputError: the table cannot be read.
    """
    columns = read_table(file_of(options.data), DataConfig(path=options.data)).columns
    order = np.random.default_rng(options.rows_seed).permutation(columns.num_rows)
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns.cells)
        cells = list(columns.cells.values())
        writer.writerows([column[row] for column in cells] for row in order[: options.max_rows])


def _parameters(configuration: Configuration, options: Options) -> list[Parameters]:
    space = configuration.search.space
    sampled = [
        sample(space, seed=options.space_seed, number=n) for n in range(1, options.configurations)
    ]
    return [configuration.default_point, *map(_rounded, sampled)]


def _rounded(parameters: Parameters) -> Parameters:
    """Round to 6 digits: the file then holds the very values that were trained with."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value
        for name, value in parameters.items()
    }


def _check_steps(grid: Grid, options: Options) -> None:
    """Refuse evaluations so close that two of them would be made at the same step."""
    for replicate in grid.search_data.replicates:
        for parameters in grid.parameters:
            training = with_parameters(grid.configuration.training, parameters)
            schedule = schedule_of(training, len(replicate.train))
            due = replicate.evaluate_at
            if len({schedule.step_at(point) for point in due}) < options.rows_each:
                raise InputError(
                    f"--evaluations-per-epoch is {options.evaluations_per_epoch}, but must be at"
                    f" most {schedule.steps_per_epoch}, the steps of an epoch of"
                    f" {schedule.num_rows} rows in batches of {training.batch_size}; lower it"
                )


def record_training(grid: Grid, number: tuple[int, int]) -> list[dict[str, Any]]:
    """Train a configuration on a replicate to the full budget, with one thread.

    A training that diverges ends there: its weights are no numbers any more. Its last evaluation
    stands for the later ones, which would find the same.

    Args:
        grid: of the training.
        number: configuration and replicate.

    Returns:
        A row an evaluation, with the columns of `Options.columns`.
    """
    configuration, replicate = number
    torch.set_num_threads(1)
    parameters = grid.parameters[configuration]
    task = grid.search_data.task(replicate)
    assert task.validation is not None
    due = grid.search_data.replicates[replicate].evaluate_at
    seed = fresh_seed(grid.configuration.training.seed, replicate)
    training = with_parameters(grid.configuration.training, {**parameters, "seed": seed})
    found = finetune(task, training, evaluate_at=due, model_cache=_MODEL_CACHE).evaluations
    facts = {
        **{"configuration": configuration, "replicate": replicate, **parameters},
        **{"train_rows": len(task.train), "validation_rows": len(task.validation)},
        "constant_score": round(task.objective.constant_score(task.validation.labels), 5),
    }
    schedule = schedule_of(training, len(task.train))
    evaluations = [*found, *[found[-1]] * (len(due) - len(found))]
    return [
        {
            **facts,
            "examples": schedule.examples_after(schedule.step_at(point)),
            "f1_macro": round(evaluation.f1_macro, 5),
            "accuracy": round(evaluation.accuracy, 5),
        }
        for point, evaluation in zip(due, evaluations, strict=True)
    ]
