"""The model card: README.md of the model directory, with the metadata block of the Hub."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from evaluation.markdown import cell, command, one_line, plain, sentence_start, table
from evaluation.predictions import describe_low_confidence
from evaluation.scores import SCORE
from evaluation.winner import Winner
from results.environment import recorded_version
from results.key_figures import key_figures
from results.recommendation import recommend
from results.score_names import (
    CALIBRATION,
    OVERALL,
    TOO_FEW_ROWS,
    describe_epochs,
    name_three_scores,
)
from results.trust import num_evaluations
from results.verdict import describe_seed_variation
from results.verdict_lines import describe_gates
from training.config import SAMPLE, STUDY_LABELS, TINY, WinningConfiguration
from training.trained_on import TRAINED_ON

# Metrics that have another name or settings on the Hub.
_HUB_METRICS: dict[str, tuple[str, dict[str, str] | None]] = {
    "mcc": ("matthews_correlation", None),
    "kappa_quadratic": ("cohen_kappa", {"weights": "quadratic"}),
}

# The id of a model on the Hub: a name, or an owner and a name.
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")

_STUDY_TITLE = "Severity of hate speech in Javanese text"

_USE_FOR_HATE_SPEECH = """\
This model sorts texts so that people can review the most important ones first. A human who knows
the context must make every decision about a text, and above all about its author. Do not use the
model to judge people, or to delete texts or punish authors without review.

- Expect false positives on reclaimed words, quotations, reports about hate speech, irony, and names
  of groups that were often insulted in the training rows.
- Abusive language changes faster than other language.
"""

_USE = """\
- The model knows only the language, regions and time of its training rows. Evaluate it on new rows,
  labelled by people and from where it is used, before its first use and regularly afterwards.
- Do not let it alone decide about people.
- The probabilities were not recalibrated after training: read "Calibration" before you choose a
  threshold.
- Rare classes have few test rows: read their intervals instead of their values. If the table marks
  a class as having too few rows, trust neither.
"""

_ORDER = """\
- The classes are ordered as listed under "Per class", but the training loss does not use the order,
  so the model may confuse classes that are far apart. `error_analysis.json` of the evaluation
  counts errors by the steps between label and prediction.
"""

_HOW_TO_USE = """\
```python
from transformers import pipeline

classify = pipeline("text-classification", model="DIR", truncation=True)
classify(["a text", "another"], top_k=None)
```
With the project that trained it, for every row of a file:
```bash
python -m evaluation.predict --model DIR --input new.csv --output out.csv
```
If `model.onnx` exists, it gives the same probabilities without PyTorch:
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
    """Return the card as Markdown.

    Args:
        winner: the winner of the search.
        report: content of evaluation_report.json.
    """
    sections = {
        "Test scores": _scores(report),
        "Per class": _per_class(report),
        "Search, confirmation and test": _three_scores(report),
        "Calibration": _calibration(report),
        "Data": _data(winner, report),
        "Intended use and limits": _intended_use(winner.configuration),
        "How to use": _HOW_TO_USE,
        "How to reproduce": _reproduce(winner, report),
    }
    body = "\n".join(f"## {title}\n{content}" for title, content in sections.items())
    return (
        f"---\n{card_metadata(winner, report).to_yaml()}\n---\n{_introduction(winner)}\n"
        f"{_verdict(winner, report)}\n{body}"
    )


def _verdict(winner: Winner, report: Mapping[str, Any]) -> str:
    """Return the verdict, its figures and what to do next, without commands and their paths."""
    found = recommend(winner.run, winner.record, report)
    figures: list[list[str | float]] = [
        [figure.name, figure.score, _ends(figure.interval), figure.origin]
        for figure in key_figures(winner.own_record, report)
    ]
    header = ["", report["objective"]["label"], "95 % interval", "measured"]
    steps = "".join(f"- {plain(step.text)}\n" for step in found.next_steps)
    rest = plain(found.sentence.removeprefix(found.words))
    notes = "".join(f"{plain(note)}\n\n" for note in found.notes)
    return (
        f"**{found.sign} {plain(found.words)}**{rest}\n\n{notes}{table(header, figures)}\n"
        f"What to do next:\n\n{steps}\n{plain(describe_gates(found, report))}\n"
    )


def _intended_use(configuration: WinningConfiguration) -> str:
    """Return use and limits; those of hate speech only for the study's labels."""
    of_study = _USE_FOR_HATE_SPEECH if _has_study_labels(configuration) else ""
    return of_study + _USE + (_ORDER if configuration.data.is_ordered else "")


