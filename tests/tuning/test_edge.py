from typing import Any

import pytest

from training.config import TrainingConfig
from tuning.edge import at_edge
from tuning.space import Domain, Value

TRAINING = TrainingConfig(learning_rate=2e-5, warmup_steps=0.1)


def edges(field: str, domain: dict[str, Any], value: Value) -> list[dict[str, Any]]:
    space = {field: Domain.model_validate(domain)}
    return at_edge(space, TRAINING, {field: value}, num_rows=10_000)


RATES = {"log_uniform": [1e-5, 5e-5]}
SIZES = {"integer": [8, 32]}


@pytest.mark.parametrize(
    ("field", "domain", "value", "bound", "try_next"),
    [
        # The next range is centred on the end: half of the width, on the domain's own scale.
        ("learning_rate", RATES, 4.8e-5, "high", {"log_uniform": [2.2e-5, 1.1e-4]}),
        ("learning_rate", RATES, 1.1e-5, "low", {"log_uniform": [4.5e-6, 2.2e-5]}),
        ("weight_decay", {"uniform": [0.1, 0.3]}, 0.29, "high", {"uniform": [0.2, 0.4]}),
        ("batch_size", {"integer": [10, 30]}, 29, "high", {"integer": [20, 40]}),
    ],
)
def test_a_winner_at_an_end_is_reported_with_a_range_beyond_it(
    field: str, domain: dict[str, Any], value: Value, bound: str, try_next: dict[str, Any]
) -> None:
    (edge,) = edges(field, domain, value)
    assert (edge["parameter"], edge["value"], edge["bound"]) == (field, value, bound)
    assert edge["try_next"] == try_next
    assert {field: edge["searched"]} == {field: {k: list(v) for k, v in domain.items()}}


@pytest.mark.parametrize(
    ("field", "domain", "value"),
    [
        ("learning_rate", {"log_uniform": [1e-5, 5e-5]}, 2e-5),
        ("weight_decay", {"uniform": [0.1, 0.3]}, 0.2),
    ],
)
def test_a_winner_well_inside_is_at_no_edge(
    field: str, domain: dict[str, Any], value: Value
) -> None:
    assert edges(field, domain, value) == []


@pytest.mark.parametrize(
    ("field", "domain", "value"),
    [
        ("warmup_steps", {"uniform": [0.0, 0.3]}, 0.01),
        ("weight_decay", {"uniform": [0.5, 1.0]}, 0.99),
        ("batch_size", {"integer": [1, 20]}, 1),
    ],
)
def test_an_end_beyond_which_the_field_allows_nothing_is_no_edge(
    field: str, domain: dict[str, Any], value: Value
) -> None:
    assert edges(field, domain, value) == []


@pytest.mark.parametrize("value", [8, 16, 32, 64])
def test_a_choice_offers_all_that_was_wanted_and_has_no_edge(value: Value) -> None:
    assert edges("batch_size", {"choice": [8, 16, 32]}, value) == []
    assert edges("batch_size", {"choice": [8, 32]}, value) == []


def test_a_range_is_moved_by_less_where_the_field_ends() -> None:
    (edge,) = edges("weight_decay", {"uniform": [0.1, 0.9]}, 0.88)
    assert edge["try_next"] == {"uniform": [0.2, 1.0]}


@pytest.mark.parametrize(
    ("field", "domain", "value", "bound"),
    [
        ("learning_rate", RATES, 2e-4, "high"),
        ("learning_rate", RATES, 2e-6, "low"),
        ("batch_size", SIZES, 256, "high"),
        ("weight_decay", {"uniform": [0.1, 0.2]}, 0.4, "high"),
    ],
)
def test_a_default_outside_the_space_is_reported_with_a_range_around_it(
    field: str, domain: dict[str, Any], value: Value, bound: str
) -> None:
    (edge,) = edges(field, domain, value)
    assert (edge["bound"], edge["inside"]) == (bound, False)
    low, high = Domain.model_validate(edge["try_next"]).bounds
    assert low < value < high or (field == "batch_size" and high > value)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        ({"uniform": [0.0, 0.1]}, 500),  # a default in steps, a space in shares
        ({"log_uniform": [0.05, 0.2]}, 0.0),
    ],
)
def test_shares_and_steps_of_warm_up_are_never_mixed(domain: dict[str, Any], value: Value) -> None:
    assert edges("warmup_steps", domain, value) == []


def test_no_range_is_suggested_whose_warm_up_would_not_end() -> None:
    domain = {"integer": [100, 1000]}
    (edge,) = edges("warmup_steps", domain, 980)  # 1,875 steps at batch size 16
    assert edge["try_next"] == {"integer": [550, 1450]}
    space = {"warmup_steps": Domain.model_validate(domain), "batch_size": Domain(integer=(16, 32))}
    best = {"warmup_steps": 980, "batch_size": 16}
    found = at_edge(space, TRAINING, best, num_rows=13_000)  # 1,221 steps at batch size 32
    assert [edge["parameter"] for edge in found] == ["batch_size"]


def test_every_suggestion_is_a_space_that_a_search_takes() -> None:
    (edge,) = edges("learning_rate", {"log_uniform": [1e-5, 5e-5]}, 5e-5)
    again = Domain.model_validate(edge["try_next"])
    assert again.bounds[0] < 5e-5 < again.bounds[1]
