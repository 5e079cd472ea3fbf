"""A small copy of the final model is checked before a search; what differs is one error line."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, pipeline

from tests.training.models import LABELS, NOWHERE, configured, edit
from training import shipping
from training.classifier import load
from training.config import DataConfig, TrainingConfig, WinningConfiguration
from training.encoder import read_encoder
from training.errors import InputError, OnnxExportError
from training.model import facts_of, load_tokenizer
from training.model_files import write_model
from training.shipping import Shipment, check_all, check_shipping

TEXTS = ("bodho", "aku kowe", "pasar sawah kali gunung")
ROOT = Path(__file__).parents[2]


def _shipment(directory: Path, **settings: Any) -> Shipment:
    model = configured(directory, **settings)
    tokenizer = load_tokenizer(model, tiny=NOWHERE)
    encoder = read_encoder(model, labels=LABELS, tokenizer=facts_of(tokenizer))
    return Shipment(
        config=encoder.config,
        tokenizer=tokenizer,
        configuration=WinningConfiguration(
            data=DataConfig(path="rows.csv", labels=LABELS),
            model=model,
            training=TrainingConfig(),
        ),
        texts=TEXTS,
    )


@pytest.fixture
def shipment(bert: Path) -> Shipment:
    return _shipment(bert)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory


@pytest.fixture
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the export, which takes seconds and is not what is asked about."""

    def refuse(source: Path, _: Path) -> None:
        raise OnnxExportError(f"{source}: the model cannot be exported to ONNX (not attempted)")

    monkeypatch.setattr("training.model_files.export_onnx", refuse)


def _problem(shipment: Shipment, run: Path) -> str:
    with pytest.raises(InputError) as caught:
        check_shipping(shipment, run)
    (line,) = caught.value.problems
    assert line.startswith("model.name: ")
    assert "\n" not in line
    return line


def test_a_plain_encoder_passes_leaves_nothing_and_uses_no_generator_of_the_encoder(
    shipment: Shipment, run: Path
) -> None:
    before = shipment.config.to_dict()
    assert check_shipping(shipment, run) == ""
    assert list(run.iterdir()) == []
    assert shipment.config.to_dict() == before


@pytest.mark.usefixtures("no_onnx")
def test_what_cannot_be_written_as_onnx_is_a_warning(shipment: Shipment, run: Path) -> None:
    warning = check_shipping(shipment, run)
    assert warning.startswith("the search's model will have no model.onnx: the model cannot be")
    assert str(run) not in warning


@pytest.mark.usefixtures("no_onnx")
def test_a_directory_that_cannot_be_written_is_the_environments(
    shipment: Shipment, run: Path
) -> None:
    run.rmdir()
    with pytest.raises(OSError, match="No such file") as caught:
        check_shipping(shipment, run)
    assert not isinstance(caught.value, InputError)


@pytest.mark.usefixtures("no_onnx")
def test_a_pipeline_that_answers_otherwise_is_refused(shipment: Shipment, run: Path) -> None:
    shipment.config.problem_type = "multi_label_classification"
    line = _problem(shipment, run)
    assert (
        "classifies differently in transformers' pipeline than in training (probability 0." in line
    )


@pytest.mark.usefixtures("no_onnx")
def test_a_model_that_loads_as_another_one_is_refused(
    shipment: Shipment, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(directory: Path, model: torch.nn.Module, *others: Any) -> None:
        with torch.no_grad():
            model.classifier.bias.add_(torch.tensor([1.0, 0.0, 0.0]))
        write_model(directory, model, *others)  # type: ignore[arg-type]  # a model of transformers

    monkeypatch.setattr(shipping, "write_model", write)
    assert "classifies differently after it is saved and loaded" in _problem(shipment, run)


def test_a_tokenizer_that_cannot_be_saved_is_refused(
    shipment: Shipment, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no way to save it")

    monkeypatch.setattr(type(shipment.tokenizer), "save_pretrained", save)
    assert "cannot be saved (NotImplementedError: no way to save it)" in _problem(shipment, run)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("bert", {"num_hidden_layers": 12, "num_attention_heads": 12, "hidden_size": 96}),
        ("distilbert", {"n_layers": 6, "n_heads": 4, "dim": 64}),
        ("gpt2", {"n_layer": 6, "n_head": 4, "n_embd": 64}),
        ("deberta-v2", {"num_hidden_layers": 6, "num_attention_heads": 4, "hidden_size": 64}),
        ("modernbert", {"num_hidden_layers": 6, "num_attention_heads": 4, "hidden_size": 64}),
        ("longformer", {"num_hidden_layers": 6, "num_attention_heads": 4, "hidden_size": 64}),
        ("albert", {"num_hidden_layers": 6, "num_attention_heads": 4, "hidden_size": 64}),
        ("funnel", {"block_sizes": [4, 4], "d_model": 64, "n_head": 4}),
    ],
)
def test_the_copy_is_small_whatever_the_architecture_calls_its_sizes(
    bert: Path, kind: str, sizes: dict[str, Any]
) -> None:
    shipment = _shipment(bert)
    vocab_size = shipment.config.vocab_size
    config: PreTrainedConfig = AutoConfig.for_model(
        kind, vocab_size=vocab_size, pad_token_id=0, **sizes
    )
    whole = AutoModelForSequenceClassification.from_config(config)
    other = Shipment(**(vars(shipment) | {"config": config}))
    copy, tokens, texts = shipping._small_model(other, 16)
    assert copy.config.vocab_size == vocab_size
    assert len(tokens) == len(texts) == len(TEXTS) + 1
    assert copy.num_parameters() < 0.6 * whole.num_parameters()


