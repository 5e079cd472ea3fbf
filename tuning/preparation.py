"""Prepare the data of a search: rows, tokens, the split of each replicate, evaluation points."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from training.config import TINY, ModelConfig
from training.data import PreparedData, prepare
from training.encoder import Encoder, read_encoder
from training.encoder_checks import check_encoder
from training.errors import InputError, Problems
from training.model import facts_of, learn_tiny_tokenizer, load_tokenizer
from training.schedule import num_warmup_steps, schedule_of
from training.split_texts import SplitTexts
from training.texts import LabelledTexts
from training.tokenizer import check_tokenizer
from training.tokens import (
    Integers,
    LabelledTokens,
    TokenStatistics,
    TokenTable,
    describe_tokens,
    encode,
)
from training.trained_on import check_not_seen, known_to
from tuning.config import Configuration, objective_of, with_data
from tuning.confirmation import split_seed
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
_NUM_TRIED = 200
"""Training rows on which the shipped tokenizer is compared with the one of the search."""

MOST_UNKNOWN = 0.2
"""Share of unknown tokens in the training texts above which training is pointless."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything that a search needs, apart from Ray."""

    configuration: Configuration
    """The configuration, with the columns and labels that were recognised."""
    data: PreparedData
    search_data: SearchData
    plan: EvaluationPlan
    statistics: TokenStatistics
    tokenizer: PreTrainedTokenizerBase
    seconds_of_checks: float
    """Seconds in which the model was checked before the search."""

    @property
    def num_rows(self) -> int:
        """Number of training rows in the split of the search."""
        return len(self.data.train.labels)

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
    data = problems.attempt(
        lambda: prepare(configuration.data, seen=known_to(configuration.model), held_out=held_out)
    )
    if data is None:
        problems.attempt(lambda: _check_model(configuration.model))
        problems.raise_any()
    assert data is not None
    configuration = with_data(configuration, data.config)
    _check_data(configuration, data, problems)
    on_split(configuration, data)
    model = problems.attempt(
        lambda: _read_model(configuration, data, tokenizer_directory, problems)
    )
    problems.raise_any()
    assert model is not None
    plan = plan_of(configuration, len(data.train.labels))
    search_data = SearchData(
        pool=LabelledTokens(
            tokens=model.tokens,
            labels=np.concatenate([data.train.labels, data.validation.labels]),
        ),
        replicates=tuple(_splits(data, configuration)),
        model=configuration.model,
        tokenizer=facts_of(model.tokenizer),
        encoder=model.encoder,
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
        statistics=model.statistics,
        tokenizer=model.tokenizer,
        seconds_of_checks=model.seconds_of_checks,
    )


def _check_data(configuration: Configuration, data: PreparedData, problems: Problems) -> None:
    """Check what depends on the data and needs no model."""
    problems.attempt(lambda: objective_of(configuration))
    problems.attempt(
        lambda: check_not_seen(
            data.summary.rows_seen,
            data.summary.num_rows,
            model=configuration.model.name,
            path=configuration.data.path,
            is_resplit=configuration.search.confirm_replicates > 0,
        )
    )
    problems.add(*check_warmups(configuration, len(data.train.labels)))


@dataclass(frozen=True, kw_only=True)
class _ReadModel:
    """The model and the tokens of its tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    statistics: TokenStatistics
    encoder: Encoder
    tokens: TokenTable
    """Of the training rows, then of the validation rows."""
    seconds_of_checks: float


def _read_model(
    configuration: Configuration, data: PreparedData, directory: Path, problems: Problems
) -> _ReadModel:
    model = configuration.model
    if model.name == TINY and not directory.is_dir():
        learn_tiny_tokenizer(model, data.train.texts, directory)
    tokenizer = load_tokenizer(model, tiny=directory)
    statistics = describe_tokens(tokenizer, data.train.texts, max_length=model.max_length)
    problems.attempt(lambda: _check_unknown(statistics, model.name))
    # Read here and sent to the workers, which need neither the hub nor the directory.
    encoder = read_encoder(
        model, labels=configuration.data.label_names, tokenizer=facts_of(tokenizer)
    )
    some = data.train.texts[:_NUM_TRIED]
    check_tokenizer(tokenizer, encoder.config, some, max_length=model.max_length)
    texts = [*data.train.texts, *data.validation.texts]
    tokens = encode(tokenizer, texts, max_length=model.max_length)
    started = time.monotonic()
    check_encoder(encoder, model=model, tokenizer=facts_of(tokenizer), tokens=tokens)
    seconds = time.monotonic() - started
    return _ReadModel(
        tokenizer=tokenizer,
        statistics=statistics,
        encoder=encoder,
        tokens=tokens,
        seconds_of_checks=seconds,
    )


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


def _check_unknown(statistics: TokenStatistics, name: str) -> None:
    if statistics.unknown_share > MOST_UNKNOWN:
        raise InputError(
            f"model.name: the tokenizer of {name!r} turns {statistics.unknown_share:.0%} of the"
            f" training tokens into [UNK], but at most {MOST_UNKNOWN:.0%} may be unknown; choose a"
            " model of this language and script"
        )


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
