"""What a search may decide by: each metric is scikit-learn's, and a wrong name is an error."""

import pickle
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from training.errors import InputError
from training.objective import (
    Objective,
    accuracies,
    balanced_accuracies,
    f1_of_classes,
    kappas,
    matthews_correlations,
    objective,
    tallies_of,
    tallies_of_groups,
    tallies_of_matrix,
)

Codes = NDArray[np.int64]

NAMES = ("none", "mild", "moderate", "severe")
CODES = range(len(NAMES))


def _f1(average: str | None) -> Callable[[Codes, Codes], NDArray[np.float64]]:
    return lambda true, predicted: metrics.f1_score(
        true, predicted, labels=CODES, average=average, zero_division=0
    )


EXPECTED: dict[str, Callable[[Codes, Codes], float]] = {
    "f1_macro": _f1("macro"),
    "f1_weighted": _f1("weighted"),
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "mcc": metrics.matthews_corrcoef,
    # Of rows that all have one label and one prediction it is 0/0, which counts as 0 here.
    "kappa_quadratic": lambda *rows: np.nan_to_num(
        metrics.cohen_kappa_score(*rows, labels=CODES, weights="quadratic")
    ),
    "f1:moderate": lambda *rows: _f1(None)(*rows)[2],
}

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def _codes(rows: list[tuple[int, int]]) -> tuple[Codes, Codes]:
    true, predicted = np.array(rows, dtype=np.int64).T
    return true, predicted


@pytest.mark.parametrize("metric", EXPECTED)
@given(rows=pairs)
def test_each_metric_is_scikit_learns(metric: str, rows: list[tuple[int, int]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's own, of classes without rows
        expected = EXPECTED[metric](*_codes(rows))
    found = objective(metric, NAMES).score(*_codes(rows))
    assert found == pytest.approx(expected, abs=1e-12)


@given(rows=pairs)
def test_macro_f1_is_scikit_learns_to_the_last_bit(rows: list[tuple[int, int]]) -> None:
    assert objective("f1_macro", NAMES).score(*_codes(rows)) == _f1("macro")(*_codes(rows))


@pytest.mark.parametrize("metric", EXPECTED)
def test_many_sets_of_rows_have_the_scores_that_each_has_alone(metric: str) -> None:
    rng = np.random.default_rng(0)
    sets = [(rng.integers(0, 4, 50), rng.integers(0, 4, 50)) for _ in range(6)]
    tallies = np.stack([tallies_of(*rows, len(NAMES)) for rows in sets]).reshape(2, 3, -1)
    decides = objective(metric, NAMES)
    found = decides.of_tallies(tallies)
    assert found.shape == (2, 3)
    assert found.ravel().tolist() == [decides.score(*rows) for rows in sets]


def test_macro_f1_is_the_mean_over_classes_by_hand() -> None:
    labels, predictions = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    # Class 0: 2 right, 2 given, 3 true. Class 1: 1, 2, 2. Class 2: 1, 2, 1.
    expected = {
        "f1_macro": (4 / 5 + 2 / 4 + 2 / 3) / 3,
        "f1_weighted": (3 * 4 / 5 + 2 * 2 / 4 + 2 / 3) / 6,
        "accuracy": 4 / 6,
        "balanced_accuracy": (2 / 3 + 1 / 2 + 1) / 3,
        "f1:mild": 2 / 4,
    }
    for metric, value in expected.items():
        found = objective(metric, NAMES[:3]).score(labels, predictions)
        assert found == pytest.approx(value), metric


def test_a_class_that_no_row_has_and_no_row_gets_counts_nought() -> None:
    labels = np.array([0, 1])
    assert objective("f1_macro", NAMES).score(labels, labels) == pytest.approx(0.5)
    assert objective("f1:severe", NAMES).score(labels, labels) == 0


@pytest.mark.parametrize("metric", EXPECTED)
@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_the_constant_score_is_the_best_of_all_constant_predictors(
    metric: str, labels: list[int]
) -> None:
    true, decides = np.array(labels), objective(metric, NAMES)
    best = max(decides.score(true, np.full(len(true), code)) for code in CODES)
    assert decides.constant_score(true) == best


def test_the_constant_score_is_that_of_the_metric() -> None:
    labels = np.repeat([0, 1, 2, 3], [48384, 20000, 20000, 11616])
    found = {
        metric: objective(metric, NAMES).constant_score(labels)
        for metric in ("f1_macro", "accuracy", "balanced_accuracy", "mcc", "f1:severe")
    }
    assert found == pytest.approx(
        {
            "f1_macro": 0.16304,  # of the study's collapsed trials
            "accuracy": 0.48384,
            "balanced_accuracy": 0.25,
            "mcc": 0.0,
            "f1:severe": 0.20814,
        },
        abs=1e-5,
    )


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("f1_macro", "macro-F1"),
        ("f1_weighted", "weighted F1"),
        ("accuracy", "accuracy"),
        ("balanced_accuracy", "balanced accuracy"),
        ("mcc", "Matthews correlation"),
        ("kappa_quadratic", "quadratic kappa"),
        ("f1:mild", "F1 of mild"),
    ],
)
def test_an_objective_describes_itself_and_can_be_pickled(metric: str, label: str) -> None:
    made = objective(metric, NAMES)
    assert made.as_record() == {"name": metric, "label": label, "higher_is_better": True}
    again: Objective = pickle.loads(pickle.dumps(made))
    assert again == made
    rows = np.array([0, 1, 2, 3, 0]), np.array([0, 1, 1, 3, 2])
    assert again.score(*rows) == made.score(*rows)


def test_an_unknown_metric_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"search\.metric is 'auc', but must be one of") as caught:
        objective("auc", NAMES)
    for metric in (*list(EXPECTED)[:-1], "f1:LABEL"):
        assert metric in str(caught.value)


@pytest.mark.parametrize("metric", ["f1:mild ", "f1:", "f1:Severe"])
def test_the_f1_of_an_unknown_label_is_an_error_with_the_labels(metric: str) -> None:
    with pytest.raises(InputError, match="none, mild, moderate, severe"):
        objective(metric, NAMES)


def test_a_label_may_hold_a_colon() -> None:
    assert objective("f1:a:b", ("x", "a:b")).code == 1


def test_quadratic_kappa_of_labels_without_an_order_is_an_error() -> None:
    with pytest.raises(InputError, match=r"have no order; set data\.ordered to true"):
        objective("kappa_quadratic", NAMES, ordered=False)
    assert objective("accuracy", NAMES, ordered=False).name == "accuracy"


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
    for position, number in enumerate(np.unique(groups)):
        there = groups == number
        matrix = metrics.confusion_matrix(labels[there], predictions[there], labels=range(5))
        assert found[position].tolist() == tallies_of_matrix(matrix).tolist()
