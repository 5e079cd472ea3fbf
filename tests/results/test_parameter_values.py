"""Searched values as text: numbers, words, true, false and null; short names of models."""

from typing import Any

import pytest

from results.parameter_values import (
    Value,
    find_model,
    format_parameters,
    in_order,
    is_numeric,
    name_of_model,
    read_value,
    short_model_names,
    short_names,
)

HUB = ("indobenchmark/indobert-base-p1", "indolem/indobertweet-base-uncased", "xlm-roberta-base")


def test_every_kind_of_value_has_a_text() -> None:
    values = {"learning_rate": 0.000312345, "schedule": "cosine", "flag": True, "dropout": None}
    assert (
        format_parameters(values)
        == "learning_rate 0.0003123, schedule cosine, flag true, dropout null"
    )
    assert format_parameters({"model": HUB[1]}, short_names(HUB)) == (
        "model indobertweet-base-uncased"
    )


@pytest.mark.parametrize(
    ("cell", "choices", "expected"),
    [
        ("cosine", ["linear", "cosine"], "cosine"),
        ("1e-5", [1e-5, 2e-5], 1e-5),
        ("16", [8, 16], 16),
        ("True", [True, False], True),
        ("false", [True, False], False),
        ("", [None, 0.1], None),
        ("2024", ["2024", "org/model"], "2024"),
        ("none", ["balanced", "none"], "none"),
        ("balanced", ["sqrt", "none"], "balanced"),
        ("nan", ["nan", "a"], "nan"),
    ],
)
def test_a_cell_is_read_as_the_value_that_was_written(
    cell: str, choices: list[Value], expected: Value
) -> None:
    found = read_value(cell, {"choice": choices})
    assert (found, type(found)) == (expected, type(expected))


def test_a_cell_of_a_range_or_of_an_unknown_parameter_is_a_number() -> None:
    assert read_value("0.25", {"uniform": [0, 1]}) == 0.25
    assert read_value("3", {}) == 3
    assert read_value(None, {"uniform": [0, 1]}) is None


def test_words_keep_the_order_of_the_space_and_numbers_have_their_own() -> None:
    assert in_order({"choice": ["sqrt", "none"]}, ["balanced", "none"]) == [
        *("sqrt", "none", "balanced")
    ]
    assert in_order({"choice": [32, 8]}, [16, 8.0]) == [8, 16, 32]
    assert in_order({"choice": [True, False]}, [False]) == [True, False]
    assert in_order({"choice": [None, 0.1]}, [0.0]) == [None, 0.1, 0.0]


def test_only_numbers_have_a_scale() -> None:
    assert is_numeric({"choice": [1, 2.5]})
    assert not is_numeric({"choice": [True, False]})
    assert not is_numeric({"choice": [None, 0.1]})
    assert is_numeric({"uniform": [0, 1]}, [0.5, None])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (HUB, ["indobert-base-p1", "indobertweet-base-uncased", "xlm-roberta-base"]),
        (["/a/one/model", "/b/two/model", "tiny"], ["one/model", "two/model", "tiny"]),
        (["org/bert", "bert"], ["org/bert", "bert"]),
        (["/a/bert/", "org/x"], ["bert", "x"]),
        (["/x/a/final/model", "/x/b/final/model"], ["a/final/model", "b/final/model"]),
    ],
)
def test_a_name_is_shortened_to_the_end_that_no_other_has(
    names: list[str], expected: list[str]
) -> None:
    short = short_names(names)
    assert [short[name] for name in names] == expected
    assert [find_model(one, names) for one in expected] == list(names)


def test_a_name_that_several_end_with_is_not_found() -> None:
    assert find_model("model", ["/a/one/model", "/b/two/model"]) is None
    assert find_model("odel", ["/a/one/model"]) is None
    assert find_model("", ["/a/one/model"]) is None


def test_the_names_of_a_record_are_those_that_were_searched() -> None:
    record: dict[str, Any] = {
        "search": {"space": {"model": {"choice": list(HUB[:2])}}},
        "default": {"parameters": {"model": HUB[2]}},
        "best": {"parameters": {"model": HUB[0]}},
        "environment": {"model": {"name": HUB[2]}},
    }
    assert set(short_model_names(record)) == set(HUB)
    assert name_of_model(record) == HUB[0]
    assert name_of_model({**record, "best": None}) == HUB[2]
    assert short_model_names({"best": {"parameters": {"learning_rate": 1e-4}}}) == {}
