"""Writes what a final evaluation leaves: the model directory and the reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.error_analysis import analyse_errors
from evaluation.tables import classification_text, write_misclassified, write_predictions
from evaluation.winner import WinningConfiguration
from results.files import write_json, write_text
from results.plots import plot_confusion_matrix, plot_training_curves
from training.options import to_yaml
from training.texts import LabelledTexts

Weights = Literal["safetensors", "bin"]


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """What the model and the baseline said of the test rows."""

    __test__ = False  # the name is about test rows, not for pytest

    test: LabelledTexts
    probabilities: npt.NDArray[np.float64]
    """[rows, num_labels]."""
    baseline_predictions: npt.NDArray[np.int64]
    """[rows]."""

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """The most probable class of each row, int64 [rows]."""
        predictions: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return predictions


def write_reports(
    directory: Path,
    result: TestResult,
    report: Mapping[str, Any],
    names: Sequence[str],
    curves: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]],
) -> None:
    """Write `evaluation_report.json`, then tables and pictures.

    Args:
        directory: `final/reports`.
        result: of the test rows.
        report: content of `evaluation_report.json`.
        names: label names in the order of their codes.
        curves: the winner's in the search, and the retrain's.
    """
    test, predictions = result.test, result.predictions
    write_json(directory / "evaluation_report.json", report)
    write_predictions(
        directory / "predictions.csv",
        rows=test.rows,
        labels=test.labels,
        predictions=predictions,
        baseline_predictions=result.baseline_predictions,
        groups=test.groups,
        probabilities=result.probabilities,
        names=names,
    )
    write_misclassified(
        directory / "misclassified.csv",
        rows=test.rows,
        texts=test.texts,
        labels=test.labels,
        predictions=predictions,
        probabilities=result.probabilities,
        names=names,
    )
    analysis = analyse_errors(
        texts=test.texts,
        labels=test.labels,
        predictions=predictions,
        probabilities=result.probabilities,
        names=names,
    )
    write_json(directory / "error_analysis.json", analysis)
    text = classification_text(test.labels, predictions, names)
    write_text(directory / "classification_report.txt", text)
    plot_confusion_matrix(directory / "confusion_matrix.png", report["confusion_matrix"], names)
    plot_training_curves(
        directory / "training_curves.png", search_curve=curves[0], final_curve=curves[1]
    )


def write_model(
    directory: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    configuration: WinningConfiguration,
    weights: Weights,
) -> None:
    """Write a directory that `transformers.pipeline("text-classification")` opens.

    Args:
        directory: `final/model`, made if it is not there.
        model: float32, on any device.
        tokenizer: saved with `max_length` as its longest input.
        configuration: what the model was trained with, saved as `training_config.yaml`.
        weights: `safetensors`, or also `bin` for `pytorch_model.bin`.
    """
    tokenizer.model_max_length = configuration.model.max_length
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    if weights == "bin":
        weights_on_cpu = {name: value.cpu() for name, value in model.state_dict().items()}
        torch.save(weights_on_cpu, directory / "pytorch_model.bin")
    write_text(directory / "training_config.yaml", to_yaml(configuration.model_dump(mode="json")))
