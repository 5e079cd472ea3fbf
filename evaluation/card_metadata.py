"""The model card's metadata block, as the Hub reads it.

The keys are those of the Hub's specification, modelcard.md of huggingface/hub-docs.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.markdown import one_line
from evaluation.winner import Winner
from training.config import SAMPLE, TINY, DataConfig, WinningConfiguration

# A model of the Hub is a name, or a name under an owner.
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def card_metadata(winner: Winner, report: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata block as plain values."""
    configuration = winner.configuration
    study = has_study_labels(configuration)
    metadata: dict[str, Any] = {"language": ["jv", "id"]} if study else {}
    metadata["library_name"] = "transformers"
    metadata["pipeline_tag"] = "text-classification"
    metadata["tags"] = ["severity-search", *(["hate-speech", "javanese"] if study else [])]
    metadata["metrics"] = ["f1", "accuracy", "matthews_correlation"]
    name = configuration.model.name
    if name != TINY and _HUB_ID.fullmatch(name) and not Path(name).is_dir():
        metadata["base_model"] = name  # the Hub takes its own ids alone
    metadata["model-index"] = [
        {"name": one_line(winner.run.directory.name), "results": [_result(winner, report)]}
    ]
    return metadata


def has_study_labels(configuration: WinningConfiguration) -> bool:
    """Whether the labels are the study's, and with them language and task."""
    return bool(configuration.data.labels == DataConfig.model_fields["labels"].default)


def data_name(configuration: WinningConfiguration) -> str:
    """What the data are called: the file's name, without the folders of whoever trained."""
    path = configuration.data.path
    return "bundled sample" if path == SAMPLE else one_line(Path(path).name)


def _result(winner: Winner, report: Mapping[str, Any]) -> dict[str, Any]:
    """The test's scores; the interval stands in a metric's name, `args` being its settings."""
    intervals = report["confidence_intervals"]
    return {
        "task": {"type": "text-classification", "name": "Text Classification"},
        "dataset": {
            "type": "unknown",  # it is no data set of the Hub
            "name": data_name(winner.configuration),
            "split": "test",
            "args": {"sha256": winner.record["data"]["sha256"]},
        },
        "metrics": [
            {
                "type": "f1",
                "value": report["f1_macro"],
                "name": f"Macro-F1 ({_interval(intervals['f1_macro'])})",
                "args": {"average": "macro"},
            },
            {
                "type": "accuracy",
                "value": report["accuracy"],
                "name": f"Accuracy ({_interval(intervals['accuracy'])})",
            },
            {
                "type": "matthews_correlation",
                "value": report["matthews_correlation"],
                "name": "Matthews correlation",
            },
        ],
    }


def _interval(ends: list[float]) -> str:
    return f"95 % interval {ends[0]:.4f} to {ends[1]:.4f}"
