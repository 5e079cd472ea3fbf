"""Places that hold no sound model: one line each, and nothing of them is run."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.models import edit, load, problem_of, resave
from training.errors import InputError


def test_a_directory_without_weights_is_an_error_that_names_the_way_out(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    line = problem_of(bert)
    assert "model.safetensors" in line
    assert "weights: random" in line


def test_a_directory_without_a_tokenizer_is_an_error(bert: Path) -> None:
    for path in bert.glob("tokenizer*"):
        path.unlink()
    assert "tokenizer" in problem_of(bert)


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    assert "tokenizer" in problem_of(tmp_path)


@pytest.mark.parametrize("num_bytes", [0, 100])
def test_weights_in_a_torn_pickle_are_an_error(bert: Path, num_bytes: int) -> None:
    path = bert / "pytorch_model.bin"
    torch.save(load_file(bert / "model.safetensors"), path)
    (bert / "model.safetensors").unlink()
    path.write_bytes(path.read_bytes()[:num_bytes])
    problem_of(bert)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("num_bytes", [0, 100])
def test_a_file_that_is_torn_is_an_error(bert: Path, name: str, num_bytes: int) -> None:
    path = bert / name
    path.write_bytes(path.read_bytes()[:num_bytes])
    problem_of(bert)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "unheard-of"},
        {"model_type": "clip"},
        {"num_attention_heads": 3},
        {"num_hidden_layers": "two"},
        {"hidden_act": "unheard-of"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
    ],
)
def test_a_configuration_that_makes_no_classifier_is_an_error(
    bert: Path, change: dict[str, Any]
) -> None:
    edit(bert, **change)
    problem_of(bert)


@pytest.mark.parametrize(
    "change", [{"hidden_size": 32}, {"num_hidden_layers": 2}, {"max_position_embeddings": 64}]
)
def test_weights_of_another_architecture_are_not_replaced_by_random_ones(
    bert: Path, change: dict[str, int]
) -> None:
    edit(bert, **change)
    assert "do not fit its config.json" in problem_of(bert)
    load(bert, weights="random")  # asked for, it is no error


def test_weights_under_other_names_are_not_replaced_by_random_ones(bert: Path) -> None:
    resave(bert, lambda tensors: {f"other.{name}": tensor for name, tensor in tensors.items()})
    assert "do not fit its config.json" in problem_of(bert)


class _Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("way", ["pickle", "zip", "legacy"])
def test_code_in_a_pickle_of_weights_is_not_run(bert: Path, tmp_path: Path, way: str) -> None:
    (bert / "model.safetensors").unlink()
    ran, path = tmp_path / "ran", bert / "pytorch_model.bin"
    content = {"bert.weight": _Attack(ran)}
    if way == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "zip")
    line = problem_of(bert)
    assert "never run" in line
    assert not ran.exists()
    pickle.loads(pickle.dumps(content))  # the attack itself works
    assert ran.exists()


def test_code_beside_the_model_is_not_run(bert: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (bert / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    edit(bert, model_type="own", auto_map={"AutoConfig": "own.A", "AutoModel": "own.B"})
    problem_of(bert)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["nobody/no-such-model", "no-such-model", "a b", "--x"])
def test_a_hub_id_that_cannot_be_had_is_one_line(name: str) -> None:
    assert "this machine can reach" in problem_of(name)


@pytest.mark.parametrize("name", ["/no/such/place", "./none", "~/none", "a/b/c"])
def test_a_path_that_is_no_directory_is_not_asked_of_the_hub(name: str) -> None:
    assert "there is no such directory" in problem_of(name)


def test_a_file_is_no_model(small_bert: Path) -> None:
    assert "there is no such directory" in problem_of(small_bert / "config.json")


def test_a_directory_with_a_line_break_in_its_name_is_still_one_line(tmp_path: Path) -> None:
    directory = tmp_path / "two\nlines"
    directory.mkdir()
    with pytest.raises(InputError) as caught:
        load(directory)
    assert str(caught.value).count("\n") == 0
