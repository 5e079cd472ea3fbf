"""What a fine-tuned encoder has to beat: word and character n-grams with a linear model."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from training.texts import LabelledTexts

NAME = "TF-IDF (word 1-2, char_wb 2-5) + balanced logistic regression"
"""The baseline as reports name it."""


def fit_predict(
    train_texts: Sequence[str],
    train_labels: NDArray[np.int64],
    test_texts: Sequence[str],
    *,
    seed: int,
) -> NDArray[np.int64]:
    """Fit the baseline on the training rows and predict the test rows.

    N-grams that stand in one text alone are left out: as good and half the time. Where no
    n-gram is left or all rows have one label, the most frequent label is the answer.

    Args:
        train_texts: [num_train]; may be empty, or hold nothing that is a letter.
        train_labels: int64 [num_train], codes; at least one.
        test_texts: [n], likewise.
        seed: seed of the solver.

    Returns:
        int64 [n], predicted codes.
    """
    frequency = np.bincount(train_labels)
    features = _features(train_texts, test_texts) if len(test_texts) else None
    if features is None or np.count_nonzero(frequency) < 2:
        return np.full(len(test_texts), frequency.argmax(), dtype=np.int64)
    model = LogisticRegression(class_weight="balanced", max_iter=1000, random_state=seed)
    with warnings.catch_warnings():
        # A baseline a hair from its optimum is still one; nobody could act on the warning.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features[0], train_labels)
    return np.asarray(model.predict(features[1]), dtype=np.int64)


def _features(
    train_texts: Sequence[str], test_texts: Sequence[str]
) -> tuple[csr_matrix, csr_matrix] | None:
    """TF-IDF of both parts side by side, or None where the training texts have no n-gram."""
    vectorizers = (
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True),
    )
    pairs = []
    for vectorizer in vectorizers:
        try:
            train = vectorizer.fit_transform(train_texts)
        except ValueError:  # scikit-learn's way to say that the vocabulary is empty
            continue
        pairs.append((train, vectorizer.transform(test_texts)))
    if not pairs:
        return None
    train, test = zip(*pairs, strict=True)
    return hstack(train).tocsr(), hstack(test).tocsr()


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers on n rows, in the order of the rows."""

    data: LabelledTexts
    """The rows: record numbers, texts, true codes, near-duplicate groups."""
    probabilities: NDArray[np.float64]
    """Of the model, float64 [n, num_labels]."""
    baseline_predictions: NDArray[np.int64]
    """Codes that the baseline predicts, int64 [n]."""

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """The most probable code of each row, the lowest of several: int64 [n]."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the prediction of each row: float64 [n]."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether the model's prediction is not the label: bool [n]."""
        return np.asarray(self.predictions != self.data.labels, dtype=np.bool_)

    def most_confident_errors(self) -> NDArray[np.int64]:
        """Places of the wrong rows, the most confident first, ties in their order: int64 [e]."""
        wrong = np.flatnonzero(self.wrong)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]
