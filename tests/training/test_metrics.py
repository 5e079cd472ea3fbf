from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from training.metrics import Evaluation, class_weights, evaluate_probabilities, weighted_loss
from training.objective import objective

EVALUATION = Evaluation(
    examples=10,
    epoch=0.5,
    seconds=1.0,
    learning_rate=1e-5,
    train_loss=0.7,
    eval_loss=0.6,
    score=0.5,
    f1_macro=0.5,
    accuracy=0.5,
    collapsed=False,
)

ACCURACY = objective("accuracy", ["a", "b", "c"])


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
    scores = evaluate_probabilities(labels, one_class, np.ones(3), ACCURACY)
    assert scores["collapsed"]
    assert scores["accuracy"] == pytest.approx(1 / 3)
    two_classes = np.log(np.array([[0.6, 0.2, 0.2]] * 2 + [[0.1, 0.1, 0.8]]))
    assert not evaluate_probabilities(labels, two_classes, np.ones(3), ACCURACY)["collapsed"]


def test_the_score_is_the_objectives_and_the_metrics_beside_it_stay() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    log_probabilities = np.log(np.eye(3)[[0, 0, 1, 1, 2, 2]] * 0.8 + 0.1)
    for metric, score in (("accuracy", 4 / 6), ("f1:b", 2 / 4), ("balanced_accuracy", 13 / 18)):
        decides = objective(metric, ["a", "b", "c"])
        found = evaluate_probabilities(labels, log_probabilities, np.ones(3), decides)
        assert found["score"] == pytest.approx(score)
        assert found["f1_macro"] == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 3)
        assert found["accuracy"] == pytest.approx(4 / 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["train_loss", "eval_loss"])
def test_a_loss_that_is_no_number_is_a_divergence(name: str, value: float) -> None:
    assert EVALUATION.is_finite
    assert not replace(EVALUATION, **{name: value}).is_finite


LABELS = np.array([0] * 50 + [1] * 20 + [2] * 3)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(class_weights(LABELS, 3, "balanced"), expected)


def test_balanced_weights_give_every_class_the_same_influence() -> None:
    weights = class_weights(LABELS, 3, "balanced")
    np.testing.assert_allclose(np.bincount(LABELS) * weights, len(LABELS) / 3)


def test_without_weights_every_class_counts_one() -> None:
    assert class_weights(LABELS, 4, "none").tolist() == [1, 1, 1, 1]


def test_a_class_without_rows_is_not_given_an_infinite_weight() -> None:
    with pytest.raises(AssertionError, match="without training rows"):
        class_weights(LABELS, 4, "balanced")
