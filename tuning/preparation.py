"""Prepare the data of a search: rows, tokens, the split of each replicate, evaluation points."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from training.config import TINY, ModelConfig
from training.data import PreparedData, prepare
from training.encoder import Encoder, read_encoder
from training.errors import Problems
from training.model import facts_of, load_tokenizer
from training.schedule import num_warmup_steps, schedule_of
from training.split_texts import SplitTexts
from training.texts import LabelledTexts
from training.tokens import Integers
from training.trained_on import check_not_seen, known_to
from tuning.config import Configuration, objective_of, with_data
from tuning.confirmation import split_seed
from tuning.encoders import CheckedEncoder, check_encoders
from tuning.rungs import EvaluationPlan, plan_of
from tuning.space import unfinished_warmup
from tuning.trainable import Replicate, SearchData

OnSplit = Callable[[Configuration, PreparedData], None]
"""Takes the configuration and the split data of a search."""


def ignore_split(_configuration: Configuration, _data: PreparedData) -> None:
    """Do nothing with the split data."""


_SHARES = {
    "training": "a share such as 0.1",
    "search.space": "shares such as {uniform: [0.0, 0.3]}",
}

_ANY_LABELS = ("0", "1")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything that a search needs, apart from Ray."""

    configuration: Configuration
    """The configuration, with the columns and labels that were recognised."""
    data: PreparedData
    search_data: SearchData
    plan: EvaluationPlan
    encoders: Mapping[str, CheckedEncoder]
    """By the name of the model, trial 0's first."""

    @property
    def num_rows(self) -> int:
        """Number of training rows in the split of the search."""
        return len(self.data.train.labels)

    @property
    def num_final_rows(self) -> int:
        """Number of rows outside the test, on which the winner is retrained."""
        return len(self.search_data.pool_labels)

    @property
    def notes(self) -> list[str]:
        """A line for each encoder of which something is not used that one may expect to be."""
        notes = (one.prepared.encoder.note for one in self.encoders.values())
        return [note for note in notes if note]

    @property
    def models_to_build(self) -> dict[str, Encoder]:
        """The encoders by name, as nodes build models of them."""
        return {name: one.prepared.encoder for name, one in self.encoders.items()}

    @property
    def default_encoder(self) -> CheckedEncoder:
        """Trial 0's encoder."""
        return next(iter(self.encoders.values()))

    @property
    def seconds_of_checks(self) -> float:
        """Seconds in which the predictions of all encoders were checked before the search."""
        return sum(one.seconds_of_checks for one in self.encoders.values())

    def with_data_path(self, path: str) -> "Preparation":
        """Return the same preparation, of data that are recorded at another path."""
        summary = replace(self.data.summary, path=path)
        config = self.data.config.model_copy(update={"path": path})
        return replace(
            self,
            configuration=with_data(self.configuration, config),
            data=replace(self.data, summary=summary, config=config),
        )


def prepare_search(
    configuration: Configuration,
    *,
    tokenizer_directory: Path,
    num_threads: int | None = None,
    problems: Problems | None = None,
    on_split: OnSplit = ignore_split,
    held_out: SplitTexts | None = None,
) -> Preparation:
    """Read, split and tokenise the data and plan the evaluations.

    Args:
        configuration: the configuration of the search.
        tokenizer_directory: directory of the tokenizer of `tiny`, which is learnt if it is missing.
        num_threads: threads of each trial; None: as many as it has cores.
        problems: of earlier checks, which are raised together with those of data and model.
        on_split: is called with the configuration and the data once they are split and checked,
            before the model is.
        held_out: texts of the runs that the search starts from; None: it starts from none.

    Raises:
        InputError: the data, the model or a warm-up is not usable, one line each; or the model was
            trained on held-out rows.
    """
    problems = Problems() if problems is None else problems
    data = problems.attempt(lambda: _prepare_data(configuration, held_out))
    if data is None:
        for model in configuration.models:
            problems.attempt(partial(_check_model, model))
        problems.raise_any()
    assert data is not None
    configuration = with_data(configuration, data.config)
    _check_data(configuration, data, problems)
    on_split(configuration, data)
    encoders = check_encoders(
        configuration.models,
        data,
        tiny=tokenizer_directory,
        changes_dropout=configuration.changes_dropout,
        problems=problems,
    )
    problems.raise_any()
    plan = plan_of(configuration, len(data.train.labels))
    search_data = SearchData(
        encoders={name: one.prepared for name, one in encoders.items()},
        pool_labels=np.concatenate([data.train.labels, data.validation.labels]),
        replicates=tuple(_splits(data, configuration)),
        labels=configuration.data.label_names,
        metric=configuration.search.metric,
        stop_early_after=plan.rungs[0] if plan.rungs else 0,
        num_threads=num_threads or max(1, int(configuration.cluster.cpus_per_trial or 1)),
    )
    return Preparation(
        configuration=configuration,
        data=data,
        search_data=search_data,
        plan=plan,
        encoders=encoders,
    )


