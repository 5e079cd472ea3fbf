from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import DataConfig, ModelConfig, Section, TrainingConfig
from training.errors import InputError
from training.options import merge, parse_yaml, read_yaml, to_yaml, validate


class Whole(Section):
    """Sections as a search has them."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()


BASE = {"data": {"path": "sample"}}


def _read(text: str) -> Whole:
    values = parse_yaml(text, where="file.yaml")
    return validate(Whole, merge(BASE, values), where="file.yaml")


def _problems(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        _read(text)
    lines = list(caught.value.problems)
    assert all(line.startswith("file.yaml") and "\n" not in line for line in lines)
    return lines


def _problem(text: str) -> str:
    (line,) = _problems(text)
    return line


def test_values_take_the_type_of_their_field_whatever_their_spelling() -> None:
    whole = _read(
        "training: {learning_rate: 2e-5, epochs: 3, warmup_steps: 1e2}\n"
        "data: {labels: [No, Yes, 1, 1.5, 2024-01-01], group_column: null, error_column: ~}\n"
    )
    assert whole.training.learning_rate == 2e-5
    assert whole.training.epochs == 3
    assert whole.training.warmup_steps == 100
    assert whole.data.labels == ("No", "Yes", "1", "1.5", "2024-01-01")
    assert whole.data.group_column is whole.data.error_column is None
    assert whole.data.confidence_column == "confidence_score"


def test_a_quoted_null_is_text() -> None:
    assert parse_yaml("[null, 'null', ~, '~', '']", where="f") == [None, "null", None, "~", ""]


def test_an_unknown_key_is_an_error_that_suggests_the_nearest() -> None:
    line = _problem("training: {learning_rte: 2e-5}")
    assert line == "file.yaml: unknown key training.learning_rte; did you mean learning_rate?"
    assert _problem("trainig: {epochs: 3}").endswith("unknown key trainig; did you mean training?")
    assert "choose from data, model, training" in _problem("zzzz: 1")


@pytest.mark.parametrize("key", ["int", "float", "a[b", "<<", "a.b"])
def test_an_unknown_key_is_named_whatever_its_form(key: str) -> None:
    assert f"unknown key training.{key}; choose from epochs" in _problem(
        f'training: {{"{key}": 1}}'
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("training: {epochs: many}", ["training.epochs is 'many'", "integer"]),
        ("training: {epochs: 2.5}", ["training.epochs is '2.5'", "integer"]),
        ("training: {epochs: true}", ["training.epochs is 'true'", "integer"]),
        ("training: {learning_rate: fast}", ["training.learning_rate is 'fast'", "number"]),
        ("training: {learning_rate: null}", ["training.learning_rate is None", "number"]),
        ("training: {learning_rate: nan}", ["training.learning_rate is 'nan'", "finite"]),
        ("data: {labels: abc}", ["data.labels is 'abc'"]),
        ("data: {labels: [[a], b]}", ["data.labels.0 is ['a']", "string"]),
        ("data: {path: null}", ["data.path is None", "string"]),
        ("training: 3", ["training is '3'", "write training: {field: value}"]),
        ("training: [1]", ["training is ['1']", "write training: {field: value}"]),
        ("training: {~: 3}", ["keys must be strings"]),
    ],
)
def test_a_wrong_type_shows_the_value_and_what_it_must_be(text: str, parts: list[str]) -> None:
    line = _problem(text)
    assert all(part in line for part in parts), line
    assert "must" in line


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("training: {epochs: 0}", ["training.epochs is '0'", "greater than or equal to 1"]),
        ("training: {learning_rate: 2}", ["'2'", "must be less than or equal to 1", "Peak"]),
        ("training: {seed: -1}", ["'-1'", "must be greater than or equal to 0"]),
        ("training: {class_weights: heavy}", ["'heavy'", "must be 'balanced', 'sqrt' or 'none'"]),
        ("data: {test_size: 1}", ["'1'", "must be less than 1", "test set"]),
        ("model: {max_length: 3}", ["model.max_length is '3'", "greater than or equal to 4"]),
        ("data: {labels: [a]}", ["labels is ['a']", "must have at least two"]),
        ("data: {labels: [a, a]}", ["must not repeat an entry"]),
        ("training: {warmup_steps: 1.5}", ["warmup_steps is 1.5", "must be a whole number"]),
    ],
)
def test_a_value_out_of_range_is_an_error_with_the_rule_and_the_explanation_of_the_field(
    text: str, parts: list[str]
) -> None:
    line = _problem(text)
    assert all(part in line for part in parts), line


def test_all_problems_are_reported_together() -> None:
    lines = _problems("training: {epochs: 0, learning_rate: fast, sed: 3}\nmodl: {}")
    assert len(lines) == 4
    for part in ("training.epochs", "training.learning_rate", "training.sed", "modl"):
        assert any(part in line for line in lines)


def test_a_missing_field_is_an_error_with_its_option() -> None:
    with pytest.raises(InputError) as caught:
        validate(Whole, {"data": {}}, where="configuration")
    assert "data.path is missing" in str(caught.value)
    assert "--data.path VALUE" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("training: {epochs: 3\n", "line 2, column 1"),
        ("training:\n  epochs: 3\n batch_size: 4\n", "line 3, column 2"),
        ("a: b: c", "line 1, column 5"),
        ("a: 1\n\tb: 2", "line 2, column 1"),
        ("a: *b", "line 1, column 4"),
        ("--- 1\n--- 2", "line 2, column 1"),
        ("training: {epochs: !!int abc}", "line 1, column 20"),
        ("training: {epochs: !!float x}", "line 1, column 20"),
        ("training: {epochs: !!bool x}", "line 1, column 20"),
        ("training: {epochs: !!timestamp x}", "line 1, column 20"),
        ("training: {epochs: !!python/object/apply:os.getcwd []}", "line 1, column 20"),
        ("{[a, b]: 3}", "line 1, column 2"),
    ],
)
def test_invalid_yaml_is_an_error_with_line_and_column(text: str, position: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, where="file.yaml")
    (line,) = caught.value.problems
    assert line.startswith(f"file.yaml, {position}: not YAML (")


@pytest.mark.parametrize("text", ["[" * 5000, "a: &a {b: *a}", "- &a [*a]"])
def test_nesting_without_end_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        parse_yaml(text, where="file.yaml")


@pytest.mark.parametrize(
    "text",
    ["training: {epochs: 3}\ntraining: {seed: 4}", "training:\n  epochs: 3\n  epochs: 4"],
)
def test_a_repeated_key_is_an_error(text: str) -> None:
    number = len(text.splitlines())
    line = _problem(text)
    assert line.startswith(f"file.yaml, line {number}: ")
    assert "is repeated" in line


@given(text=st.text(max_size=60))
def test_any_text_is_parsed_or_refused_in_one_line(text: str) -> None:
    try:
        parse_yaml(text, where="file.yaml")
    except InputError as error:
        (line,) = error.problems
        assert len(line.splitlines()) == 1


def test_a_file_is_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text("data: {labels: [é, b]}", encoding=encoding)
        assert read_yaml(path) == {"data": {"labels": ["é", "b"]}}


@pytest.mark.parametrize("text", ["", "# nothing but words\n", "~"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert read_yaml(tmp_path / "a.yaml") == {}


@pytest.mark.parametrize("text", ["- a\n- b", "just words"])
def test_a_file_that_is_no_mapping_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match="must be sections of fields"):
        read_yaml(tmp_path / "a.yaml")


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00training")
    for name, reason in (
        ("missing.yaml", "No such file"),
        (".", "Is a directory"),
        ("binary.yaml", "not UTF-8"),
    ):
        with pytest.raises(InputError) as caught:
            read_yaml(tmp_path / name)
        (line,) = caught.value.problems
        assert str(tmp_path / name) in line
        assert reason in line


def test_later_values_lie_over_earlier_ones_field_by_field() -> None:
    base = {"a": {"x": 1, "y": 2}, "b": {"z": 3}}
    assert merge(base, {"a": {"y": 5}, "c": {"w": 7}}) == {
        "a": {"x": 1, "y": 5},
        "b": {"z": 3},
        "c": {"w": 7},
    }
    assert base == {"a": {"x": 1, "y": 2}, "b": {"z": 3}}


def test_a_section_with_nothing_under_it_changes_nothing() -> None:
    base = {**BASE, "training": {"epochs": "7"}}
    merged = merge(base, parse_yaml("training:\n", where="file.yaml"))
    assert validate(Whole, merged, where="file.yaml").training.epochs == 7
    assert _read("training:").training == TrainingConfig()
    assert "did you mean training" in _problem("trainig:")


def test_a_field_set_to_null_is_not_an_empty_section() -> None:
    assert merge({"a": {"x": 1}}, {"a": {"x": None}}) == {"a": {"x": None}}


def test_a_configuration_written_and_read_is_the_same() -> None:
    whole = Whole(
        data=DataConfig(
            path="a: b.csv",
            labels=("No", "null", "~", "1e3", "  spaced ", "é\u2028ñ", "# no comment"),
            error_column=None,
            min_confidence=0.7,
        ),
        training=TrainingConfig(learning_rate=1.2345678901234567e-05, warmup_steps=0.06),
    )
    text = to_yaml(whole.model_dump(mode="json"))
    values = parse_yaml(text, where="again")
    assert validate(Whole, values, where="again") == whole


@given(labels=st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=4, unique=True))
def test_any_labels_come_back_from_yaml(labels: list[str]) -> None:
    text = to_yaml({"data": {"labels": labels}})
    assert parse_yaml(text, where="again") == {"data": {"labels": labels}}


@given(rate=st.floats(1e-300, 1.0))
def test_any_number_comes_back_from_yaml_to_the_last_digit(rate: float) -> None:
    text = to_yaml({**BASE, "training": {"learning_rate": rate}})
    values = parse_yaml(text, where="again")
    assert validate(Whole, values, where="again").training.learning_rate == rate


def test_a_long_value_is_cut_in_messages() -> None:
    assert len(_problem(f"training: {{epochs: {'9x' * 500}}}")) < 300


def test_aliases_that_stand_for_billions_of_values_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for number in range(1, 10):
        aliases = ", ".join([f"*a{number - 1}"] * 9)
        lines.append(f"a{number}: &a{number} [{aliases}]")
    with pytest.raises(InputError, match=r"more than 10,000 lists .* alias"):
        parse_yaml("\n".join(lines), where="configuration")


def test_an_alias_stands_for_its_value() -> None:
    assert parse_yaml("a: &a [x]\nb: *a", where="configuration") == {"a": ["x"], "b": ["x"]}


def test_an_alias_of_what_it_stands_in_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="configuration: nested too deeply"):
        parse_yaml("a: &a [*a]", where="configuration")
