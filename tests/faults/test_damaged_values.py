"""Damaged values that mutated inputs found: each is an error of one line where the file is read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from results.errors import RunError
from results.files import drop_incomplete_line, read_csv
from results.older_runs import OBJECTIVE, problem_of_record
from tests.training.models import edit, load, problem_of
from training.columns import read_columns
from training.errors import InputError
from training.tokens import encode


def edit_json(path: Path, *keys: str, value: Any) -> None:
    content = json.loads(path.read_text("utf-8"))
    parent = content
    for key in keys[:-1]:
        parent = parent[key]
    parent[keys[-1]] = value
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("weights", ["pretrained", "random"])
@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 2**40},
        {"hidden_size": 2**20, "vocab_size": 2**20},
        {"num_hidden_layers": 10**9},
        {"intermediate_size": 2**62},
        {"max_position_embeddings": 2**40},
    ],
)
def test_a_configuration_that_asks_for_any_amount_of_memory_is_refused(
    bert: Path, changes: dict[str, int], weights: str
) -> None:
    edit(bert, **changes)
    assert "no model can be loaded" in problem_of(bert, weights=weights)


def test_a_model_larger_than_the_memory_is_an_error_with_both_sizes(
    bert: Path,
) -> None:
    edit(bert, vocab_size=2**40)
    assert "GiB of memory" in problem_of(bert, weights="random")


@pytest.mark.parametrize("value", [float("nan"), 2.0])
def test_a_value_that_only_training_reads_is_an_error_when_the_model_is_loaded(
    bert: Path, value: object
) -> None:
    edit(bert, classifier_dropout=value)
    assert "dropout probability has to be between 0 and 1" in problem_of(bert)


def test_checking_a_model_uses_no_random_number_of_the_training(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    edit(bert, hidden_dropout_prob=0.5)
    load(bert, seed=3)
    sampled = torch.rand(4)
    monkeypatch.setattr("training.encoder._classify_once", lambda *_: None)
    load(bert, seed=3)
    assert torch.equal(torch.rand(4), sampled)


def test_a_tokenizer_that_panics_is_an_error_of_one_line_and_prints_nothing(
    bert: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edit_json(bert / "tokenizer.json", "post_processor", "special_tokens", value={})
    assert "no tokenizer can be loaded" in problem_of(bert)
    assert capfd.readouterr().err == ""


def test_a_panic_over_a_text_is_an_error_and_does_not_end_the_process() -> None:
    class PanicException(BaseException):
        """A fake with the name of pyo3's own class, which no module exports."""

    class Panics:
        pad_token_id = 0

        def __call__(self, *_: object, **__: object) -> None:
            raise PanicException("no entry found for key")

    with pytest.raises(RuntimeError, match="no entry found for key"):
        encode(Panics(), ["a"], max_length=8)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [[], "x", {}])
def test_a_longest_input_that_is_no_number_is_an_error(bert: Path, value: object) -> None:
    edit_json(bert / "tokenizer_config.json", "model_max_length", value=value)
    assert "no tokenizer can be loaded" in problem_of(bert)


def test_a_table_that_is_a_device_or_a_pipe_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.csv")
    for path in (Path("/dev/zero"), tmp_path / "data.csv"):
        with pytest.raises(InputError, match="is a pipe or a device"):
            read_columns(path, {"text": "data.text_column"})


def test_a_directory_instead_of_a_table_of_the_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for read in (read_csv, drop_incomplete_line):
        for path in (tmp_path, tmp_path / "loop"):
            with pytest.raises(RunError, match="must be one"):
                read(path)
    assert read_csv(tmp_path / "none.csv") == []


SOUND: dict[str, Any] = {
    "status": "completed",
    "objective": OBJECTIVE,
    "seconds": 3,
    "data": {"sha256": "0"},
    "trials": {"requested": 2},
    "best": {"trial_id": "t0001", "parameters": {"batch_size": 8}, "score": 0.5},
    "default": {"trial_id": "t0000", "parameters": {"batch_size": 8}, "score": None},
    "another": "an unknown key",
}


def test_a_sound_record_has_no_problem() -> None:
    assert problem_of_record(SOUND) is None
    assert problem_of_record(SOUND | {"best": None, "default": None}) is None


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seconds": "3"}, "seconds"),
        ({"seconds": None}, "seconds"),
        ({"status": "won"}, "status"),
        ({"trials": []}, "trials"),
        ({"trials": {}}, "trials.requested"),
        ({"data": None}, "data"),
        ({"best": {**SOUND["best"], "score": None}}, "best.score"),
        ({"best": {**SOUND["best"], "parameters": {"batch_size": [8]}}}, "best.parameters"),
        ({"default": "t0000"}, "default"),
        ({"objective": {**OBJECTIVE, "label": 5}}, "objective.label"),
    ],
)
def test_a_record_s_first_wrong_value_is_named(change: dict[str, Any], key: str) -> None:
    problem = problem_of_record(SOUND | change)
    assert problem is not None
    assert problem.startswith(key)
    assert "\n" not in problem


@pytest.mark.parametrize("record", [None, [], "x", 5])
def test_a_record_that_is_no_mapping_is_refused(record: object) -> None:
    assert problem_of_record(record)
