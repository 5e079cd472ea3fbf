"""The opened test rows, and what the retrained model and the baseline say of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.baseline import Answers, fit_predict
from evaluation.error_analysis import RowFacts
from evaluation.similarity import nearest_similarity
from evaluation.winner import Winner
from results.errors import RunError
from training.data import read_test_rows
from training.inference import log_probabilities
from training.model import facts_of
from training.texts import LabelledTexts
from training.tokens import TokenTable, encode, unknown_shares

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Tested:
    """Answers on the test rows, and apart on those that the confidence filter took from them."""

    __test__ = False  # the name is about test rows, not for pytest

    answers: Answers
    facts: RowFacts
    """Of the test rows."""
    low_confidence: Answers | None
    """None: the filter took no row."""
    low_confidences: Floats
    """The labeller's confidence of those rows, float64 [rows]."""


def open_and_answer(
    winner: Winner, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Tested:
    """Read the test rows, classify them, and measure what may make a row hard.

    Args:
        winner: of the search.
        model: retrained; put in evaluation mode and left there.
        tokenizer: of the search.

    Raises:
        InputError: the data cannot be read, or changed since the winner was retrained.
        RunError: a row's probabilities are not finite.
    """
    configuration, data = winner.configuration, winner.data
    opened = read_test_rows(
        configuration.data, sha256=data.summary.sha256, seen=winner.known_before
    )
    test, low = opened.test, opened.low_confidence
    learnt = [*data.train.texts, *data.validation.texts]
    texts = [*test.texts, *low.texts]
    tokens = encode(tokenizer, texts, max_length=configuration.model.max_length)
    probabilities = np.exp(
        log_probabilities(
            model,
            tokens,
            batch_size=configuration.training.eval_batch_size,
            padding=facts_of(tokenizer).padding,
        )
    )
    if num_bad := int(np.count_nonzero(~np.isfinite(probabilities).all(axis=1))):
        raise RunError(
            f"run {winner.run.directory}: the retrained model gives {num_bad} of {len(texts)} rows"
            " probabilities that are not finite; nothing was reported: search with lower learning"
            " rates"
        )
    baseline = fit_predict(
        learnt,
        np.concatenate([data.train.labels, data.validation.labels]),
        texts,
        seed=configuration.training.seed,
    )
    num_test = len(test.labels)
    return Tested(
        answers=_answers(test, probabilities[:num_test], baseline[:num_test]),
        facts=RowFacts(
            label_confidences=opened.confidences,
            unknown_shares=_unknown_shares(tokens.take(np.arange(num_test)), tokenizer),
            similarities=nearest_similarity(learnt, test.texts),
            fills_max_length=tokens.lengths[:num_test] >= configuration.model.max_length,
        ),
        low_confidence=_answers(low, probabilities[num_test:], baseline[num_test:])
        if low.texts
        else None,
        low_confidences=opened.low_confidences,
    )


def _answers(
    data: LabelledTexts, probabilities: Floats, baseline: npt.NDArray[np.int64]
) -> Answers:
    return Answers(data=data, probabilities=probabilities, baseline_predictions=baseline)


def _unknown_shares(tokens: TokenTable, tokenizer: PreTrainedTokenizerBase) -> Floats | None:
    """None for a tokenizer that knows every character."""
    if tokenizer.unk_token_id is None:
        return None
    special = tokenizer.all_special_ids
    return unknown_shares(tokens, unknown_id=tokenizer.unk_token_id, special_ids=special)