def _prepare_data(configuration: Configuration, held_out: SplitTexts | None) -> PreparedData:
    default, *others = configuration.models
    known = {model.name: known_to(model) for model in others}
    return prepare(
        configuration.data,
        seen=known_to(default),
        held_out=held_out,
        also_seen={name: seen for name, seen in known.items() if seen is not None},
    )


def _check_data(configuration: Configuration, data: PreparedData, problems: Problems) -> None:
    """Check what depends on the data and needs no model."""
    problems.attempt(lambda: objective_of(configuration))
    seen = {configuration.model.name: data.summary.rows_seen, **data.also_seen}
    for name, counts in seen.items():
        problems.attempt(
            partial(
                check_not_seen,
                counts,
                data.summary.num_rows,
                model=name,
                path=configuration.data.path,
                is_resplit=configuration.search.confirm_replicates > 0,
            )
        )
    problems.add(*check_warmups(configuration, len(data.train.labels)))


def _check_model(model: ModelConfig) -> None:
    """Check a model as far as that needs no data; the weights of the hub are not fetched for it."""
    if model.name == TINY:
        return
    tokenizer = load_tokenizer(model, tiny=Path())
    if Path(model.name).is_dir():
        read_encoder(model, labels=_ANY_LABELS, tokenizer=facts_of(tokenizer))


def check_warmups(configuration: Configuration, num_rows: int) -> Iterator[str]:
    """Yield an error line if trial 0 or a searched combination could not finish its warm-up."""
    for where, space in (("training", {}), ("search.space", configuration.search.space)):
        training = unfinished_warmup(space, configuration.training, num_rows)
        if training is not None:
            schedule = schedule_of(training, num_rows)
            yield (
                f"{where}.warmup_steps is {num_warmup_steps(training, schedule)} steps, but must be"
                f" fewer than the {schedule.total_steps} steps of {num_rows:,} training rows in"
                f" batches of {training.batch_size}; give {_SHARES[where]}, fewer steps, or smaller"
                " batches"
            )
            return


def _splits(data: PreparedData, configuration: Configuration) -> Iterator[Replicate]:
    """Yield the split of the search, then that of each possible replicate of the confirmation."""
    order = np.concatenate([data.train.rows, data.validation.rows])
    position = {int(row): number for number, row in enumerate(order)}
    search = configuration.search
    num_replicates = search.confirm_max_replicates if search.confirm_replicates else 0
    seeds = [split_seed(configuration, k) for k in range(1, num_replicates + 1)]
    for train, validation in ((data.train, data.validation), *map(data.resplit, seeds)):
        # Groups stay whole, so that the number of training rows differs a little.
        plan = plan_of(configuration, len(train.labels))
        yield Replicate(
            train=_positions(train, position),
            validation=_positions(validation, position),
            evaluate_at=plan.points,
        )


def _positions(texts: LabelledTexts, position: dict[int, int]) -> Integers:
    return np.array([position[int(row)] for row in texts.rows], dtype=np.int64)