def card_metadata(winner: Winner, report: Mapping[str, Any]) -> ModelCardData:
    """Return the metadata block of the card."""
    study = _has_study_labels(winner.configuration)
    results = _eval_results(winner, report)
    return ModelCardData(
        base_model=_base_model(winner.configuration.model.name),
        language=["jv", "id"] if study else None,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["severity-search", *(["hate-speech", "javanese"] if study else [])],
        metrics=[result.metric_type for result in results],
        model_name=one_line(winner.run.directory.name),
        eval_results=results,
    )


def _eval_results(winner: Winner, report: Mapping[str, Any]) -> list[EvalResult]:
    """Return the test scores; the Hub has no field for an interval, so the metric's name has it."""
    metrics: dict[str, tuple[str, str, dict[str, str] | None]] = {
        "accuracy": ("accuracy", "Accuracy", None),
        "matthews_correlation": ("matthews_correlation", "Matthews correlation", None),
    }
    kind, args = _hub_metric(report["objective"]["name"])
    metrics.pop(kind, None)
    label = sentence_start(report["objective"]["label"])
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Text Classification",
            dataset_type="unknown",  # the data set is not on the Hub
            dataset_name=_data_name(winner.configuration),
            dataset_split="test",
            dataset_args={"sha256": winner.record["data"]["sha256"]},
            metric_type=kind,
            metric_name=_with_interval(name, report["confidence_intervals"].get(key)),
            metric_value=report[key],
            metric_args=args,
        )
        for key, (kind, name, args) in {SCORE: (kind, label, args), **metrics}.items()
    ]


def _hub_metric(name: str) -> tuple[str, dict[str, str] | None]:
    """Return the Hub's type and settings of a metric: `f1_AVERAGE`, `f1:LABEL` or another name."""
    if name.startswith("f1:"):
        return "f1", {"label": one_line(name.removeprefix("f1:"))}
    if name.startswith("f1_"):
        return "f1", {"average": name.removeprefix("f1_")}
    return _HUB_METRICS.get(name, (name, None))


def _with_interval(name: str, ends: list[float] | None) -> str:
    return f"{name} (95 % interval {ends[0]:.4f} to {ends[1]:.4f})" if ends else name


def _base_model(name: str) -> str | None:
    """Return the id of the starting model if it is on the Hub, which accepts no other name."""
    is_on_hub = name != TINY and _HUB_ID.fullmatch(name) and not Path(name).is_dir()
    return name if is_on_hub else None


def _introduction(winner: Winner) -> str:
    """Return title and description; language and task are named only for the study's labels."""
    configuration = winner.configuration
    labels = configuration.data.label_names
    study = _has_study_labels(configuration)
    title = _STUDY_TITLE if study else f"Text classifier of {len(labels)} classes"
    names = ", ".join(plain(label) for label in labels)
    lines = (
        f"# {title}\n\n{_encoder(configuration.model.name)}, fine-tuned to classify a text as one"
        f" of {len(labels)} classes: {names}. A search chose its hyperparameters. The model reads"
        f" the first {configuration.model.max_length} tokens of a text.\n"
    )
    if configuration.data.path == SAMPLE:
        lines += (
            "\nThe model was trained on the bundled sample of invented texts: it is a demonstration"
            " and not for use.\n"
        )
    return lines


def _encoder(name: str) -> str:
    if name == TINY:
        return "A small BERT with random initial weights"
    return plain(Path(name).name if Path(name).is_dir() else name)


def _scores(report: Mapping[str, Any]) -> str:
    baseline = report["baseline"]
    rows = [
        [name, report[key], _interval(report, key), baseline[key]]
        for key, name in _overall(report["objective"]).items()
        if key in report  # labels without an order have no weighted kappa
    ]
    method = report["method"]
    return (
        f"{table(['metric', 'test', '95 % interval', 'baseline'], rows)}\n"
        f"The baseline is {plain(baseline['name'])}, trained on the same rows. The intervals"
        f" account for {plain(method['intervals_cover'])}. {describe_seed_variation(report)}\n"
    )


def _overall(decided_by: Mapping[str, Any]) -> dict[str, str]:
    """Return keys and labels of the metrics over all classes, the search's metric first."""
    others = {
        key: label
        for key, label in OVERALL.items()
        if key != decided_by["name"] and label != decided_by["label"]
    }
    return {SCORE: decided_by["label"], **others}


def _per_class(report: Mapping[str, Any]) -> str:
    baseline, few = report["baseline"]["per_class"], report["method"]["few_rows"]
    rows = [
        [
            *(name, row["precision"], row["recall"], row["f1"]),
            _interval(report, f"f1 of {name}") + (f" ({TOO_FEW_ROWS})" if name in few else ""),
            *(baseline[name]["f1"], row["support"]),
        ]
        for name, row in report["per_class"].items()
    ]
    header = ["class", "precision", "recall", "F1", "95 % interval of F1", "F1 of the baseline"]
    return table([*header, "test rows"], rows)


