import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from evaluation.readiness import check_artefacts
from training.classifier import load
from training.config import DataConfig, ModelConfig, TrainingConfig, WinningConfiguration
from training.model_files import write_model

TEXTS = [
    *("aku kowe", "pasar " * 5, "sawah " * 100, "bodho", "\U0001f621", "=cmd|' /C calc'!A0"),
    *("<script>alert(1)</script>", "a\x00b", "\u202ekowe\u202c", "\ud83d alone", "x" * 100_000),
]
CHECKS = [
    *("files", "PyTorch loads", "pipeline opens", "pipeline truncates"),
    *("ONNX is valid", "ONNX agrees"),
]


@pytest.fixture(scope="module")
def shipped(small_bert, tmp_path_factory):
    """A model directory; a test must not change it."""
    directory = tmp_path_factory.mktemp("final") / "model"
    configuration = WinningConfiguration(
        data=DataConfig(path="rows.csv", labels=("no", "yes")),
        model=ModelConfig(name=str(small_bert), max_length=32),
        training=TrainingConfig(learning_rate=3e-4),
    )
    model = AutoModelForSequenceClassification.from_pretrained(
        small_bert, id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1}
    )
    tokenizer = AutoTokenizer.from_pretrained(small_bert)
    write_model(directory, model, tokenizer, configuration, "safetensors")
    return directory


@pytest.fixture
def directory(shipped, tmp_path):
    return shutil.copytree(shipped, tmp_path / "model")


@pytest.fixture
def probabilities(shipped):
    return load(shipped).probabilities(TEXTS)


def _unmet(checks):
    assert list(checks) == CHECKS
    json.dumps(checks, allow_nan=False)
    for check in checks.values():
        assert check.keys() == {"met", "value", "rule"}
        assert "\n" not in str(check["value"])
    return [name for name, check in checks.items() if not check["met"]]


def test_a_written_model_is_ready(shipped, probabilities):
    checks = check_artefacts(shipped, TEXTS, probabilities)
    assert _unmet(checks) == []
    for name in ("PyTorch loads", "pipeline opens", "pipeline truncates", "ONNX agrees"):
        assert 0 <= checks[name]["value"] < 1e-5


def test_without_onnx_everything_else_is_checked(directory, probabilities):
    (directory / "model.onnx").unlink()
    checks = check_artefacts(directory, TEXTS, probabilities)
    assert _unmet(checks) == ["files", "ONNX is valid", "ONNX agrees"]
    assert checks["files"]["value"] == "model.onnx missing"


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
def test_a_truncated_file_is_reported_and_raises_nothing(directory, probabilities, name):
    path = directory / name
    path.write_bytes(path.read_bytes()[:-500])
    unmet = _unmet(check_artefacts(directory, TEXTS, probabilities))
    assert "ONNX agrees" in unmet
    assert ("PyTorch loads" in unmet) == (name == "model.safetensors")


def test_an_onnx_model_with_other_weights_is_found(directory):
    path = directory / "model.safetensors"
    weights = load_file(path)
    weights["classifier.bias"][1] += 1e-2
    save_file(weights, path, metadata={"format": "pt"})
    checks = check_artefacts(directory, TEXTS, load(directory).probabilities(TEXTS))
    assert _unmet(checks) == ["ONNX agrees"]
    assert checks["ONNX agrees"]["value"] > 1e-4


def test_other_probabilities_than_the_evaluated_ones_are_found(shipped, probabilities):
    checks = check_artefacts(shipped, TEXTS, probabilities + 1e-3)
    assert _unmet(checks) == ["PyTorch loads", "pipeline opens"]


def test_other_label_names_are_found(directory, probabilities):
    path = directory / "config.json"
    config = json.loads(path.read_text("utf-8")) | {"id2label": {"0": "same", "1": "same"}}
    path.write_text(json.dumps(config), encoding="utf-8")
    assert "pipeline opens" in _unmet(check_artefacts(directory, TEXTS, probabilities))


def test_weights_in_the_format_of_pytorch_are_checked_if_they_exist(directory, probabilities):
    name = "pytorch_model.bin agrees"
    path = directory / "pytorch_model.bin"
    weights = load_file(directory / "model.safetensors")

    def check(content):
        torch.save(content, path)
        return check_artefacts(directory, TEXTS[:1], probabilities[:1])[name]

    assert check(weights)["met"]
    assert check({**weights, "tied": weights["classifier.bias"].clone()})["met"]
    first, second = "classifier.bias", "classifier.weight"
    changed = check({**weights, first: weights[first] + 1e-6})
    assert changed["value"] == "1 tensors differ, the first is classifier.bias"
    lacking = {key: value for key, value in weights.items() if key != second}
    assert second in check(lacking)["value"]
    assert "odd" in check({**weights, "odd": weights[second] + 1})["value"]
    assert not check({**weights, "code": Evil()})["met"]
    path.write_bytes(path.read_bytes()[:500])
    checks = check_artefacts(directory, TEXTS, probabilities)
    assert [found for found in checks if not checks[found]["met"]] == [name]
    assert "\n" not in checks[name]["value"]


class Evil:
    """An object whose pickle runs code when it is loaded carelessly."""

    def __reduce__(self):
        return pytest.fail, ("the pickle was run",)


def test_probabilities_that_are_not_finite_are_not_ready(shipped, probabilities):
    spoilt = probabilities.copy()
    spoilt[0, 0] = math.nan
    checks = check_artefacts(shipped, TEXTS, spoilt)
    assert checks["PyTorch loads"] | {"rule": ""} == {
        **{"met": False, "value": "a probability is not finite", "rule": ""}
    }


def test_without_texts_to_compare_it_is_not_ready(shipped):
    checks = check_artefacts(shipped, [], np.empty((0, 2)))
    assert not checks["PyTorch loads"]["met"]
    assert not checks["pipeline opens"]["met"]


def test_a_missing_directory_meets_no_check(tmp_path, probabilities):
    assert _unmet(check_artefacts(tmp_path / "nowhere", TEXTS, probabilities)) == CHECKS