@pytest.mark.usefixtures("no_onnx")
def test_inputs_that_training_did_not_give_are_not_given_by_what_ships(
    bert: Path, tmp_path: Path
) -> None:
    path = bert / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"model_input_names": ["input_ids", "token_type_ids"]}
    path.write_text(json.dumps(settings))
    shipment = _shipment(bert)
    built = AutoModelForSequenceClassification.from_config(shipment.config)
    with pytest.raises(OnnxExportError):
        write_model(
            tmp_path / "model", built, shipment.tokenizer, shipment.configuration, "safetensors"
        )
    saved = load_tokenizer(configured(tmp_path / "model"), tiny=NOWHERE)
    assert saved.model_input_names == ["input_ids", "attention_mask", "token_type_ids"]
    classify = pipeline("text-classification", str(tmp_path / "model"), truncation=True)
    answers = classify(list(TEXTS), top_k=None, batch_size=3)
    ours = load(tmp_path / "model").probabilities(TEXTS)
    for row, scores in enumerate(answers):
        found = {answer["label"]: answer["score"] for answer in scores}
        assert [found[name] for name in LABELS] == pytest.approx(ours[row].tolist(), abs=1e-4)


@pytest.mark.usefixtures("no_onnx")
def test_kinds_of_tokens_that_training_did_not_give_are_left_out(
    bert: Path, tmp_path: Path
) -> None:
    path = bert / "tokenizer.json"
    backend = json.loads(path.read_text())
    for part in backend["post_processor"]["single"]:
        next(iter(part.values()))["type_id"] = 1
    path.write_text(json.dumps(backend))
    edit_names = bert / "tokenizer_config.json"
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    edit_names.write_text(json.dumps(json.loads(edit_names.read_text()) | names))
    edit(bert, type_vocab_size=2)
    (tmp_path / "run").mkdir()
    assert "no model.onnx" in check_shipping(_shipment(bert), tmp_path / "run")


@pytest.mark.slow
def test_the_process_prints_what_was_found(bert: Path, tmp_path: Path) -> None:
    shipment = _shipment(bert)
    shipment.config.problem_type = "multi_label_classification"
    job = tmp_path / "job"
    printed = []
    for directory in (tmp_path, tmp_path / "not-there"):
        job.write_bytes(pickle.dumps(([shipment], directory)))
        done = subprocess.run(
            [sys.executable, "-m", "training.shipping"],
            **{"cwd": ROOT, "input": f"{job}\n", "capture_output": True, "text": True},
        )
        assert done.returncode == 0, done.stderr
        printed.append(json.loads(done.stdout.splitlines()[-1]))
    (problem,) = printed[0]["problems"]
    assert "classifies differently in transformers' pipeline" in problem
    assert "No such file or directory: " in printed[1]["environment"]


@pytest.mark.usefixtures("no_onnx")
def test_each_encoder_is_checked_and_all_that_cannot_be_shipped_are_named(
    bert: Path, run: Path
) -> None:
    names = [f"{bert}-{number}" for number in range(3)]
    shipments = [_shipment(Path(shutil.copytree(bert, name))) for name in names]
    warned = check_all(shipments, run)
    assert [line.partition(": ")[0] for line in warned] == [repr(name) for name in names]
    for spoilt in (shipments[0], shipments[2]):
        spoilt.config.problem_type = "multi_label_classification"
    with pytest.raises(InputError) as caught:
        check_all(shipments, run)
    for line, name in zip(caught.value.problems, (names[0], names[2]), strict=True):
        assert line.startswith(f"model.name: {name!r} classifies differently")
    assert list(run.iterdir()) == []
