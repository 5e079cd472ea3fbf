from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import (
    Evaluation,
    accuracy,
    constant_f1_macro,
    evaluate_probabilities,
    f1_macro,
    weighted_loss,
)

EVALUATION = Evaluation(
    examples=10,
    epoch=0.5,
    seconds=1.0,
    learning_rate=1e-5,
    train_loss=0.7,
    eval_loss=0.6,
    f1_macro=0.5,
    accuracy=0.5,
    collapsed=False,
)


def test_macro_f1_is_the_mean_over_classes_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    predictions = np.array([0, 0, 1, 1, 2, 2])
    # Class 0: 2 right, 2 given, 3 true. Class 1: 1, 2, 2. Class 2: 1, 2, 1.
    assert f1_macro(labels, predictions, 3) == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 3)
    assert accuracy(labels, predictions) == pytest.approx(4 / 6)


def test_a_class_that_no_row_has_and_no_row_gets_counts_nought() -> None:
    labels = np.array([0, 1])
    assert f1_macro(labels, labels, 4) == pytest.approx(0.5)


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_the_best_constant_predictor_is_the_best_of_all_constant_ones(labels: list[int]) -> None:
    true = np.array(labels)
    best = max(f1_macro(true, np.full(len(true), label), 4) for label in range(4))
    assert constant_f1_macro(true, 4) == pytest.approx(best)


def test_the_study_s_score_of_collapsed_trials_is_the_constant_predictor_s() -> None:
    labels = np.repeat([0, 1, 2, 3], [48384, 20000, 20000, 11616])
    assert constant_f1_macro(labels, 4) == pytest.approx(0.16304, abs=1e-5)


def test_the_weighted_loss_is_torch_s() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (30,), generator=generator)
    weights = torch.tensor([0.1, 3.0, 40.0], dtype=torch.float64)
    expected = torch.nn.CrossEntropyLoss(weight=weights)(logits, labels).item()
    found = weighted_loss(labels.numpy(), torch.log_softmax(logits, dim=1).numpy(), weights.numpy())
    assert found == pytest.approx(expected)


def test_one_class_for_every_row_is_a_collapse() -> None:
    labels = np.array([0, 1, 2])
    one_class = np.log(np.array([[0.6, 0.2, 0.2]] * 3))
    scores = evaluate_probabilities(labels, one_class, np.ones(3))
    assert scores["collapsed"]
    assert scores["accuracy"] == pytest.approx(1 / 3)
    two_classes = np.log(np.array([[0.6, 0.2, 0.2]] * 2 + [[0.1, 0.1, 0.8]]))
    assert not evaluate_probabilities(labels, two_classes, np.ones(3))["collapsed"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["train_loss", "eval_loss"])
def test_a_loss_that_is_no_number_is_a_divergence(name: str, value: float) -> None:
    assert EVALUATION.is_finite
    assert not replace(EVALUATION, **{name: value}).is_finite
