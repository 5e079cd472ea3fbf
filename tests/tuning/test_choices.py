"""Choices of numbers, words, null and encoders: from YAML and the command line to trial 0."""

from pathlib import Path
from typing import Any

import pytest

from results.run import create_run
from tests.tuning.builders import configuration
from training.config import TrainingConfig
from training.errors import InputError
from tuning.command_line import read_command
from tuning.config import Configuration
from tuning.space import SEARCHABLE, Value, check_name, converted, read_value, to_text
from tuning.start import build as build_values
from tuning.start import read_configuration, to_print, write_configuration

CHOICES: dict[str, tuple[str, tuple[Value, ...]]] = {
    "model": ("[org/a, tiny-like/b, 'true']", ("org/a", "tiny-like/b", "true")),
    "batch_size": ("[8, 16]", (8, 16)),
    "learning_rate": ("[1e-5, 0.001]", (1e-5, 0.001)),
    "warmup_steps": ("[0.1, 50, 100]", (0.1, 50, 100)),
    "weight_decay": ("[0, 0.01]", (0, 0.01)),
    "max_grad_norm": ("[1, 0.5]", (1, 0.5)),
    "class_weights": ("[none, balanced, sqrt]", ("none", "balanced", "sqrt")),
    "label_smoothing": ("[0.0, 0.1]", (0.0, 0.1)),
    "schedule": ("[linear, cosine, constant]", ("linear", "cosine", "constant")),
    "layer_decay": ("[1.0, 0.9]", (1.0, 0.9)),
    "head_learning_rate": ("[1, 10]", (1, 10)),
    "dropout": ("[null, 0.0, 0.2]", (None, 0.0, 0.2)),
}
"""Each searchable field: a choice as YAML has it, and its values."""


def resolved(*arguments: str) -> Configuration:
    return read_command(arguments)[2]


def test_every_searchable_field_has_a_choice_here() -> None:
    assert set(CHOICES) == set(SEARCHABLE)


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_is_the_same_from_a_file_an_option_and_config_yaml(
    name: str, tmp_path: Path
) -> None:
    text, values = CHOICES[name]
    space = f"{{{name}: {{choice: {text}}}}}"
    file = tmp_path / "mine.yaml"
    file.write_text(f"data: {{path: sample}}\nsearch: {{space: {space}}}\n")
    found = resolved("--config", str(file))
    assert repr(found.search.space[name].choice) == repr(values)
    assert resolved("--data", "sample", "--search.space", space) == found
    file.write_text(to_print(found))
    again = resolved("--config", str(file))
    assert again == found
    assert repr(again.search.space) == repr(found.search.space)
    run = create_run(tmp_path, "run")
    write_configuration(run, found)
    assert repr(build_values(read_configuration(run)).search.space) == repr(found.search.space)


@pytest.mark.parametrize("name", CHOICES)
def test_a_cell_of_the_trials_reads_as_the_value(name: str) -> None:
    for value in CHOICES[name][1]:
        cell = "" if value is None else str(value)
        assert repr(read_value(name, cell)) == repr(value)


def test_true_and_false_are_no_numbers() -> None:
    assert converted("cuda_graphs", "True") is True
    assert read_value("cuda_graphs", "False") is False
    assert (to_text(True), to_text(None), to_text(1)) == ("true", "null", "1")
    for wrong in ("1", 1, None):
        with pytest.raises(ValueError, match="neither true nor false"):
            converted("cuda_graphs", wrong)
    with pytest.raises(ValueError, match="no finite number"):
        converted("learning_rate", True)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"schedule": {"choice": ["linear", "cosin"]}}, "did you mean cosine?"),
        ({"schedule": {"choice": ["linear", None]}}, "null is none of linear, cosine, constant"),
        ({"schedule": {"uniform": ["0", "1"]}}, "a choice of linear, cosine, constant: write"),
        ({"class_weights": {"integer": ["1", "2"]}}, "a choice of balanced, sqrt, none"),
        ({"model": {"log_uniform": ["1", "2"]}}, "must be a choice of names of encoders"),
        ({"model": {"choice": ["org/a", ""]}}, "'' is no name of an encoder"),
        ({"model": {"choice": ["org/a", "a\nb"]}}, "is no name of an encoder"),
        ({"model": {"choice": [None]}}, "None is no name of an encoder"),
        ({"model": {"choice": ["org/a", "org/a"]}}, "leave out one 'org/a'"),
        ({"learning_rate": {"choice": ["1e-5", "0.00001"]}}, "must not hold a value twice"),
        ({"learning_rate": {"choice": ["1", "1.0"]}}, "must not hold a value twice"),
        ({"learning_rate": {"choice": ["1e-5", None]}}, "None is no finite number"),
        ({"dropout": {"choice": [None, None]}}, "must not hold a value twice"),
        ({"dropout": {"choice": [None, "1"]}}, "has 1, but must be less than 1"),
        ({"dropout": {"uniform": ["0.1", "1"]}}, "must be less than 1"),
        ({"dropout": {"choice": ["null"]}}, "'null' is no number"),
        ({"schedule": {"choice": [["linear"]]}}, "is a list or mapping, but must be one value"),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line(space: Any, expected: str) -> None:
    with pytest.raises(InputError) as refused:
        configuration(data={"path": "sample"}, search={"space": space})
    (line,) = refused.value.problems
    assert expected in line
    assert f"search.space.{next(iter(space))}" in line
    assert "\n" not in line


