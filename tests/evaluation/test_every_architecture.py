"""Every architecture gives the same probabilities in three ways, or is refused before training.

A model of each architecture is prepared as in a search. Either it is refused with one error line,
or it is trained briefly, and PyTorch, transformers' pipeline and ONNX Runtime must give the same
probabilities from the saved directory, for single texts and in batches. The expected outcome of
each architecture is listed here and in training/README.md.
"""

import csv
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from transformers import pipeline

from evaluation.readiness import TOLERANCE, Probabilities
from tests.evaluation.conftest import read_csv, run_module
from tests.training.architectures import (
    ARCHITECTURES,
    LABELS,
    MAX_LENGTH,
    make_texts,
    save_architecture,
)
from training.classifier import Classifier, load
from training.errors import InputError, OnnxExportError
from training.finetune import Task, finetune
from training.inference import log_probabilities
from training.model_files import ONNX_FILE, write_model
from training.shipping import Shipment, check_shipping
from training.tokens import encode
from tuning.preparation import prepare_search
from tuning.shipping_check import shipments_of
from tuning.start import build

WORKS, NO_ONNX = "works", "works without model.onnx"
PADDING = "classifies a text of"
OUTCOMES = {
    **dict.fromkeys(("BERT", "DistilBERT", "ELECTRA", "SqueezeBERT"), WORKS),
    **dict.fromkeys(("ERNIE", "MPNet", "RoBERTa", "RoBERTa-PreLayerNorm", "I-BERT"), WORKS),
    **dict.fromkeys(("data2vec-text", "LUKE", "ModernBERT", "XLM-R", "CamemBERT"), WORKS),
    **dict.fromkeys(("ALBERT", "DeBERTa-v2", "RemBERT", "BigBird"), WORKS),
    **dict.fromkeys(("BERTweet", "PhoBERT", "GPT-2 with a padding token"), WORKS),
    "ConvBERT": PADDING,
    "MobileBERT": PADDING,
    "YOSO": PADDING,
    "FNet": PADDING,
    "Funnel": "classifies no row of 2 tokens",
    "CANINE": "classifies no row of 2 tokens",
    "Nyströmformer": "classifies no row of 2 tokens",
    "GPT-2": "has no padding token",
    "RemBERT without tokenizer.json": "gives other tokens once it is saved",
    "Longformer": NO_ONNX,
    "XLNet": NO_ONNX,
}
"""The outcome for each architecture, or a part of the error line that refuses it."""

NUM_TEXTS = 240
_IN_CI = ("BERTweet", "RoBERTa", "DeBERTa-v2", "Funnel", "FNet")
_ELSEWHERE = ARCHITECTURES.keys() - set(_IN_CI)

_UNLIKE = 0.02
"""Least range of a probability over the texts, below which agreement would mean nothing."""


def _cases() -> list[Any]:
    slow, long = pytest.mark.slow, pytest.mark.long
    return [
        *(pytest.param(name, marks=slow) for name in _IN_CI),
        *(pytest.param(name, marks=(slow, long)) for name in sorted(_ELSEWHERE)),
    ]


def _values(name: str, directory: Path) -> dict[str, Any]:
    """Values of a search with an architecture, on texts that it can learn from."""
    table = directory / "rows.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for text in make_texts(NUM_TEXTS):
            writer.writerow([text, LABELS[sum(map(ord, text[:2])) % len(LABELS)]])
    columns = {"text_column": "text", "label_column": "label", "labels": list(LABELS)}
    none = {"confidence_column": None, "error_column": None, "near_duplicate_threshold": None}
    source = save_architecture(name, directory / "source")
    return {
        "data": {"path": str(table), **columns, **none},
        "model": {"name": str(source), "max_length": MAX_LENGTH},
        "training": {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "warmup_steps": 0.1},
        "search": {"space": {"batch_size": {"choice": [8]}}},
    }