def _three_scores(report: Mapping[str, Any]) -> str:
    search = report["search"]
    taken = describe_epochs(search.get("search_epochs"), search.get("epochs"))
    scores = name_three_scores(
        search["search_score"], search["confirmed_score"], report[SCORE], taken=taken
    )
    rows = [[name, "none" if score is None else score, on] for name, score, on in scores]
    explained = (
        "A score that was used for a selection tends to be too high. The three also differ because"
        " search and confirmation evaluate on validation rows, after training on fewer rows."
    )
    if taken:
        explained += f" The search score was taken {taken}, so that it is not comparable."
    return f"{table(['score', report['objective']['label'], 'on'], rows)}\n{explained}\n"


def _calibration(report: Mapping[str, Any]) -> str:
    found = report["calibration"]
    rows = [[name, found[key]] for key, name in CALIBRATION.items()]
    return table(["calibration on the test rows", "value"], rows)


def _data(winner: Winner, report: Mapping[str, Any]) -> str:
    data, config = winner.record["data"], winner.configuration.data
    dropped = ", ".join(f"{plain(why)} {n:,}" for why, n in data["dropped"].items() if n)
    counts = [
        [label, *(by_label[label] for by_label in data["class_counts"].values())]
        for label in config.label_names
    ]
    confidence = (
        f" Rows whose {plain(config.confidence_column)} is below {config.min_confidence:g} were"
        " dropped, so the test rows are easier than an average row."
        if config.confidence_column
        else ""
    )
    return (
        f"From {plain(_data_name(winner.configuration))}: {data['rows']:,} rows,"
        f" {data['kept']:,} kept, {data['rows'] - data['kept']:,} dropped"
        f" ({dropped or 'none'}). Near-duplicates are always in the same split.\n\n"
        f"{table(['class', *data['class_counts']], counts)}\n"
        f"The labels are in the column {plain(str(config.label_column))}.{confidence}\n"
        f"{describe_low_confidence(report.get('low_confidence'))}"
        f"`{TRAINED_ON}` lists a hash of each text that this model and its starting model were"
        " trained on, so that a search which starts from this model can find rows that it has seen."
        " The file is not for publishing: with it anyone can test whether a text was among them.\n"
        f"A score measures agreement with the labeller of the rows.{_of_study(winner)}\n"
    )


def _of_study(winner: Winner) -> str:
    if not _has_study_labels(winner.configuration):
        return ""
    return (
        " The labels of the study were made by a machine, so scores on them are agreement with the"
        " labeller, not the truth."
    )


def _data_name(configuration: WinningConfiguration) -> str:
    """Return the name of the data file, without the private directories of its path."""
    path = configuration.data.path
    return "bundled sample" if path == SAMPLE else one_line(Path(path).name)


def _has_study_labels(configuration: WinningConfiguration) -> bool:
    """Return whether the labels are the study's, and so the language and the task."""
    return configuration.data.labels == STUDY_LABELS


def _reproduce(winner: Winner, report: Mapping[str, Any]) -> str:
    record, configuration = winner.record, winner.configuration
    environment = record["environment"]
    versions = {"Python": environment["python"], **environment["packages"]}
    retrain = report.get("retrain") or {}
    seeds = [
        ["split of the data", str(configuration.data.split_seed)],
        ["training", str(retrain.get("seed", configuration.training.seed))],
        ["intervals and significance test", str(report["method"]["seed"])],
    ]
    return (
        f"{command(record['command'])}Then run `python -m evaluation.final --run` on its directory."
        " `training_config.yaml` is the configuration that this model was trained with.\n\n"
        f"- SHA-256 of the data: {plain(record['data']['sha256'])}\n"
        f"- Version of the program: {plain(recorded_version(record))}\n"
        f"- Commit: {plain(environment['commit'] or 'not known')}\n"
        f"{_rejected(retrain)}"
        f"- Number of evaluations on the test set: {num_evaluations(report)}\n\n"
        f"{table(['seed of', 'value'], seeds)}\n"
        f"{table(['package', 'version'], [[name, str(n)] for name, n in versions.items()])}"
    )


def _rejected(retrain: Mapping[str, Any]) -> str:
    """Return one line for each retrain that the guard rejected."""
    return "".join(
        f"- A retrain was rejected before the evaluation on the test set: {plain(problem)}\n"
        for problem in retrain.get("rejected_attempts", [])
    )


def _interval(report: Mapping[str, Any], metric: str) -> str:
    return _ends(report["confidence_intervals"].get(metric))


def _ends(ends: Sequence[float] | None) -> str:
    return f"{cell(ends[0])} to {cell(ends[1])}" if ends else ""
