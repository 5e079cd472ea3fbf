"""From a configuration to what trials read: rows, tokens, splits and the plan of evaluations."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from training.config import TINY
from training.data import PreparedData, prepare
from training.encoder import read_encoder
from training.encoder_checks import check_encoder
from training.errors import InputError
from training.model import facts_of, learn_tiny_tokenizer, load_tokenizer
from training.schedule import num_warmup_steps, schedule_of
from training.texts import LabelledTexts
from training.tokenizer import check_tokenizer
from training.tokens import Integers, LabelledTokens, TokenStatistics, describe_tokens, encode
from training.trained_on import check_not_seen, known_to
from tuning.config import Configuration
from tuning.confirmation import split_seed
from tuning.rungs import EvaluationPlan, plan_evaluations
from tuning.space import unfinished_warmup
from tuning.trainable import Draw, SearchData

_SHARES = {
    "training": "a share such as 0.1",
    "search.space": "shares such as {uniform: [0.0, 0.3]}",
}

_NUM_TRIED = 200
"""Training rows that the tokenizer that ships encodes for comparison."""

MOST_UNKNOWN = 0.2
"""Share of unknown word pieces in the training text above which learning is pointless."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything a search needs but Ray."""

    data: PreparedData
    search_data: SearchData
    plan: EvaluationPlan
    statistics: TokenStatistics
    tokenizer: PreTrainedTokenizerBase
    seconds_of_checks: float
    """That the model was tried for, before anything is trained."""

    @property
    def num_rows(self) -> int:
        """Training rows of the search's split."""
        return len(self.data.train.labels)


def prepare_search(
    configuration: Configuration, *, tokenizer_directory: Path, num_threads: int | None = None
) -> Preparation:
    """Read, split and tokenise the data and plan the evaluations.

    Args:
        configuration: what is searched.
        tokenizer_directory: where the tokenizer of `tiny` is kept; learnt if it is not there.
        num_threads: threads a trial computes with; None: as many as it has cores.

    Raises:
        InputError: the data, the model or a warm-up does not do, one line each; or the model was
            trained on rows that are held out.
    """
    data = prepare(configuration.data, seen=known_to(configuration.model))
    check_not_seen(
        data.summary.rows_seen,
        data.summary.num_rows,
        model=configuration.model.name,
        path=configuration.data.path,
        is_resplit=configuration.search.confirm_replicates > 0,
    )
    plan = plan_evaluations(
        len(data.train.labels), configuration.training.epochs, configuration.search
    )
    problems = list(check_warmups(configuration, len(data.train.labels)))
    if problems:
        raise InputError(*problems)
    model = configuration.model
    if model.name == TINY and not tokenizer_directory.is_dir():
        learn_tiny_tokenizer(model, data.train.texts, tokenizer_directory)
    tokenizer = load_tokenizer(model, tiny=tokenizer_directory)
    statistics = describe_tokens(tokenizer, data.train.texts, max_length=model.max_length)
    _check_unknown(statistics, model.name)
    labels = configuration.data.labels
    # Here alone: workers need neither the hub nor the directory.
    encoder = read_encoder(model, labels=labels, tokenizer=facts_of(tokenizer))
    some = data.train.texts[:_NUM_TRIED]
    check_tokenizer(tokenizer, encoder.config, some, max_length=model.max_length)
    texts = [*data.train.texts, *data.validation.texts]
    tokens = encode(tokenizer, texts, max_length=model.max_length)
    began = time.monotonic()
    check_encoder(encoder, model=model, tokenizer=facts_of(tokenizer), tokens=tokens)
    seconds = time.monotonic() - began
    search_data = SearchData(
        pool=LabelledTokens(
            tokens=tokens,
            labels=np.concatenate([data.train.labels, data.validation.labels]),
        ),
        draws=tuple(_draws(data, configuration)),
        model=model,
        tokenizer=facts_of(tokenizer),
        encoder=encoder,
        labels=labels,
        metric=configuration.search.metric,
        stop_early_after=plan.rungs[0] if plan.rungs else 0,
        num_threads=num_threads or max(1, int(configuration.cluster.cpus_per_trial or 1)),
    )
    return Preparation(
        data=data,
        search_data=search_data,
        plan=plan,
        statistics=statistics,
        tokenizer=tokenizer,
        seconds_of_checks=seconds,
    )


def check_warmups(configuration: Configuration, num_rows: int) -> Iterator[str]:
    """A line if trial 0, or some searched combination, would not end its warm-up."""
    for where, space in (("training", {}), ("search.space", configuration.search.space)):
        training = unfinished_warmup(space, configuration.training, num_rows)
        if training is not None:
            schedule = schedule_of(training, num_rows)
            yield (
                f"{where}.warmup_steps: a warm-up of {num_warmup_steps(training, schedule)} steps,"
                f" but batch size {training.batch_size} makes only {schedule.total_steps} steps of"
                f" {num_rows:,} training rows; give {_SHARES[where]}, fewer steps, or smaller"
                " batches"
            )
            return


def _check_unknown(statistics: TokenStatistics, name: str) -> None:
    if statistics.unknown_share > MOST_UNKNOWN:
        raise InputError(
            f"model.name: the tokenizer of {name!r} makes {statistics.unknown_share:.0%} of the"
            f" training text [UNK], but at most {MOST_UNKNOWN:.0%} can be learnt from; choose a"
            " model of this language and script"
        )


def _draws(data: PreparedData, configuration: Configuration) -> Iterator[Draw]:
    """The split of the search, then that of each replicate its confirmation may come to."""
    order = np.concatenate([data.train.rows, data.validation.rows])
    position = {int(row): number for number, row in enumerate(order)}
    search, epochs = configuration.search, configuration.training.epochs
    num_replicates = search.confirm_max_replicates if search.confirm_replicates else 0
    seeds = [split_seed(configuration, k) for k in range(1, num_replicates + 1)]
    for train, validation in ((data.train, data.validation), *map(data.resplit, seeds)):
        yield Draw(
            train=_positions(train, position),
            validation=_positions(validation, position),
            # Groups stay whole, so that a draw may be a few rows larger than another.
            evaluate_at=plan_evaluations(len(train.labels), epochs, search).points,
        )


def _positions(texts: LabelledTexts, position: dict[int, int]) -> Integers:
    return np.array([position[int(row)] for row in texts.rows], dtype=np.int64)
