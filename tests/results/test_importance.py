"""Which parameters explain the scores, and how surely."""

import numpy as np
import pytest

from results.importance import FEWEST_TRIALS, MOST_TRIALS, parameter_importances

SPACE = {
    "learning_rate": {"log_uniform": [1e-5, 1e-3]},
    "batch_size": {"choice": [8, 16, 32]},
    "warmup_steps": {"uniform": [0.0, 0.3]},
}


def searched(num_trials: int, noise: float = 0.01) -> tuple[list[dict[str, float]], list[float]]:
    """Trials whose score hangs on the learning rate alone."""
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


def test_the_parameter_that_makes_the_score_comes_first_and_its_interval_holds_it() -> None:
    first, *others = parameter_importances(*searched(60), SPACE)
    assert first.parameter == "learning_rate"
    assert first.share > 0.7
    assert first.low > max(other.high for other in others)
    assert {other.parameter for other in others} == {"batch_size", "warmup_steps"}


def test_few_trials_have_wider_intervals_than_many() -> None:
    few, many = (parameter_importances(*searched(n, noise=0.03), SPACE)[0] for n in (10, 100))
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_the_same_trials_have_the_same_importance_and_many_are_drawn_from() -> None:
    found = searched(MOST_TRIALS + 60)
    assert parameter_importances(*found, SPACE) == parameter_importances(*found, SPACE)


def test_the_default_may_lie_outside_of_what_was_searched() -> None:
    parameters, scores = searched(20)
    parameters[0] = {"learning_rate": 0.1, "batch_size": 64, "warmup_steps": 0.9}
    assert len(parameter_importances(parameters, scores, SPACE)) == 3


def test_a_parameter_that_took_one_value_explains_nothing_and_is_left_out() -> None:
    parameters, scores = searched(20)
    fixed = [{**values, "batch_size": 16} for values in parameters]
    found = {item.parameter for item in parameter_importances(fixed, scores, SPACE)}
    assert found == {"learning_rate", "warmup_steps"}


@pytest.mark.parametrize("kind", ["few", "equal", "single"])
def test_nothing_is_said_where_nothing_can_be_known(kind: str) -> None:
    parameters, scores = searched(20)
    space = SPACE if kind != "single" else {"learning_rate": SPACE["learning_rate"]}
    if kind == "few":
        parameters, scores = parameters[: FEWEST_TRIALS - 1], scores[: FEWEST_TRIALS - 1]
    if kind == "equal":
        scores = [0.5] * 20
    assert parameter_importances(parameters, scores, space) == []