def test_all_wrong_values_of_a_choice_are_reported_at_once() -> None:
    space = {"schedule": {"choice": ["cos", "lin"]}, "dropout": {"choice": ["a", "7"]}}
    with pytest.raises(InputError) as refused:
        configuration(search={"space": space})
    assert len(refused.value.problems) == 4


def test_a_directory_is_one_choice_whether_its_path_is_relative_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "own")
    found = of_models("own", "org/b")
    assert found.search.encoders == (path, "org/b")
    assert found.model.name == path
    with pytest.raises(InputError, match="must not hold a value twice"):
        of_models("own", path)


def of_models(*names: str, more: str = "", **sections: Any) -> Configuration:
    """The configuration of a search over encoders."""
    space = f"{{model: {{choice: [{', '.join(names)}]}}{more}}}"
    options = [f"--{field.replace('__', '.')}={value}" for field, value in sections.items()]
    return resolved("--data", "sample", "--search.space", space, *options)


def test_trial_0_has_the_given_encoder_or_else_the_first_choice() -> None:
    assert of_models("org/a", "org/b").default_point == {"model": "org/a"}
    assert of_models("org/a", "org/b", model__name="org/b").default_point == {"model": "org/b"}
    outside = of_models("org/a", "org/b", model="org/c")
    assert outside.default_point == {"model": "org/c"}
    assert [one.name for one in outside.models] == ["org/c", "org/a", "org/b"]
    assert outside.model_of({"model": "org/b"}).name == "org/b"
    assert [one.name for one in resolved().models] == ["tiny"]


def test_the_base_is_that_of_pretrained_encoders_unless_all_are_tiny() -> None:
    assert of_models("org/a", "org/b").training.learning_rate == 2e-5
    only = of_models("tiny")
    assert (only.training, only.model.name) == (resolved().training, "tiny")
    rates = ", learning_rate: {log_uniform: [1e-5, 1e-3]}"
    assert of_models("tiny", "org/b", more=rates).training.learning_rate == 2e-5


def test_tiny_beside_pretrained_encoders_needs_learning_rates_of_both() -> None:
    for more in (
        "",
        ", learning_rate: {log_uniform: [1e-5, 1e-4]}",
        ", learning_rate: {uniform: [1e-4, 1e-3]}",
    ):
        with pytest.raises(InputError, match=r"leave tiny out, or write learning_rate: \{") as no:
            of_models("tiny", "org/b", more=more)
        assert len(no.value.problems) == 1
    assert of_models("tiny", "org/b", more=", learning_rate: {choice: [2e-5, 5e-4]}")
    assert of_models("tiny", "org/b", model__weights="random")
    with pytest.raises(InputError, match="leave tiny out"):
        of_models("org/a", model="tiny")  # trial 0


def test_a_revision_belongs_to_one_encoder() -> None:
    with pytest.raises(InputError, match=r"model\.revision is 'main', but must be null"):
        of_models("org/a", "org/b", model__revision="main")


def test_every_missing_directory_is_reported_with_the_other_problems() -> None:
    with pytest.raises(InputError) as refused:
        of_models("./no/a", "./no/b", search__trials=0)
    lines = "\n".join(refused.value.problems)
    assert all(part in lines for part in ("'./no/a'", "'./no/b'", "search.trials"))


def test_fields_that_change_no_learning_are_refused_with_their_reason() -> None:
    refused = [name for name in TrainingConfig.model_fields if name not in SEARCHABLE]
    for name in refused:
        with pytest.raises(ValueError, match="must not be, since"):
            check_name(name)
    assert set(refused) == {
        *("epochs", "eval_batch_size", "early_stopping_patience", "precision", "cuda_graphs"),
        "seed",
    }
