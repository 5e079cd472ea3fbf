import tracemalloc

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import accuracy_score, f1_score

from evaluation.scores import score
from evaluation.uncertainty import (
    _chunks,
    _kinds,
    _sum_of_kinds,
    bootstrap_intervals,
    few_rows,
    paired_randomisation,
)
from training.objective import (
    accuracies,
    f1_of_classes,
    objective,
    tallies_of_groups,
    tallies_of_matrix,
)

NAMES = ["none", "mild", "severe"]


def _rows(seed: int, num_rows: int, right: float = 0.7):
    """Labels, predictions of which at least the share `right` is right, and groups of some rows."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, num_rows, p=[0.6, 0.3, 0.1])
    predictions = np.where(rng.random(num_rows) < right, labels, rng.integers(0, 3, num_rows))
    return labels, predictions, np.sort(rng.integers(0, num_rows // 2, num_rows)) * 7


def test_sampling_kinds_of_groups_equals_taking_the_rows_of_the_groups():
    labels, predictions, groups = _rows(0, 120)
    tallies = tallies_of_groups(labels, predictions, groups, 3)
    kinds, counts = _kinds(tallies)
    rng = np.random.default_rng(1)
    taken = rng.multinomial(counts.sum(), counts / counts.sum(), size=20)
    sampled = _sum_of_kinds(taken, kinds)
    f1, accuracy = f1_of_classes(sampled), accuracies(sampled)
    numbers = np.unique(groups)
    for sample in range(20):
        rows: list[int] = []
        for kind, times in zip(kinds, taken[sample], strict=True):
            alike = numbers[(tallies == kind).all(axis=1)]
            for number in rng.choice(alike, times):
                rows.extend(np.flatnonzero(groups == number))
        assert accuracy[sample] == pytest.approx(accuracy_score(labels[rows], predictions[rows]))
        expected = f1_score(
            labels[rows], predictions[rows], labels=range(3), average=None, zero_division=0
        )
        assert f1[sample] == pytest.approx(expected)


def test_intervals_equal_a_slow_bootstrap_over_groups_up_to_chance():
    labels, predictions, groups = _rows(2, 200)
    numbers = np.unique(groups)
    rows_of = {number: np.flatnonzero(groups == number) for number in numbers}
    stratum = np.array(
        [np.bincount(labels[rows_of[number]], minlength=3).argmax() for number in numbers]
    )
    rng = np.random.default_rng(3)
    slow = []
    for _ in range(1500):
        chosen = np.concatenate(
            [
                rng.choice(numbers[stratum == code], np.sum(stratum == code))
                for code in np.unique(stratum)
            ]
        )
        rows = np.concatenate([rows_of[number] for number in chosen])
        slow.append(np.mean(labels[rows] == predictions[rows]))
    found = bootstrap_intervals(labels, predictions, groups, NAMES, seed=4)["accuracy"]
    assert found == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.012)


def test_intervals_name_each_metric_and_hold_the_score():
    labels, predictions, groups = _rows(5, 300)
    found = bootstrap_intervals(labels, predictions, groups, NAMES, seed=0)
    scores = score(labels, predictions, NAMES)
    of_all = [name for name in scores if name not in ("per_class", "confusion_matrix")]
    assert list(found) == [*of_all, "f1 of none", "f1 of mild", "f1 of severe"]
    for metric in of_all:
        low, high = found[metric]
        assert low < scores[metric] < high
    for code, name in enumerate(NAMES):
        low, high = found[f"f1 of {name}"]
        assert low < f1_score(labels, predictions, average=None)[code] < high


@pytest.mark.parametrize(
    ("metric", "key"),
    [
        ("f1_macro", "f1_macro"),
        ("accuracy", "accuracy"),
        ("mcc", "matthews_correlation"),
        ("kappa_quadratic", "kappa_quadratic"),
        ("f1:mild", "f1 of mild"),
        ("f1_weighted", None),
    ],
)
def test_the_score_has_the_interval_of_its_metric_and_moves_no_other(metric, key):
    labels, predictions, groups = _rows(5, 300)
    usual = bootstrap_intervals(labels, predictions, groups, NAMES, seed=0)
    decides = objective(metric, NAMES)
    found = bootstrap_intervals(labels, predictions, groups, NAMES, decided_by=decides, seed=0)
    low, high = found.pop("score")
    assert low < decides.score(labels, predictions) < high
    assert key is None or [low, high] == usual[key]
    assert found == usual


def test_rows_that_err_together_widen_the_interval_when_grouped():
    labels, predictions, _ = _rows(6, 200)
    labels, predictions = np.repeat(labels, 4), np.repeat(predictions, 4)
    together = np.repeat(np.arange(200), 4)
    low, high = bootstrap_intervals(labels, predictions, together, NAMES, seed=0)["accuracy"]
    alone = bootstrap_intervals(labels, predictions, np.arange(800), NAMES, seed=0)["accuracy"]
    # Four copies of a row have the information of one row: twice the width.
    assert (high - low) / (alone[1] - alone[0]) == pytest.approx(2.0, abs=0.2)


def test_the_same_seed_gives_the_same_interval_whatever_the_order_of_rows():
    labels, predictions, groups = _rows(7, 150)
    order = np.random.default_rng(0).permutation(150)
    first = bootstrap_intervals(labels, predictions, groups, NAMES, seed=1)
    again = bootstrap_intervals(labels[order], predictions[order], groups[order], NAMES, seed=1)
    assert first == again
    assert first != bootstrap_intervals(labels, predictions, groups, NAMES, seed=2)


def test_a_class_without_rows_has_an_interval_of_zero_width():
    found = bootstrap_intervals(
        np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1]), np.arange(4), NAMES, seed=0
    )
    assert found["f1 of severe"] == [0.0, 0.0]


def test_identical_predictions_have_p_one():
    labels, predictions, groups = _rows(8, 100)
    found = paired_randomisation(labels, predictions, predictions, groups, 3, seed=0)
    assert found == {
        "accuracy": {"difference": 0.0, "p_value": 1.0},
        "f1_macro": {"difference": 0.0, "p_value": 1.0},
    }


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "f1:severe"])
def test_the_difference_in_the_score_is_tested_and_moves_no_other(metric):
    labels, a, groups = _rows(8, 200)
    b = _rows(9, 200)[1]
    usual = paired_randomisation(labels, a, b, groups, 3, seed=0)
    decides = objective(metric, NAMES)
    found = paired_randomisation(labels, a, b, groups, 3, decided_by=decides, seed=0)
    of_score = found.pop("score")
    assert of_score["difference"] == decides.score(labels, a) - decides.score(labels, b)
    assert of_score == usual.get(metric, of_score)
    assert 0 < of_score["p_value"] <= 1
    assert found == usual


def test_a_clearly_better_system_has_a_small_p_and_a_positive_difference():
    labels, worse, groups = _rows(9, 600, right=0.4)
    better = _rows(9, 600, right=0.9)[1]
    found = paired_randomisation(labels, better, worse, groups, 3, seed=0)
    for metric in found.values():
        assert metric["difference"] > 0.1
        assert metric["p_value"] == pytest.approx(1 / 10_001)


def test_the_p_value_is_the_share_of_all_swaps_of_a_small_case():
    labels = np.array([0, 0, 1, 1, 2, 2, 0, 1])
    a = np.array([0, 0, 1, 1, 2, 0, 0, 2])
    b = np.array([0, 1, 1, 0, 2, 2, 1, 1])
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 6])
    observed = np.mean(a == labels) - np.mean(b == labels)
    observed_f1 = f1_score(labels, a, average="macro") - f1_score(labels, b, average="macro")
    extreme = extreme_f1 = 0
    for code in range(2**7):
        swap = (code >> groups) & 1 == 1
        first, second = np.where(swap, b, a), np.where(swap, a, b)
        accuracy = np.mean(first == labels) - np.mean(second == labels)
        f1 = f1_score(labels, first, average="macro", zero_division=0) - f1_score(
            labels, second, average="macro", zero_division=0
        )
        extreme += abs(accuracy) >= abs(observed) - 1e-12
        extreme_f1 += abs(f1) >= abs(observed_f1) - 1e-12
    found = paired_randomisation(labels, a, b, groups, 3, num_permutations=40_000, seed=0)
    assert found["accuracy"]["p_value"] == pytest.approx(extreme / 128, abs=0.01)
    assert found["f1_macro"]["p_value"] == pytest.approx(extreme_f1 / 128, abs=0.01)
    assert found["accuracy"]["difference"] == pytest.approx(observed)
    assert found["f1_macro"]["difference"] == pytest.approx(observed_f1)


def test_under_the_hypothesis_small_p_values_are_as_rare_as_they_should_be():
    rng = np.random.default_rng(11)
    small = 0
    for _ in range(300):
        labels = rng.integers(0, 3, 60)
        a, b = (np.where(rng.random(60) < 0.7, labels, rng.integers(0, 3, 60)) for _ in range(2))
        found = paired_randomisation(labels, a, b, np.arange(60), 3, num_permutations=400, seed=0)
        small += found["f1_macro"]["p_value"] <= 0.1
    # 30 are expected of 300; 52 is four standard deviations above.
    assert small <= 52


# Of each class: shares of the predicted classes, and number of groups of one to four rows.
PREDICTED = np.array([[0.8, 0.15, 0.05], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])
NUM_GROUPS = np.array([90, 60, 40])


def _rows_that_err_together(rng, num_systems: int):
    """Labels, predictions of each system, and groups in which all rows have one prediction."""
    label = np.repeat(np.arange(3), NUM_GROUPS)
    sizes = rng.integers(1, 5, len(label))
    predictions = [
        np.repeat((rng.random(len(label))[:, None] > PREDICTED[label].cumsum(axis=1)).sum(1), sizes)
        for _ in range(num_systems)
    ]
    return np.repeat(label, sizes), predictions, np.repeat(np.arange(len(label)), sizes)


def test_intervals_over_groups_cover_the_true_scores_as_often_as_they_should():
    expected = tallies_of_matrix((PREDICTED * NUM_GROUPS[:, None] * 1000).round().astype(np.int64))
    truth = {"accuracy": accuracies(expected), "f1_macro": f1_of_classes(expected).mean()}
    rng = np.random.default_rng(20)
    num_samples, covered, covered_alone = 300, dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for number in range(num_samples):
        labels, (predictions,), groups = _rows_that_err_together(rng, 1)
        for counts, units in ((covered, groups), (covered_alone, np.arange(len(labels)))):
            found = bootstrap_intervals(
                labels, predictions, units, NAMES, num_resamples=400, seed=number
            )
            for metric, value in truth.items():
                counts[metric] += found[metric][0] <= value <= found[metric][1]
    for metric in truth:
        # 0.95 minus the known shortfall of percentile intervals of this size, and chance.
        assert 0.90 <= covered[metric] / num_samples <= 0.985
        assert covered_alone[metric] / num_samples < 0.85, (
            "single rows give intervals that are too narrow"
        )


def test_under_the_hypothesis_p_values_are_uniform_where_rows_err_together():
    rng = np.random.default_rng(21)
    num_samples, by_group, by_row = 300, [], []
    for _ in range(num_samples):
        labels, (a, b), groups = _rows_that_err_together(rng, 2)
        for found, units in ((by_group, groups), (by_row, np.arange(len(labels)))):
            test = paired_randomisation(labels, a, b, units, 3, num_permutations=300, seed=0)
            found.append(test["f1_macro"]["p_value"])
    # The Kolmogorov-Smirnov distance that chance exceeds once in a thousand times.
    assert kstest(by_group, "uniform").statistic < 1.95 / np.sqrt(num_samples)
    assert np.mean(np.array(by_row) <= 0.05) > 0.15, (
        "single rows find differences that do not exist"
    )


def test_resamples_in_several_chunks_agree_with_resamples_in_one():
    labels, a, _ = _rows(12, 6000)
    b = _rows(13, 6000)[1]
    # Groups of ten rows are nearly all different, so that 10,000 resamples exceed one chunk.
    groups = np.arange(6000) // 10
    sizes = list(_chunks(10_000, 600))
    assert len(sizes) > 1
    assert sum(sizes) == 10_000
    many, few = (
        bootstrap_intervals(labels, a, groups, NAMES, num_resamples=number, seed=0)["accuracy"]
        for number in (10_000, 2000)
    )
    assert many == pytest.approx(few, abs=0.002)
    tests = [
        paired_randomisation(labels, a, b, groups, 3, num_permutations=number, seed=0)["accuracy"]
        for number in (10_000, 2000)
    ]
    assert tests[0]["p_value"] == pytest.approx(tests[1]["p_value"], abs=0.04)


@pytest.mark.parametrize("num_labels", [4, 77])
def test_memory_does_not_grow_with_the_matrices_of_many_classes(num_labels):
    rng = np.random.default_rng(14)
    labels, a, b = (rng.integers(0, num_labels, 4000) for _ in range(3))
    names = [str(code) for code in range(num_labels)]
    tracemalloc.start()
    found = bootstrap_intervals(labels, a, np.arange(4000), names, seed=0)
    paired_randomisation(labels, a, b, np.arange(4000), num_labels, num_permutations=2000, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300e6  # bytes; one matrix per resample would be 470 MB
    low, high = found["f1_macro"]
    assert low < f1_score(labels, a, average="macro") < high


def test_many_rows_of_few_texts_are_too_few_for_an_interval():
    labels = np.repeat([0, 1, 2], [20, 20, 7])
    groups = np.concatenate([np.arange(20), 20 + np.arange(20) % 7, 30 + np.arange(7)])
    assert few_rows(labels, groups, ["many", "repeated", "few", "none"]) == {
        "repeated": 20,
        "few": 7,
    }
