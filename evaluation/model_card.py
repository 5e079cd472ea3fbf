"""The model card: README.md of the model directory, with the Hub's metadata block."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.low_confidence import describe_low_confidence
from evaluation.markdown import cell, command, one_line, plain, sentence_start, table
from evaluation.scores import SCORE
from evaluation.winner import Winner
from results.environment import recorded_version
from results.score_names import CALIBRATION, OVERALL, TOO_FEW_ROWS, name_three_scores
from results.verdict import describe_seed_variation
from training.config import SAMPLE, TINY, DataConfig, WinningConfiguration
from training.options import to_yaml
from training.trained_on import TRAINED_ON

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
        "name": f"{label} ({_metadata_interval(report['confidence_intervals'][SCORE])})",
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
    interval = _metadata_interval(report["confidence_intervals"][_ACCURACY])
    return [
        {"type": _ACCURACY, "value": report[_ACCURACY], "name": f"Accuracy ({interval})"},
        {"type": _MATTHEWS, "value": report[_MATTHEWS], "name": "Matthews correlation"},
    ]


def _metadata_interval(ends: list[float]) -> str:
    return f"95 % interval {ends[0]:.4f} to {ends[1]:.4f}"


_STUDY_TITLE = "Severity of hate speech in Javanese text"

_USE = """\
Made to sort texts so that people look at the right ones first: every decision about a text, and
above all about its author, stays with a human who sees the context. Not for judging people, and
not for deleting or punishing without review.

- False positives are to be expected on reclaimed words, quotations, reports about hate speech,
  irony, and names of groups that were often insulted in the training rows.
- It knows the language, places and time of its training rows only. Words of abuse change: measure
  it again on fresh, human-labelled rows from where it is used, and from time to time after that.
- Classes are taken to be ordered as listed under "Per class"; training did not tell it so, and it
  may confuse distant ones. Errors by distance are in `error_analysis.json` of the evaluation.
- Probabilities were not recalibrated after training: see "Calibration" before setting a threshold.
- Rare classes have few test rows: read their intervals, not their values, and where the table says
  that the rows are too few, neither.
"""

_HOW_TO_USE = """\
```python
from transformers import pipeline

classify = pipeline("text-classification", model="DIR", truncation=True)
classify(["a text", "another"], top_k=None)
```
From the project that made it, a file at a time, every row answered:
```bash
python -m evaluation.predict --model DIR --input new.csv --output out.csv
```
`model.onnx`, where it is there, gives the same probabilities without PyTorch:
```python
import numpy as np, onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("DIR")
session = onnxruntime.InferenceSession("DIR/model.onnx")
batch = tokenizer(["a text"], return_tensors="np", padding=True, truncation=True)
wanted = {node.name for node in session.get_inputs()}
feed = {name: ids.astype(np.int64) for name, ids in batch.items() if name in wanted}
(logits,) = session.run(["logits"], feed)
```
"""


def model_card(winner: Winner, report: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        winner: of the search.
        report: content of evaluation_report.json.
    """
    sections = {
        "Test scores": _scores(report),
        "Per class": _per_class(report),
        "Search, confirmation and test": _three_scores(report),
        "Calibration": _calibration(report),
        "Data": _data(winner, report),
        "Intended use and limits": _USE,
        "How to use": _HOW_TO_USE,
        "How to reproduce": _reproduce(winner, report),
    }
    body = "\n".join(f"## {title}\n{content}" for title, content in sections.items())
    return (
        f"---\n{to_yaml(card_metadata(winner, report))}---\n{_opening(winner)}\n"
        f"{plain(report['summary'])}\n\n{body}"
    )


def _opening(winner: Winner) -> str:
    """Title and what it is; no language or task is claimed that the labels do not tell."""
    configuration = winner.configuration
    labels = configuration.data.labels
    study = has_study_labels(configuration)
    title = _STUDY_TITLE if study else f"Text classifier of {len(labels)} classes"
    names = ", ".join(plain(label) for label in labels)
    lines = (
        f"# {title}\n\n{_encoder(configuration.model.name)}, fine-tuned to give a text one of"
        f" {len(labels)} classes: {names}. Its hyperparameters were chosen by a search. It reads"
        f" at most {configuration.model.max_length} word pieces of a text.\n"
    )
    if configuration.data.path == SAMPLE:
        lines += "\nTrained on the bundled sample of made-up texts: a demonstration, not for use.\n"
    return lines


def _encoder(name: str) -> str:
    if name == TINY:
        return "A small BERT with random initial weights"
    return plain(Path(name).name if Path(name).is_dir() else name)


def _scores(report: Mapping[str, Any]) -> str:
    against = report["baseline"]
    rows = [
        [name, report[key], _interval(report, key), against[key]]
        for key, name in _overall(report["objective"]).items()
    ]
    method = report["method"]
    return (
        f"{table(['metric', 'test', '95 % interval', 'baseline'], rows)}\n"
        f"The baseline is {plain(against['name'])}, fitted on the same rows. An interval covers"
        f" {plain(method['intervals_cover'])}. {describe_seed_variation(report)}\n"
    )


