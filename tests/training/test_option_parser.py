from typing import Any

import pytest

from training.config import DataConfig, ModelConfig, Section, TrainingConfig
from training.errors import InputError
from training.options import (
    FieldHelp,
    OptionParser,
    add_fields,
    describe_values,
    given_fields,
    parse_value,
)

SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
}


def _options(*arguments: str) -> dict[str, Any]:
    parser = OptionParser(prog="program")
    add_fields(parser, SECTIONS, {})
    return given_fields(parser.parse(arguments), SECTIONS)


def test_options_give_the_fields_that_were_given_and_no_others() -> None:
    assert _options() == {}
    assert _options(
        "--training.learning_rate", "2e-5", "--data.labels", "[No, Yes]", "--data.path=a.csv",
        "--data.error_column", "null",
    ) == {
        "training": {"learning_rate": "2e-5"},
        "data": {"labels": ["No", "Yes"], "path": "a.csv", "error_column": None},
    }  # fmt: skip


def test_an_option_s_text_is_taken_as_it_stands_unless_it_is_a_list_or_a_mapping() -> None:
    assert parse_value("a: b # c", where="option") == "a: b # c"
    assert parse_value(" {choice: [8, 16]}", where="option") == {"choice": ["8", "16"]}
    assert parse_value("~", where="option") is None
    with pytest.raises(InputError, match=r"option --data\.labels, line 1, column \d+: not YAML"):
        _options("--data.labels", "[a, b")


def test_an_unknown_option_suggests_the_nearest_and_all_are_told() -> None:
    with pytest.raises(InputError) as caught:
        _options("--training.learning_rte", "1", "--zzzz=3")
    assert list(caught.value.problems) == [
        "unknown option --training.learning_rte; did you mean --training.learning_rate?",
        "unknown option --zzzz; -h lists the options",
    ]


def test_an_abbreviated_option_is_not_guessed() -> None:
    with pytest.raises(InputError, match=r"unknown option --training\.learn;"):
        _options("--training.learn", "1")


def test_an_option_without_its_value_is_one_line_and_code_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        _options("--data.path")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: argument --data.path")
    assert said.endswith("see program -h\n")


def test_help_explains_every_field_from_its_own_documentation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        _options("-h")
    assert caught.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for section, model in SECTIONS.items():
        for name, field in model.model_fields.items():
            assert f"--{section}.{name} VALUE" in said
            assert field.description
            assert " ".join(field.description.split()) in said


def test_help_tells_the_values_a_field_takes_and_what_stands_in_each_base(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = OptionParser(prog="program", formatter_class=FieldHelp)
    bases = {
        "sample": {"training": {"epochs": 6, "learning_rate": 2e-5, "class_weights": "none"}},
        "study": {"training": {"epochs": 3, "learning_rate": 2e-5}},
    }
    add_fields(parser, {"training": TrainingConfig}, bases)
    with pytest.raises(SystemExit):
        parser.parse(["-h"])
    said = " ".join(capsys.readouterr().out.split())
    assert "[whole number at least 1, at most 1000; sample: 6; study: 3]" in said
    assert "[number above 0, at most 1; base: 2e-05]" in said
    assert "[one of balanced, none; sample: none; study: must be given]" in said


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_s_values_can_be_told(section: str) -> None:
    for schema in SECTIONS[section].model_json_schema()["properties"].values():
        assert describe_values(schema)


def test_a_choice_that_is_not_there_suggests_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = OptionParser(prog="program")
    parser.add_argument("--gates", choices=("minimum", "optimal", "none"))
    for given, hint in (("minimun", "did you mean minimum?"), ("x", "choose one")):
        with pytest.raises(SystemExit):
            parser.parse(["--gates", given])
        assert capsys.readouterr().err == (
            f"error: argument --gates: is '{given}', but must be one of minimum, optimal, none;"
            f" {hint}; see program -h\n"
        )
