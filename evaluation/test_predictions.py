"""Predictions of the retrained model and of the baseline on the test rows."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.baseline import fit_predict
from evaluation.similarity import nearest_similarity
from evaluation.winner import Winner
from results.errors import RunError
from training.data import read_test_rows
from training.inference import log_probabilities
from training.model import facts_of
from training.texts import LabelledTexts
from training.tokens import TokenTable, encode, unknown_shares

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions of the model and of the baseline on n rows, in the order of the rows."""

    data: LabelledTexts
    """The rows: record numbers, texts, true codes, near-duplicate groups."""
    probabilities: Floats
    """Probabilities of the model, float64 [n, num_labels]."""
    of_baseline: Codes
    """Codes that the baseline predicts, int64 [n]."""

    @cached_property
    def of_model(self) -> Codes:
        """The most probable code of each row, the lowest one of a tie: int64 [n]."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def confidence(self) -> Floats:
        """Probability of the model's prediction on each row: float64 [n]."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)

    @cached_property
    def is_wrong(self) -> npt.NDArray[np.bool_]:
        """Whether the model's prediction differs from the label: bool [n]."""
        return np.asarray(self.of_model != self.data.labels, dtype=np.bool_)

    def most_confident_errors(self) -> Codes:
        """Positions of the misclassified rows, the most confident first: int64 [num_errors].

        Rows of equal confidence keep their order.
        """
        wrong = np.flatnonzero(self.is_wrong)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """What may make a row hard to classify; each is an array [n], or None if not measured."""

    label_confidences: Floats | None
    """The labeller's confidence, 0 to 1; NaN where it is missing."""
    unknown_shares: Floats | None
    """Share of unknown tokens among the tokens of the row, 0 to 1."""
    similarities: Floats | None
    """Similarity to the nearest training row, 0 to 1."""
    fills_max_length: npt.NDArray[np.bool_] | None
    """Whether the row has as many tokens as the model reads, so that its end may be truncated."""


@dataclass(frozen=True, kw_only=True)
class TestPredictions:
    """Predictions on the test rows, and on the rows that the confidence filter removed."""

    __test__ = False  # the name is about the test set, not for pytest

    test: Predictions
    facts: RowFacts
    """Facts about the test rows."""
    low_confidence: Predictions | None
    """None: the filter removed no row."""
    low_confidences: Floats
    """The labeller's confidence in the removed rows, float64 [rows]."""


def predict_test_rows(
    winner: Winner, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> TestPredictions:
    """Read the test rows, classify them, and measure what may make a row hard to classify.

    Args:
        winner: the winner of the search.
        model: the retrained model; it is put in evaluation mode and left there.
        tokenizer: the tokenizer of the search.

    Raises:
        InputError: the data cannot be read, or changed since the winner was retrained.
        RunError: the probabilities of a row are not finite.
    """
    configuration, data = winner.configuration, winner.data
    held_out = read_test_rows(
        configuration.data, sha256=data.summary.sha256, seen=winner.known_before
    )
    test, low = held_out.test, held_out.low_confidence
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
            " probabilities that are not finite, but must give finite ones; nothing was reported:"
            " search with lower learning rates"
        )
    baseline = fit_predict(
        learnt,
        np.concatenate([data.train.labels, data.validation.labels]),
        texts,
        seed=configuration.training.seed,
    )
    num_test = len(test.labels)
    return TestPredictions(
        test=_predictions(test, probabilities[:num_test], baseline[:num_test]),
        facts=RowFacts(
            label_confidences=held_out.confidences,
            unknown_shares=_unknown_shares(tokens.take(np.arange(num_test)), tokenizer),
            similarities=nearest_similarity(learnt, test.texts),
            fills_max_length=tokens.lengths[:num_test] >= configuration.model.max_length,
        ),
        low_confidence=_predictions(low, probabilities[num_test:], baseline[num_test:])
        if low.texts
        else None,
        low_confidences=held_out.low_confidences,
    )


def _predictions(data: LabelledTexts, probabilities: Floats, baseline: Codes) -> Predictions:
    return Predictions(data=data, probabilities=probabilities, of_baseline=baseline)


def _unknown_shares(tokens: TokenTable, tokenizer: PreTrainedTokenizerBase) -> Floats | None:
    """Share of unknown tokens; None for a tokenizer that knows every character."""
    if tokenizer.unk_token_id is None:
        return None
    special = tokenizer.all_special_ids
    return unknown_shares(tokens, unknown_id=tokenizer.unk_token_id, special_ids=special)
