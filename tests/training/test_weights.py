import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from training.metrics import class_weights

LABELS = np.array([0] * 50 + [1] * 20 + [2] * 3)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(class_weights(LABELS, 3, "balanced"), expected)


def test_balanced_weights_give_every_class_the_same_say() -> None:
    weights = class_weights(LABELS, 3, "balanced")
    np.testing.assert_allclose(np.bincount(LABELS) * weights, len(LABELS) / 3)


def test_without_weights_every_class_counts_one() -> None:
    assert class_weights(LABELS, 4, "none").tolist() == [1, 1, 1, 1]


def test_a_class_without_rows_is_not_given_an_infinite_weight() -> None:
    with pytest.raises(AssertionError, match="without training rows"):
        class_weights(LABELS, 4, "balanced")
