import json

import numpy as np
import pytest
from sklearn import metrics

from evaluation.scores import calibration, equal_mass_bins, score
from training.objective import objective

NAMES = ["none", "mild", "moderate", "severe"]


def _rows(seed: int, num_rows: int = 500, num_labels: int = 4):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(num_labels, 0.5), num_rows)
    labels = rng.integers(0, num_labels, num_rows)
    return labels, probabilities.argmax(axis=1), probabilities


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_learn(seed):
    labels, predictions, _ = _rows(seed)
    found = score(labels, predictions, NAMES)
    expected = {
        "accuracy": metrics.accuracy_score(labels, predictions),
        "f1_macro": metrics.f1_score(labels, predictions, average="macro"),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predictions),
        "matthews_correlation": metrics.matthews_corrcoef(labels, predictions),
        "kappa_linear": metrics.cohen_kappa_score(labels, predictions, weights="linear"),
        "kappa_quadratic": metrics.cohen_kappa_score(labels, predictions, weights="quadratic"),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert found["confusion_matrix"] == metrics.confusion_matrix(labels, predictions).tolist()
    of_class = metrics.classification_report(
        labels, predictions, target_names=NAMES, output_dict=True
    )
    for name in NAMES:
        row = found["per_class"][name]
        assert row["f1"] == pytest.approx(of_class[name]["f1-score"], abs=1e-12)
        assert row["precision"] == pytest.approx(of_class[name]["precision"], abs=1e-12)
        assert row["recall"] == pytest.approx(of_class[name]["recall"], abs=1e-12)
        assert row["support"] == of_class[name]["support"]


def test_the_score_stands_first_and_changes_nothing_else():
    labels, predictions, _ = _rows(3)
    usual = score(labels, predictions, NAMES)
    assert "score" not in usual
    for metric, key in (("f1_macro", "f1_macro"), ("mcc", "matthews_correlation")):
        found = score(labels, predictions, NAMES, objective(metric, NAMES))
        assert list(found) == ["score", *usual]
        assert found.pop("score") == found[key]
        assert found == usual


def test_a_class_without_rows_is_in_every_score_and_counts_as_zero():
    found = score(np.array([0, 0, 1]), np.array([0, 1, 1]), NAMES)
    assert np.shape(found["confusion_matrix"]) == (4, 4)
    assert found["confusion_matrix"][0] == [1, 1, 0, 0]
    assert found["per_class"]["severe"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert found["f1_macro"] == pytest.approx((2 / 3 + 2 / 3) / 4)
    assert found["balanced_accuracy"] == 0.75


@pytest.mark.parametrize("prediction", [0, 3])
def test_one_class_alone_gives_numbers_that_json_can_hold(prediction):
    found = score(np.zeros(5, dtype=np.int64), np.full(5, prediction), NAMES)
    json.dumps(found, allow_nan=False)
    assert found["matthews_correlation"] == 0.0


def test_calibration_equals_scikit_learn_and_a_loop_over_bins():
    labels, _, probabilities = _rows(4, num_rows=500)
    found = calibration(labels, probabilities)
    assert found["negative_log_likelihood"] == pytest.approx(
        metrics.log_loss(labels, probabilities), abs=1e-9
    )
    assert found["brier_score"] == pytest.approx(
        metrics.brier_score_loss(labels, probabilities, scale_by_half=False), abs=1e-9
    )
    confidence = probabilities.max(axis=1)
    expected = 0.0
    for part in np.array_split(np.argsort(confidence), 15):
        right = np.mean(probabilities[part].argmax(axis=1) == labels[part])
        expected += len(part) / 500 * abs(right - confidence[part].mean())
    assert found["expected_calibration_error"] == pytest.approx(expected, abs=1e-12)
    assert sum(row["count"] for row in found["bins"]) == 500
    assert len(found["bins"]) == 15


def test_the_order_of_rows_changes_no_calibration_even_with_ties():
    labels, _, probabilities = _rows(5)
    probabilities = probabilities.round(1)
    order = np.random.default_rng(0).permutation(len(labels))
    found = calibration(labels, probabilities)
    shuffled = calibration(labels[order], probabilities[order])
    assert shuffled["expected_calibration_error"] == pytest.approx(
        found["expected_calibration_error"], abs=1e-12
    )
    assert [row["count"] for row in shuffled["bins"]] == [row["count"] for row in found["bins"]]


def test_a_certain_mistake_has_a_finite_loss():
    found = calibration(np.array([0]), np.array([[0.0, 1.0]]))
    assert np.isfinite(found["negative_log_likelihood"])
    assert found["brier_score"] == 2.0
    assert found["expected_calibration_error"] == 1.0


def test_fewer_rows_than_bins_give_one_bin_per_row():
    bins = equal_mass_bins(np.array([3.0, 1.0, 2.0]), 15)
    assert [members.tolist() for members in bins] == [[1], [2], [0]]