def _overall(decided_by: Mapping[str, Any]) -> dict[str, str]:
    """Keys of the metrics of all classes, and their labels: what decided first, and once."""
    others = {
        key: label
        for key, label in OVERALL.items()
        if key != decided_by["name"] and label != decided_by["label"]
    }
    return {SCORE: decided_by["label"], **others}


def _per_class(report: Mapping[str, Any]) -> str:
    against, few = report["baseline"]["per_class"], report["method"]["few_rows"]
    rows = [
        [
            *(name, row["precision"], row["recall"], row["f1"]),
            _interval(report, f"f1 of {name}") + (f" ({TOO_FEW_ROWS})" if name in few else ""),
            *(against[name]["f1"], row["support"]),
        ]
        for name, row in report["per_class"].items()
    ]
    header = ["class", "precision", "recall", "F1", "95 % interval of F1", "F1 of the baseline"]
    return table([*header, "test rows"], rows)


def _three_scores(report: Mapping[str, Any]) -> str:
    search = report["search"]
    told = name_three_scores(search["search_score"], search["confirmed_score"], report[SCORE])
    rows = [[name, "none" if score is None else score, on] for name, score, on in told]
    return (
        f"{table(['score', report['objective']['label'], 'on'], rows)}\n"
        "What the first two are above the third is optimism of choosing by them, beside chance.\n"
    )


def _calibration(report: Mapping[str, Any]) -> str:
    found = report["calibration"]
    rows = [[name, found[key]] for key, name in CALIBRATION.items()]
    return table(["calibration on the test rows", "value"], rows)


def _data(winner: Winner, report: Mapping[str, Any]) -> str:
    data, config = winner.record["data"], winner.configuration.data
    dropped = ", ".join(f"{plain(why)} {n:,}" for why, n in data["dropped"].items() if n)
    counts = [
        [label, *(by_label[label] for by_label in data["class_counts"].values())]
        for label in config.labels
    ]
    confidence = (
        f" Rows whose {plain(config.confidence_column)} is below {config.min_confidence:g} were"
        " dropped, so the test rows are easier than all rows."
        if config.confidence_column
        else ""
    )
    return (
        f"From {plain(data_name(winner.configuration))}: {data['rows']:,} rows,"
        f" {data['kept']:,} kept, {data['rows'] - data['kept']:,} dropped"
        f" ({dropped or 'for no reason'}). Near-duplicates never stand in two splits.\n\n"
        f"{table(['class', *data['class_counts']], counts)}\n"
        f"Labels are the column {plain(config.label_column)}.{confidence}\n"
        f"{describe_low_confidence(report.get('low_confidence'))}"
        f"`{TRAINED_ON}` holds a hash of each text that this model was trained on, its starting"
        " model's among them, by which a search that starts from this model finds rows that it has"
        " seen. It is not for publishing: who has it can test whether a text was in.\n"
        "A score is agreement with whoever labelled the rows. The study's labels come from a"
        " machine: scores against such labels are agreement with the labeller, not truth.\n"
    )


def _reproduce(winner: Winner, report: Mapping[str, Any]) -> str:
    record, configuration = winner.record, winner.configuration
    environment = record["environment"]
    versions = {"Python": environment["python"], **environment["packages"]}
    retrain = report.get("retrain") or {}
    seeds = [
        ["split of the data", str(configuration.data.split_seed)],
        ["training", str(retrain.get("seed", configuration.training.seed))],
        ["intervals and test", str(report["method"]["seed"])],
    ]
    return (
        f"{command(record['command'])}then `python -m evaluation.final --run` on its directory."
        " `training_config.yaml` holds the values that this model was trained with.\n\n"
        f"- SHA-256 of the data: {plain(record['data']['sha256'])}\n"
        f"- Version of the program: {plain(recorded_version(record))}\n"
        f"- Commit: {plain(environment['commit'] or 'not known')}\n"
        f"{_rejected(retrain)}"
        f"- The test rows were opened {len(report['test_openings'])} time(s).\n\n"
        f"{table(['seed of', 'value'], seeds)}\n"
        f"{table(['package', 'version'], [[name, str(n)] for name, n in versions.items()])}"
    )


def _rejected(retrain: Mapping[str, Any]) -> str:
    """The attempts whose seed was not used, a line each."""
    return "".join(
        f"- An attempt was rejected before the test was opened: {plain(problem)}\n"
        for problem in retrain.get("rejected_attempts", [])
    )


def _interval(report: Mapping[str, Any], metric: str) -> str:
    ends = report["confidence_intervals"].get(metric)
    return f"{cell(ends[0])} to {cell(ends[1])}" if ends else ""
