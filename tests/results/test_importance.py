"""Importance of parameters and its intervals."""

import numpy as np
import pytest

from results.importance import MIN_TRIALS, parameter_importances

SPACE = {
    "learning_rate": {"log_uniform": [1e-5, 1e-3]},
    "batch_size": {"choice": [8, 16, 32]},
    "warmup_steps": {"uniform": [0.0, 0.3]},
}
NUM_RESAMPLES = 6
"""Enough for an interval; the default number takes longer."""


def searched(num_trials: int, noise: float = 0.01) -> tuple[list[dict[str, float]], list[float]]:
    """Return trials whose score depends on the learning rate alone."""
    generator = np.random.default_rng(0)
    parameters = [
        {
            "learning_rate": float(10 ** generator.uniform(-5, -3)),
            "batch_size": int(generator.choice([8, 16, 32])),
            "warmup_steps": float(generator.uniform(0, 0.3)),
        }
        for _ in range(num_trials)
    ]
    rates = np.log10([values["learning_rate"] for values in parameters])
    return parameters, (
        0.6 - 0.1 * (rates + 4) ** 2 + generator.normal(0, noise, len(rates))
    ).tolist()


def test_the_parameter_that_determines_the_score_comes_first_with_a_high_interval() -> None:
    first, *others = parameter_importances(*searched(40), SPACE, num_resamples=NUM_RESAMPLES)
    assert first.parameter == "learning_rate"
    assert first.share > 0.7
    assert first.low > max(other.high for other in others)
    assert {other.parameter for other in others} == {"batch_size", "warmup_steps"}


def test_few_trials_have_wider_intervals_than_many() -> None:
    few, many = (
        parameter_importances(*searched(n, noise=0.03), SPACE, num_resamples=10)[0]
        for n in (10, 60)
    )
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_the_same_trials_have_the_same_importance_and_many_are_sampled() -> None:
    parameters, scores = searched(30)
    found, again = (
        parameter_importances(parameters, scores, SPACE, max_trials=20, num_resamples=2)
        for _ in range(2)
    )
    assert found == again
    assert found != parameter_importances(parameters, scores, SPACE, num_resamples=2)


def test_the_default_may_be_outside_the_search_space() -> None:
    parameters, scores = searched(12)
    parameters[0] = {"learning_rate": 0.1, "batch_size": 64, "warmup_steps": 0.9}
    assert len(parameter_importances(parameters, scores, SPACE, num_resamples=2)) == 3


def test_a_parameter_that_took_one_value_is_left_out() -> None:
    parameters, scores = searched(12)
    fixed = [{**values, "batch_size": 16} for values in parameters]
    found = parameter_importances(fixed, scores, SPACE, num_resamples=2)
    assert {item.parameter for item in found} == {"learning_rate", "warmup_steps"}


@pytest.mark.parametrize("kind", ["few trials", "equal scores", "a single parameter"])
def test_there_is_no_importance_without_evidence(kind: str) -> None:
    parameters, scores = searched(MIN_TRIALS)
    space = {**SPACE}
    assert parameter_importances(parameters, scores, space, num_resamples=1)
    if kind == "few trials":
        parameters, scores = parameters[1:], scores[1:]
    elif kind == "equal scores":
        scores = [0.5] * len(scores)
    else:
        space = {"learning_rate": SPACE["learning_rate"]}
    assert parameter_importances(parameters, scores, space, num_resamples=1) == []
