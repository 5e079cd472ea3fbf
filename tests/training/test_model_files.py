import copy
import json
import stat

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LongformerConfig,
    pipeline,
)

from training.classifier import load
from training.config import DataConfig, ModelConfig, TrainingConfig, WinningConfiguration
from training.model_files import OnnxExportError, write_model
from training.options import read_yaml, validate

FILES = {
    *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    *("training_config.yaml", "model.onnx"),
}


@pytest.fixture
def configuration(bert):
    return WinningConfiguration(
        data=DataConfig(path="rows.csv", labels=("no", "yes")),
        model=ModelConfig(name=str(bert), max_length=16),
        training=TrainingConfig(learning_rate=3e-4),
    )


@pytest.fixture
def model(bert):
    return AutoModelForSequenceClassification.from_pretrained(bert)


@pytest.fixture
def tokenizer(bert):
    return AutoTokenizer.from_pretrained(bert)


@pytest.fixture
def longformer():
    """A model that cannot be exported."""
    config = LongformerConfig(
        **{"vocab_size": 60, "pad_token_id": 0, "attention_window": 4, "hidden_size": 16},
        **{"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
        max_position_embeddings=40,
    )
    return AutoModelForSequenceClassification.from_config(config)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "final" / "model"


def test_a_written_model_is_whole_and_nothing_else_is_left(
    directory, model, tokenizer, configuration
):
    write_model(directory, model, tokenizer, configuration, "safetensors")
    assert {path.name for path in directory.iterdir()} == FILES
    assert list(directory.parent.iterdir()) == [directory]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o644}
    weights = load_file(directory / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    for name, tensor in model.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    path = directory / "training_config.yaml"
    assert validate(WinningConfiguration, read_yaml(path), where="it") == configuration


def test_pytorch_weights_on_request_hold_tensors_alone_and_the_same(
    directory, model, tokenizer, configuration
):
    write_model(directory, model, tokenizer, configuration, "bin")
    weights = torch.load(directory / "pytorch_model.bin", weights_only=True)
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], model.state_dict()[name]) for name in weights)
    assert {path.name for path in directory.iterdir()} == {*FILES, "pytorch_model.bin"}


def test_model_and_tokenizer_are_left_as_they_were(directory, model, tokenizer, configuration):
    model.train()
    before = copy.deepcopy(model.state_dict())
    write_model(directory, model, tokenizer, configuration, "safetensors")
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert tokenizer.model_max_length == 32
    assert not torch.is_inference_mode_enabled()


def test_long_texts_are_cut_at_the_models_longest_row(directory, model, tokenizer, configuration):
    tokenizer(["a"], padding="max_length", truncation=True, max_length=5)  # it keeps this in mind
    write_model(directory, model, tokenizer, configuration, "safetensors")
    long = "kowe " * 20_000
    assert AutoTokenizer.from_pretrained(directory).model_max_length == 16
    alone = Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert len(alone.encode(long).ids) == 16
    assert len(alone.encode("kowe").ids) == 3
    classify = pipeline("text-classification", model=str(directory), truncation=True)
    (answer,) = classify(long)
    assert answer["score"] == pytest.approx(load(directory).probabilities([long]).max(), abs=1e-5)


def test_the_pipeline_needs_to_be_told_to_truncate_whatever_is_saved(
    directory, model, tokenizer, configuration
):
    # When this fails, transformers obeys tokenizer.json, and no user need say truncation=True.
    write_model(directory, model, tokenizer, configuration, "safetensors")
    saved = json.loads((directory / "tokenizer.json").read_text("utf-8"))["truncation"]
    assert saved["max_length"] == 16
    with pytest.raises(RuntimeError, match="size of the tensor"):
        pipeline("text-classification", model=str(directory))("kowe " * 20_000)


def test_what_cannot_be_exported_is_told_and_all_else_is_there(
    directory, model, longformer, tokenizer, configuration
):
    write_model(directory, model, tokenizer, configuration, "bin")
    with pytest.raises(OnnxExportError):
        write_model(directory, longformer, tokenizer, configuration, "safetensors")
    # The file of the model before is gone too.
    assert {path.name for path in directory.iterdir()} == FILES - {"model.onnx"}
    assert list(directory.parent.iterdir()) == [directory]
    load(directory)


def test_what_a_killed_run_left_is_swept_away_and_no_old_file_stays(
    directory, model, tokenizer, configuration
):
    directory.mkdir(parents=True)
    leftover = directory.parent / ".model.abc"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    for name in ("pytorch_model.bin", "model.onnx.data", "training_config.yaml"):
        (directory / name).write_bytes(b"old")
    write_model(directory, model, tokenizer, configuration, "safetensors")
    assert {path.name for path in directory.iterdir()} == FILES
    assert list(directory.parent.iterdir()) == [directory]


def test_a_failed_write_leaves_nothing_that_loads_as_a_model(
    directory, model, tokenizer, configuration
):
    write_model(directory, model, tokenizer, configuration, "safetensors")
    (directory / "config.json").unlink()
    (directory / "config.json").mkdir()  # no file can take its place
    with pytest.raises(OSError, match=r"config\.json"):
        write_model(directory, model, tokenizer, configuration, "safetensors")
    assert not (directory / "training_config.yaml").exists()
    assert not (directory / "model.onnx").exists()
    assert list(directory.parent.iterdir()) == [directory]
