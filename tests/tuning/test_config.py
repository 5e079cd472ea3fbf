import ast
from pathlib import Path
from typing import Any

import pytest

from tests.tuning.builders import configuration
from training.errors import InputError
from tuning.config import SECTIONS, Configuration, changed_fields

ROOT = Path(__file__).parents[2]
CONFIGURATION_MODULES = {"training/config.py", "tuning/config.py"}


def problems(**sections: Any) -> list[str]:
    with pytest.raises(InputError) as refused:
        configuration(**sections)
    return list(refused.value.problems)


def test_every_field_is_documented() -> None:
    undocumented = [
        f"{section}.{name}"
        for section, model in SECTIONS.items()
        for name, field in model.model_fields.items()
        if not (field.description or "").strip()
    ]
    assert undocumented == []


def test_the_sections_are_those_of_the_configuration() -> None:
    assert list(SECTIONS) == list(Configuration.model_fields)


def attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def is_property(function: ast.FunctionDef) -> bool:
    return any(getattr(name, "id", "") == "property" for name in function.decorator_list)


def test_every_field_is_read_by_something_besides_its_definition() -> None:
    read: set[str] = set()
    for package in ("training", "tuning", "evaluation", "cluster"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if str(path.relative_to(ROOT)) not in CONFIGURATION_MODULES:
                read |= attributes(ast.parse(path.read_text("utf-8")))
    trees = [ast.parse((ROOT / path).read_text("utf-8")) for path in CONFIGURATION_MODULES]
    asked = read.union(*map(attributes, trees))
    for tree in trees:  # a property that is read reads fields
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and is_property(node) and node.name in asked:
                read |= attributes(node)
    unread = [
        f"{section}.{name}"
        for section, model in SECTIONS.items()
        for name in model.model_fields
        if name not in read
    ]
    assert unread == []


@pytest.mark.parametrize(
    ("section", "fields", "expected"),
    [
        ("search", {"trials": "0"}, "search.trials is '0', but must be greater than or equal to 1"),
        ("search", {"trials": "many"}, "must be a valid integer"),
        ("search", {"trials": "2.5"}, "must be a valid integer"),
        ("search", {"scheduler": "hyperband"}, "must be 'asha', 'median' or 'none'"),
        ("search", {"algorithm": "bayes"}, "must be 'random', 'grid' or 'tpe'"),
        ("search", {"reduction_factor": "1"}, "greater than or equal to 2"),
        ("search", {"grace_epochs": "0"}, "greater than 0"),
        ("search", {"time_budget_s": "-1"}, "greater than 0"),
        ("search", {"max_concurrent": "0"}, "greater than or equal to 1"),
        ("search", {"seed": "-1"}, "greater than or equal to 0"),
        ("search", {"confirm_replicates": "1"}, "must be 0 (no confirmation) or at least 2"),
        ("search", {"confirm_replicates": "6"}, "must be at most confirm_max_replicates (5)"),
        ("training", {"epochs": "0"}, "greater than or equal to 1"),
        ("training", {"learning_rate": "nan"}, "must be a finite number"),
        ("training", {"warmup_steps": "1.5"}, "whole number of steps, or a share below 1"),
        ("training", {"learning_rte": "1"}, "did you mean learning_rate?"),
        ("data", {"labels": ["a"]}, "must have at least two"),
        ("data", {"labels": ["a", "a"]}, "must not repeat an entry"),
        ("data", {"labels": "a"}, "data.labels is 'a'"),
        ("data", {"test_size": "1"}, "less than 1"),
        ("cluster", {"gpus_per_trial": "2"}, "at most 1"),
        ("cluster", {"cpus_per_trial": "0"}, "greater than 0"),
        ("cluster", {"address": "ray://head:10001"}, "must be auto, local or HOST:PORT"),
        ("model", {"weights": "none"}, "must be 'pretrained' or 'random'"),
        ("output", {"nam": "x"}, "did you mean name?"),
    ],
)
def test_an_invalid_value_is_reported_in_one_line_with_its_rule(
    section: str, fields: dict[str, Any], expected: str
) -> None:
    (line,) = problems(**{section: fields})
    assert expected in line
    assert line.startswith("configuration: ")
    assert "\n" not in line
    assert "validation error" not in line.lower()


def test_problems_of_several_sections_are_reported_at_once() -> None:
    lines = problems(
        search={"trials": "0", "space": {"epochs": {"choice": ["1"]}}},
        training={"learning_rate": "7", "batchsize": "8"},
    )
    wanted = (
        "search.trials",
        "search.space.epochs",
        "training.learning_rate",
        "training.batchsize",
    )
    assert len(lines) == len(wanted)
    assert all(any(name in line for line in lines) for name in wanted)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/tmp/x", "x/"])
def test_a_run_name_that_leaves_the_output_directory_is_refused(name: str) -> None:
    (line,) = problems(output={"name": name})
    assert "must be a plain directory name inside output.directory" in line


def test_a_plain_run_name_is_accepted() -> None:
    assert configuration(output={"name": "run-1_a.b"}).output.name == "run-1_a.b"


def test_a_resume_names_each_field_that_changed_but_may_not() -> None:
    old = configuration()
    new = configuration(
        training={"learning_rate": "3e-3"}, data={"split_seed": "7"}, search={"trials": "9"}
    )
    lines = changed_fields(old, new)
    assert [line.split(" is ")[0] for line in lines] == [
        "--resume: data.split_seed",
        "--resume: training.learning_rate",
    ]
    assert "0.003, but the run started with 0.0005" in lines[1]


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("search", {"trials": "99", "time_budget_s": "60", "max_concurrent": "1"}),
        ("cluster", {"address": "auto", "gpus_per_trial": "0.5"}),
        ("output", {"name": "other"}),
    ],
)
def test_a_resume_may_change_how_long_and_where_it_runs(
    section: str, fields: dict[str, Any]
) -> None:
    assert changed_fields(configuration(), configuration(**{section: fields})) == []
