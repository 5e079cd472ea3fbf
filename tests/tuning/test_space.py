import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.tuning.builders import configuration
from training.config import Searched, TrainingConfig
from training.errors import InputError
from tuning.searchers import num_requested
from tuning.space import (
    SEARCHABLE,
    Domain,
    extreme_points,
    grid_points,
    sample,
    with_parameters,
)


def problems(space: Any, **search: Any) -> list[str]:
    """The lines that a search over `space` is refused with."""
    with pytest.raises(InputError) as refused:
        configuration(search={"space": space, **search})
    return list(refused.value.problems)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"epochs": {"choice": ["1", "2"]}}, "it is the budget"),
        ({"seed": {"integer": ["1", "9"]}}, "luck"),
        ({"precision": {"choice": ["1"]}}, "it changes speed and rounding"),
        ({"cuda_graphs": {"choice": ["0", "1"]}}, "it changes how steps run, not the score"),
        ({"eval_batch_size": {"choice": ["8", "16"]}}, "it changes no score"),
        ({"learning_rat": {"uniform": ["1e-4", "1e-3"]}}, "did you mean learning_rate?"),
        ({"momentum": {"uniform": ["0", "0.5"]}}, "choose from model, batch_size"),
        (
            {"batch_size": {"choice": ["8"], "integer": ["8", "9"]}},
            "integer and choice, but must be one of",
        ),
        ({"batch_size": {}}, "empty, but must be one of"),
        ({"learning_rate": {"uniform": ["1e-3", "1e-4"]}}, "but must be [a, b] with a < b"),
        ({"learning_rate": {"log_uniform": ["0", "1e-4"]}}, "with 0 < a < b"),
        ({"learning_rate": {"uniform": ["1e-3"]}}, "search.space.learning_rate.uniform"),
        ({"learning_rate": {"uniform": ["a", "1"]}}, "must be a valid number"),
        ({"learning_rate": {"choice": ["a", "1"]}}, "'a' is no number, but must be one"),
        ({"learning_rate": {"choice": ["0.1", "inf"]}}, "no finite number"),
        ({"learning_rate": {"log_uniform": ["1e-3", "nan"]}}, "must be a finite number"),
        ({"learning_rate": {"uniform": ["0.5", "1.5"]}}, "less than or equal to 1"),
        ({"learning_rate": {"gaussian": ["0", "1"]}}, "unknown key"),
        ({"batch_size": {"uniform": ["8", "32"]}}, "must be a valid integer"),
        ({"batch_size": {"choice": ["8", "16.5"]}}, "16.5, but must be a valid integer"),
        ({"batch_size": {"choice": ["8", "8"]}}, "must not hold a value twice"),
        ({"batch_size": {"choice": []}}, "search.space.batch_size: choice is [], but must hold"),
        ({"warmup_steps": {"uniform": ["100", "1000"]}}, "must be a whole number of steps"),
        ({}, "search.space is {}"),
        ("learning_rate", "search.space is 'learning_rate'"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_in_one_line(space: Any, expected: str) -> None:
    (line,) = problems(space)
    assert expected in line
    assert "search.space" in line
    assert "\n" not in line


def test_every_field_of_training_is_marked_as_searchable_or_not() -> None:
    for name, field in TrainingConfig.model_fields.items():
        assert [type(mark) for mark in field.metadata].count(Searched) == 1, name
    assert set(SEARCHABLE) == {
        *("model", "batch_size", "learning_rate", "warmup_steps", "weight_decay", "max_grad_norm"),
        *("class_weights", "label_smoothing", "schedule", "layer_decay", "head_learning_rate"),
        "dropout",
    }


def test_a_grid_needs_choices() -> None:
    (line,) = problems({"learning_rate": {"uniform": ["1e-4", "1e-3"]}}, algorithm="grid")
    assert "learning_rate is uniform [0.0001, 0.001], but must be a choice under a grid" in line


def test_all_problems_of_a_space_are_reported_at_once() -> None:
    lines = problems({"epochs": {"choice": ["1"]}, "speed": {"integer": ["1", "2"]}})
    assert ["epochs" in line or "speed" in line for line in lines] == [True, True]


def test_a_warmup_may_be_searched_as_shares_or_as_whole_steps() -> None:
    for domain in ({"uniform": ["0", "0.3"]}, {"integer": ["10", "90"]}, {"choice": ["0.1", "50"]}):
        assert (
            "warmup_steps" in configuration(search={"space": {"warmup_steps": domain}}).search.space
        )


def test_numbers_of_a_choice_keep_their_kind() -> None:
    space = configuration(
        search={
            "space": {
                "batch_size": {"choice": ["8", "16"]},
                "weight_decay": {"choice": ["0.1", "0"]},
            }
        }
    ).search.space
    assert space["batch_size"].choice == (8, 16)
    assert [type(value) for value in space["batch_size"].choice or ()] == [int, int]
    assert space["weight_decay"].choice == (0.1, 0)


def test_samples_lie_in_their_domains() -> None:
    space = {
        "learning_rate": Domain(log_uniform=(1e-5, 1e-2)),
        "batch_size": Domain(choice=(8, 16)),
        "warmup_steps": Domain(integer=(3, 5)),
        "weight_decay": Domain(uniform=(0.0, 0.1)),
    }
    points = [sample(space, seed=1, number=number) for number in range(300)]
    rates = np.log10([point["learning_rate"] for point in points])
    assert -5 <= rates.min() < -4.9
    assert -2.1 < rates.max() <= -2
    assert abs(np.mean(rates) + 3.5) < 0.2  # evenly on the logarithm
    assert {point["batch_size"] for point in points} == {8, 16}
    assert {point["warmup_steps"] for point in points} == {3, 4, 5}
    assert all(isinstance(point["warmup_steps"], int) for point in points)
    assert all(0 <= point["weight_decay"] <= 0.1 for point in points)


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    space = {"learning_rate": Domain(uniform=(0.0, 1.0))}
    sample(space, seed=1, number=9)
    np.random.seed(0)
    first = sample(space, seed=1, number=2)
    np.random.seed(1)
    assert sample(space, seed=1, number=2) == first
    assert sample(space, seed=1, number=3) != first
    assert sample(space, seed=2, number=2) != first


def test_a_sample_is_the_same_in_another_process() -> None:
    code = (
        "from tuning.space import Domain, sample;"
        "print(sample({'learning_rate': Domain(log_uniform=(1e-5, 1e-2))}, seed=3, number=4))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    space = {"learning_rate": Domain(log_uniform=(1e-5, 1e-2))}
    assert printed.stdout.strip() == str(sample(space, seed=3, number=4))


def test_a_grid_has_every_combination_the_last_field_varying_fastest() -> None:
    space = {"learning_rate": Domain(choice=(1e-5, 2e-5)), "batch_size": Domain(choice=(8, 16))}
    assert [tuple(point.values()) for point in grid_points(space)] == [
        *((1e-5, 8), (1e-5, 16)),
        *((2e-5, 8), (2e-5, 16)),
    ]


@pytest.mark.parametrize(("batch_size", "expected"), [(16, 4), (64, 5)])
def test_the_default_is_one_more_trial_of_a_grid_only_if_it_is_no_point_of_it(
    batch_size: int, expected: int
) -> None:
    config = configuration(
        training={"batch_size": batch_size, "learning_rate": "2e-5"},
        search={
            "algorithm": "grid",
            "trials": 99,
            "space": {
                "learning_rate": {"choice": ["1e-5", "2e-5"]},
                "batch_size": {"choice": ["8", "16"]},
            },
        },
    )
    assert num_requested(config) == expected


def test_the_extreme_points_are_all_corners() -> None:
    space = {"batch_size": Domain(choice=(16, 8, 32)), "warmup_steps": Domain(integer=(0, 10))}
    corners = [tuple(point.values()) for point in extreme_points(space)]
    assert sorted(corners) == [(8, 0), (8, 10), (32, 0), (32, 10)]


def test_parameters_replace_fields_and_are_checked_again() -> None:
    training = configuration().training
    assert with_parameters(training, {"batch_size": 8}).batch_size == 8
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        with_parameters(training, {"batch_size": 0})
