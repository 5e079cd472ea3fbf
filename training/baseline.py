"""The baseline that a fine-tuned encoder must beat: TF-IDF n-grams with logistic regression.

Run as a module, it fits and scores the baseline in a process of its own (`main`).
"""

import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

Codes = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Analyzer = Literal["word", "char_wb"]

NAME = "TF-IDF (word 1-2, char_wb 2-5) + balanced logistic regression"
"""The name of the baseline in reports."""

NGRAMS: dict[Analyzer, tuple[int, int]] = {"word": (1, 2), "char_wb": (2, 5)}
"""Fewest and most units of an n-gram, by kind of unit."""

_MOST_COEFFICIENTS = 2**21
"""Coefficients of one kind of n-gram, over all classes: the solver holds about 25 numbers for each.
Four classes keep 524,288 n-grams, more than 60,000 tweets have."""

_YIELDS = 5
"""Increment of `nice`: trials come first, and the check of the shipped model last."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A fitted baseline; it classifies as `training.classifier.Classifier` does."""

    names: Sequence[str]
    """Label names in the order of their codes."""
    text_column: str
    """Name of the text column in training."""
    seed: int
    """Seed of the solver."""
    class_counts: Codes
    """Number of training rows of each class, int64 [num_labels]."""
    vectorizers: Sequence[TfidfVectorizer]
    """Of each kind of n-gram that the training texts have; empty: no n-gram is shared."""
    model: LogisticRegression | None
    """Codes are its classes; None: there is no n-gram, or all rows have one label."""

    def probabilities(self, texts: Sequence[str]) -> Probabilities:
        """Return the probability of each class, float64 [texts, num_labels].

        Without a model these are the shares of the classes among the training rows.
        """
        if self.model is None or not len(texts):
            return np.tile(self.class_counts / self.class_counts.sum(), (len(texts), 1))
        features = hstack([one.transform(texts) for one in self.vectorizers]).tocsr()
        found = np.zeros((len(texts), len(self.names)))
        found[:, self.model.classes_] = self.model.predict_proba(features)
        return found

    def predict(self, texts: Sequence[str]) -> Codes:
        """Return the most probable code of each text, the lowest one of a tie: int64 [texts]."""
        return np.asarray(self.probabilities(texts).argmax(axis=1), dtype=np.int64)


def fit(
    texts: Sequence[str],
    labels: Codes,
    *,
    names: Sequence[str],
    seed: int,
    text_column: str = "text",
) -> Baseline:
    """Fit the baseline.

    N-grams that occur in only one text are left out, which halves the time and costs no accuracy.
    If no n-gram is left, or all rows have one label, the most frequent label is predicted.

    Args:
        texts: [rows]; a text may be empty or have no letters.
        labels: int64 [rows], codes; at least one.
        names: of the labels, in the order of their codes.
        seed: seed of the solver.
        text_column: name of the text column, for tables that are classified later.
    """
    class_counts = np.bincount(labels, minlength=len(names))
    vectorizers, features = _vectorize(texts, num_labels=len(names))
    model = None
    if features is not None and np.count_nonzero(class_counts) > 1:
        model = LogisticRegression(class_weight="balanced", max_iter=1000, random_state=seed)
        with warnings.catch_warnings():
            # A baseline slightly off its optimum still serves; nobody could act on the warning.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)
    return Baseline(
        names=tuple(names),
        text_column=text_column,
        seed=seed,
        class_counts=class_counts,
        vectorizers=vectorizers if model else (),
        model=model,
    )


def vectorizer(analyzer: Analyzer, **changes: Any) -> TfidfVectorizer:
    """Return scikit-learn's vectorizer of a kind of n-gram, not fitted."""
    return TfidfVectorizer(
        analyzer=analyzer, ngram_range=NGRAMS[analyzer], sublinear_tf=True, **changes
    )


def _vectorize(
    texts: Sequence[str], *, num_labels: int
) -> tuple[list[TfidfVectorizer], csr_matrix | None]:
    """Return the fitted vectorizers and the features [texts, n-grams]; None: there is no n-gram."""
    most = max(_MOST_COEFFICIENTS // num_labels, 1)
    vectorizers, parts = [], []
    for analyzer in NGRAMS:
        one = vectorizer(analyzer, min_df=2, max_features=most)
        try:
            parts.append(one.fit_transform(texts))
        except ValueError:  # scikit-learn's error for an empty vocabulary
            continue
        vectorizers.append(one)
    return vectorizers, hstack(parts).tocsr() if parts else None


def main() -> None:
    """Read training and validation rows from standard input, and print what the baseline does.

    The input is JSON: `train_texts`, `train_labels` (codes), `validation_texts`,
    `validation_labels`, `names` and `seed`. The output is JSON: `confusion_matrix` of the
    validation rows (rows true, columns predicted), `name` and `seconds`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search gets it too and ends this process
    os.nice(_YIELDS)
    text = sys.stdin.read()
    if not text:
        return  # the search ended before its data were split
    rows = json.loads(text)
    started = time.monotonic()
    labels = np.array(rows["train_labels"], dtype=np.int64)
    fitted = fit(rows["train_texts"], labels, names=rows["names"], seed=rows["seed"])
    predictions = fitted.predict(rows["validation_texts"])
    matrix = np.zeros((len(rows["names"]),) * 2, dtype=np.int64)
    np.add.at(matrix, (rows["validation_labels"], predictions), 1)
    seconds = time.monotonic() - started
    found = {"name": NAME, "confusion_matrix": matrix.tolist(), "seconds": seconds}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
