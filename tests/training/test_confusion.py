import numpy as np
import pytest
from sklearn import metrics

from training.objective import (
    accuracies,
    balanced_accuracies,
    f1_of_classes,
    kappas,
    matthews_correlations,
    tallies_of_groups,
    tallies_of_matrix,
)


def test_many_matrices_at_once_have_the_scores_of_scikit_learn():
    rng = np.random.default_rng(0)
    rows = [(rng.integers(0, 4, 200), rng.integers(0, 4, 200)) for _ in range(6)]
    matrices = [metrics.confusion_matrix(*pair) for pair in rows]
    tallies = np.stack([tallies_of_matrix(matrix) for matrix in matrices]).reshape(2, 3, 14)
    pairs = {
        metrics.accuracy_score: accuracies(tallies),
        metrics.balanced_accuracy_score: balanced_accuracies(tallies),
        metrics.matthews_corrcoef: matthews_correlations(tallies),
    }
    for expected, found in pairs.items():
        assert found.shape == (2, 3)
        assert found.ravel() == pytest.approx([expected(*pair) for pair in rows], abs=1e-12)
    for weights in ("linear", "quadratic"):
        expected = [metrics.cohen_kappa_score(*pair, weights=weights) for pair in rows]
        assert kappas(tallies, weights).ravel() == pytest.approx(expected, abs=1e-12)
    expected = np.array([metrics.f1_score(*pair, average=None) for pair in rows])
    assert f1_of_classes(tallies).reshape(6, 4) == pytest.approx(expected, abs=1e-12)


def test_a_class_in_neither_and_a_matrix_of_one_class_are_numbers_without_a_warning():
    one = tallies_of_matrix(np.diag([7, 0, 0]))
    assert f1_of_classes(one).tolist() == [1.0, 0.0, 0.0]
    assert accuracies(one) == balanced_accuracies(one) == 1.0
    assert matthews_correlations(one) == kappas(one, "linear") == 0.0


def test_tallies_of_groups_are_those_of_their_matrices():
    rng = np.random.default_rng(1)
    labels, predictions, groups = (rng.integers(0, high, 80) for high in (5, 5, 9))
    found = tallies_of_groups(labels, predictions, groups * 3, 5)
    for place, number in enumerate(np.unique(groups)):
        there = groups == number
        matrix = metrics.confusion_matrix(labels[there], predictions[there], labels=range(5))
        assert found[place].tolist() == tallies_of_matrix(matrix).tolist()
