"""Predictions on the test rows by model and baseline, and on those of low confidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from scipy.sparse import csr_array
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.scores import score
from evaluation.uncertainty import bootstrap_intervals, few_rows
from evaluation.winner import Winner
from results.errors import RunError
from results.score_names import F1_MACRO_PRESENT, LOW_CONFIDENCE
from training.baseline import Baseline, fit
from training.config import TEXT_COLUMN
from training.data import read_test_rows
from training.folding import fold
from training.inference import log_probabilities
from training.model import facts_of
from training.near_duplicates import character_ngrams
from training.texts import LabelledTexts
from training.tokens import TokenTable, encode, unknown_shares

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PAIRS_AT_ONCE = 4 * 2**20
"""Pairs of texts that are in memory at a time, 30 to 50 bytes each."""


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
    baseline: Baseline
    """The fitted baseline, which was compared with the model."""


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
        configuration.data,
        sha256=data.summary.sha256,
        seen=winner.known_before,
        held_out=winner.held_out,
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
    baseline = fit(
        learnt,
        np.concatenate([data.train.labels, data.validation.labels]),
        names=configuration.data.label_names,
        seed=configuration.training.seed,
        text_column=configuration.data.text_column or TEXT_COLUMN,
    )
    of_baseline = baseline.predict(texts)
    num_test = len(test.labels)
    return TestPredictions(
        test=_predictions(test, probabilities[:num_test], of_baseline[:num_test]),
        facts=RowFacts(
            label_confidences=held_out.confidences,
            unknown_shares=_unknown_shares(tokens.take(np.arange(num_test)), tokenizer),
            similarities=nearest_similarity(learnt, test.texts),
            fills_max_length=tokens.lengths[:num_test] >= configuration.model.max_length,
        ),
        low_confidence=_predictions(low, probabilities[num_test:], of_baseline[num_test:])
        if low.texts
        else None,
        low_confidences=held_out.low_confidences,
        baseline=baseline,
    )


def _predictions(data: LabelledTexts, probabilities: Floats, baseline: Codes) -> Predictions:
    return Predictions(data=data, probabilities=probabilities, of_baseline=baseline)


def _unknown_shares(tokens: TokenTable, tokenizer: PreTrainedTokenizerBase) -> Floats | None:
    """Share of unknown tokens; None for a tokenizer that knows every character."""
    if tokenizer.unk_token_id is None:
        return None
    special = tokenizer.all_special_ids
    return unknown_shares(tokens, unknown_id=tokenizer.unk_token_id, special_ids=special)


NOTE = (
    "rows that would be in the test set without the confidence filter; their labels are doubtful,"
    " so they count neither in the test scores nor in the gates; macro-F1 is the mean over the"
    " classes that have rows here, so it cannot be compared with the macro-F1 of the test set"
)
"""The note that explains these rows in the report."""


def nearest_similarity(
    train_texts: Sequence[str], test_texts: Sequence[str], *, pairs_at_once: int = PAIRS_AT_ONCE
) -> NDArray[np.float64]:
    """Compute the similarity of each test text to the nearest training text.

    It is the Jaccard similarity of the sets of character 3-grams of folded texts, as in the search
    for near-duplicates. Every pair is compared, so the result is exact.

    Args:
        train_texts: texts as they are in the file; may be empty.
        test_texts: [n], texts as they are in the file.
        pairs_at_once: pairs compared at a time, which limits the memory and changes no result.

    Returns:
        float64 [n], 0 to 1; 0 for a text that is empty after folding.
    """
    num_train = len(train_texts)
    nearest = np.zeros(len(test_texts), dtype=np.float64)
    if not num_train:
        return nearest
    grams, _ = character_ngrams([fold(text) for text in (*train_texts, *test_texts)])
    sizes = np.diff(grams.indptr).astype(np.int64)
    # Counts of shared 3-grams stay far below 2**24, so float32 holds them exactly.
    grams = grams.astype(np.float32)
    train_by_gram = grams[:num_train].T.tocsr()
    size = max(1, pairs_at_once // num_train)
    for start in range(0, len(test_texts), size):
        rows = slice(num_train + start, min(num_train + start + size, len(sizes)))
        shared = grams[rows] @ train_by_gram
        nearest[start : start + size] = _highest(shared, sizes[rows], sizes[:num_train])
    return nearest


def _highest(
    shared: csr_array, sizes: NDArray[np.int64], train_sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the highest Jaccard similarity in each row: float64 [rows].

    Args:
        shared: [rows, train], number of 3-grams in common.
        sizes: int64 [rows], number of 3-grams of each row.
        train_sizes: int64 [train], number of 3-grams of each training text.
    """
    counts = np.diff(shared.indptr)
    union = np.repeat(sizes, counts) + train_sizes[shared.indices] - shared.data
    filled = np.flatnonzero(counts)
    highest = np.zeros(len(sizes), dtype=np.float64)
    if len(filled):
        highest[filled] = np.maximum.reduceat(shared.data / union, shared.indptr[filled])
    return highest


def report_low_confidence(
    predictions: Predictions | None, names: Sequence[str], *, seed: int, is_ordered: bool = True
) -> dict[str, Any] | None:
    """Compute the scores on the rows of low confidence.

    Args:
        predictions: predictions on these rows only; None if there is no such row.
        names: [num_labels], names in the order of the codes.
        seed: seed of the bootstrap.
        is_ordered: whether the labels are a scale.

    Returns:
        `rows`, `classes_present` [name], `accuracy`, `f1_macro_of_classes_present`, `per_class` as
        in `scores.score`, `few_rows` {class: rows}, `confidence_intervals` (without the classes
        that have no row), `baseline` {accuracy, f1_macro_of_classes_present}, `note`; None if there
        is no such row.
    """
    if predictions is None or not len(predictions.data.rows):
        return None
    labels, groups = predictions.data.labels, predictions.data.groups
    model = score(labels, predictions.of_model, names)
    baseline = score(labels, predictions.of_baseline, names)
    absent = [name for name, row in model["per_class"].items() if not row["support"]]
    # The F1 of a class without rows is 0 in every resample: the mean only needs another divisor.
    factor = len(names) / (len(names) - len(absent))
    intervals = bootstrap_intervals(
        labels, predictions.of_model, groups, names, seed=seed, is_ordered=is_ordered
    )
    intervals[F1_MACRO_PRESENT] = [end * factor for end in intervals.pop("f1_macro")]
    for name in absent:
        del intervals[f"f1 of {name}"]
    for scores in (model, baseline):
        scores[F1_MACRO_PRESENT] = scores["f1_macro"] * factor
    return {
        "rows": len(labels),
        "classes_present": [name for name in names if name not in absent],
        **{key: model[key] for key in (*LOW_CONFIDENCE, "per_class")},
        "few_rows": few_rows(labels, groups, names),
        "confidence_intervals": intervals,
        "baseline": {key: baseline[key] for key in LOW_CONFIDENCE},
        "note": NOTE,
    }


def describe_low_confidence(low: Mapping[str, Any] | None) -> str:
    """Return a sentence for the model card; empty if there is no such row.

    Args:
        low: as returned by `report_low_confidence`.
    """
    if not low:
        return ""
    return (
        f"On {low['rows']:,} such rows, which are not in the test set, the model has accuracy"
        f" {low['accuracy']:.4f} and macro-F1 {low[F1_MACRO_PRESENT]:.4f} over the"
        f" {len(low['classes_present'])} classes that have rows there, so this macro-F1 cannot be"
        " compared with the one of the test set.\n"
    )