@pytest.mark.parametrize("name", _cases())
def test_an_architecture_gives_the_same_probabilities_everywhere_or_is_refused(
    name: str, tmp_path: Path
) -> None:
    configuration = build(_values(name, tmp_path))
    try:
        preparation = prepare_search(configuration, tokenizer_directory=tmp_path, num_threads=1)
        (shipment,) = shipments_of(configuration, preparation)
        warning = check_shipping(shipment, tmp_path)
    except InputError as error:
        (line,) = error.problems
        assert "\n" not in line
        assert line.startswith(("model.name", "model.max_length"))
        assert OUTCOMES[name] in line
        return
    assert OUTCOMES[name] == (NO_ONNX if warning else WORKS)
    assert warning.count("\n") == 0
    _assert_all_ways_agree(shipment, preparation.search_data.task(0), tmp_path / "model")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_tokenizer_in_python_alone_goes_through_search_final_and_predict(tmp_path: Path) -> None:
    values = _values("PhoBERT", tmp_path)
    values["search"] |= {"trials": 1, "confirm_replicates": 0, "scheduler": "none"}
    values["output"] = {"directory": str(tmp_path), "name": "run"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values), "utf-8")
    run = tmp_path / "run"
    for module, *arguments in (
        ("tuning.search", "--config", str(tmp_path / "mine.yaml")),
        ("evaluation.final", "--run", str(run), "--gates", "none"),
    ):
        ended = run_module(module, *arguments)
        assert ended.code == 0, ended.stdout + ended.stderr
    report = json.loads((run / "final" / "reports" / "evaluation_report.json").read_text("utf-8"))
    readiness = report["stages"]["readiness"]
    assert [name for name, check in readiness.items() if not check["met"]] == []
    answers = []
    for backend in ("torch", "onnx"):
        output = tmp_path / f"{backend}.csv"
        options = ("--input", values["data"]["path"], "--output", str(output))
        ended = run_module(
            "evaluation.predict", "--model", str(run / "final" / "model"), *options,
            *("--backend", backend),
        )  # fmt: skip
        assert ended.code == 0, ended.stdout + ended.stderr
        answers.append(read_csv(output))
    by_torch, by_onnx = answers
    assert len(by_torch) == len(by_onnx) == NUM_TEXTS
    for one, other in zip(by_torch, by_onnx, strict=True):
        assert not one["error"]
        for label in LABELS:
            assert float(one[f"p_{label}"]) == pytest.approx(float(other[f"p_{label}"]), abs=1e-4)


def test_every_architecture_has_an_expected_outcome_and_at_least_twenty_work() -> None:
    assert OUTCOMES.keys() == ARCHITECTURES.keys()
    assert list(OUTCOMES.values()).count(WORKS) >= 20


def _assert_all_ways_agree(shipment: Shipment, task: Task, directory: Path) -> None:
    configuration, tokenizer = shipment.configuration, shipment.tokenizer
    tuned = finetune(task, configuration.training, evaluate_at=[])
    texts = [*sorted(make_texts(16), key=len), "kalir " * 500, "\U0001f621", "ka"]
    expected = np.exp(
        log_probabilities(
            tuned.model,
            encode(tokenizer, texts, max_length=MAX_LENGTH),
            **{"batch_size": 4, "padding": task.tokenizer.padding},
        )
    )
    assert np.ptp(expected, axis=0).max() > _UNLIKE
    with suppress(OnnxExportError):  # then there is none to load
        write_model(directory, tuned.model, tokenizer, configuration, "safetensors")
    classifiers = {"PyTorch": load(directory)}
    if (directory / ONNX_FILE).exists():
        classifiers["ONNX"] = load(directory, "onnx")
    for way, classifier in classifiers.items():
        _assert_equal(classifier.probabilities(texts), expected, way)
        _assert_equal(_alone(classifier, texts), expected, f"{way}, alone")
    for rows in (1, 8):
        found = _by_pipeline(directory, texts, batch_size=rows)
        _assert_equal(found, expected, f"pipeline, {rows} at once")
    nothing = [classifier.probabilities([""]) for classifier in classifiers.values()]
    _assert_equal(nothing[0], nothing[-1], "an empty text")


def _assert_equal(found: Probabilities, expected: Probabilities, way: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE, err_msg=way)


def _alone(classifier: Classifier, texts: Sequence[str]) -> Probabilities:
    return np.concatenate([classifier.probabilities([text]) for text in texts])


def _by_pipeline(directory: Path, texts: Sequence[str], *, batch_size: int) -> Probabilities:
    classify: Any = pipeline("text-classification", model=str(directory), truncation=True)
    answers = classify(list(texts), top_k=None, batch_size=batch_size)
    scores = [{answer["label"]: answer["score"] for answer in row} for row in answers]
    return np.array([[row[label] for label in LABELS] for row in scores])
