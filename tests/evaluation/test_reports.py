import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from evaluation.reports import TestResult, write_model, write_reports
from evaluation.winner import WinningConfiguration
from training.config import DataConfig, ModelConfig, TrainingConfig
from training.options import read_yaml, validate
from training.texts import LabelledTexts

NAMES = ["fine", "<img src=x onerror=alert(1)>", "=severe, \u202ereally"]


@pytest.fixture
def written(bert, tmp_path):
    """A function that writes a small BERT as a model directory."""
    configuration = WinningConfiguration(
        data=DataConfig(path="rows.csv", labels=("no", "yes")),
        model=ModelConfig(name=str(bert), max_length=32),
        training=TrainingConfig(learning_rate=3e-4),
    )
    model = AutoModelForSequenceClassification.from_pretrained(bert)
    tokenizer = AutoTokenizer.from_pretrained(bert)

    def write(weights):
        directory = tmp_path / "final" / "model"
        write_model(directory, model, tokenizer, configuration, weights)
        return directory, model, configuration

    return write


def test_a_written_model_has_its_weights_in_float32_and_nothing_pickled(written):
    directory, model, _ = written("safetensors")
    weights = load_file(directory / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    for name, tensor in model.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    assert not list(directory.glob("*.bin"))


def test_pytorch_weights_on_request_hold_tensors_alone_and_the_same(written):
    directory, model, _ = written("bin")
    weights = torch.load(directory / "pytorch_model.bin", weights_only=True)
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], model.state_dict()[name]) for name in weights)
    assert (directory / "model.safetensors").is_file()


def test_the_tokenizer_knows_the_longest_row_and_the_configuration_reads_back(written):
    directory, _, configuration = written("safetensors")
    assert AutoTokenizer.from_pretrained(directory).model_max_length == 32
    path = directory / "training_config.yaml"
    assert validate(WinningConfiguration, read_yaml(path), where="it") == configuration


def test_texts_that_attack_go_through_every_report(tmp_path):
    texts = [
        *("<script>alert(1)</script>", "=cmd|' /C calc'!A0", "kowe " * 25_000, "\U0001f621" * 9),
        *("a\x00b", "\u202eabc\u202c", "\ud800 alone", ' "quoted"\r\nline', ""),
    ]
    num_rows = len(texts)
    rng = np.random.default_rng(0)
    result = TestResult(
        test=LabelledTexts(
            rows=np.arange(num_rows),
            texts=texts,
            labels=np.arange(num_rows) % 3,
            groups=np.arange(num_rows),
        ),
        probabilities=rng.dirichlet(np.ones(3), num_rows),
        baseline_predictions=np.zeros(num_rows, dtype=np.int64),
    )
    report = {"confusion_matrix": np.eye(3, dtype=int).tolist()}
    write_reports(tmp_path, result, report, NAMES, ([], []))
    assert {path.name for path in tmp_path.iterdir()} == {
        *("evaluation_report.json", "predictions.csv", "misclassified.csv", "error_analysis.json"),
        *("classification_report.txt", "confusion_matrix.png", "training_curves.png"),
    }
    cells = (tmp_path / "misclassified.csv").read_text("utf-8")
    assert "\x00" not in cells
    assert "\n=" not in cells
    assert ",=" not in cells
    assert json.loads((tmp_path / "error_analysis.json").read_text("utf-8"))["rows"] == num_rows
