"""The model card's metadata block, as the Hub reads it.

The keys are those of the Hub's specification, modelcard.md of huggingface/hub-docs.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.markdown import one_line, sentence_start
from evaluation.scores import SCORE
from evaluation.winner import Winner
from training.config import SAMPLE, TINY, DataConfig, WinningConfiguration

_ACCURACY, _MATTHEWS = "accuracy", "matthews_correlation"

# What the Hub calls the metrics that it has another name for, and the settings of each.
_HUB_METRICS: dict[str, tuple[str, dict[str, str]]] = {
    "mcc": (_MATTHEWS, {}),
    "kappa_quadratic": ("cohen_kappa", {"weights": "quadratic"}),
}

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
    result = _result(winner, report)
    metadata["metrics"] = [metric["type"] for metric in result["metrics"]]
    name = configuration.model.name
    if name != TINY and _HUB_ID.fullmatch(name) and not Path(name).is_dir():
        metadata["base_model"] = name  # the Hub takes its own ids alone
    metadata["model-index"] = [{"name": one_line(winner.run.directory.name), "results": [result]}]
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
    score = _score(report)
    others = [metric for metric in _others(report) if metric["type"] != score["type"]]
    return {
        "task": {"type": "text-classification", "name": "Text Classification"},
        "dataset": {
            "type": "unknown",  # it is no data set of the Hub
            "name": data_name(winner.configuration),
            "split": "test",
            "args": {"sha256": winner.record["data"]["sha256"]},
        },
        "metrics": [score, *others],
    }


def _score(report: Mapping[str, Any]) -> dict[str, Any]:
    """What decided, as the Hub names it."""
    kind, settings = _hub_metric(report["objective"]["name"])
    label = sentence_start(report["objective"]["label"])
    metric = {
        "type": kind,
        "value": report[SCORE],
        "name": f"{label} ({_interval(report['confidence_intervals'][SCORE])})",
    }
    return {**metric, "args": settings} if settings else metric


def _hub_metric(name: str) -> tuple[str, dict[str, str]]:
    """Type and settings, after `search.metric`: `f1_AVERAGE`, `f1:LABEL` or a name."""
    if name.startswith("f1:"):
        return "f1", {"label": one_line(name.removeprefix("f1:"))}
    if name.startswith("f1_"):
        return "f1", {"average": name.removeprefix("f1_")}
    return _HUB_METRICS.get(name, (name, {}))


def _others(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    interval = _interval(report["confidence_intervals"][_ACCURACY])
    return [
        {"type": _ACCURACY, "value": report[_ACCURACY], "name": f"Accuracy ({interval})"},
        {"type": _MATTHEWS, "value": report[_MATTHEWS], "name": "Matthews correlation"},
    ]


def _interval(ends: list[float]) -> str:
    return f"95 % interval {ends[0]:.4f} to {ends[1]:.4f}"
