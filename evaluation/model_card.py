"""The model card: README.md of the model directory, with the Hub's metadata block."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from evaluation.winner import Winner
from training.config import TINY
from training.options import to_yaml


def model_card(winner: Winner, report: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    configuration, data = winner.configuration, winner.record["data"]
    metadata: dict[str, Any] = {
        "language": ["jv", "id"],
        "pipeline_tag": "text-classification",
        "library_name": "transformers",
        "metrics": ["f1", "accuracy"],
    }
    if configuration.model.name != TINY and not Path(configuration.model.name).is_dir():
        metadata["base_model"] = configuration.model.name  # the Hub takes its own ids alone
    low, high = report["confidence_intervals"]["f1_macro"]
    low_accuracy, high_accuracy = report["confidence_intervals"]["accuracy"]
    per_class = "\n".join(
        f"| {_cell(name)} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} |"
        f" {row['support']} |"
        for name, row in report["per_class"].items()
    )
    return f"""---
{to_yaml(metadata)}---
# Severity of hate speech in Javanese text

{report["summary"]}

| metric | test | 95 % interval |
|---|---|---|
| macro-F1 | {report["f1_macro"]:.4f} | {low:.4f} to {high:.4f} |
| accuracy | {report["accuracy"]:.4f} | {low_accuracy:.4f} to {high_accuracy:.4f} |

| class | precision | recall | F1 | test rows |
|---|---|---|---|---|
{per_class}

## Data
{data["kept"]} of {data["rows"]} rows were kept; SHA-256 of the input file
{data["sha256"]}. The test rows were opened {len(report["test_openings"])} time(s). Labels of the
study come from a machine: scores are agreement with that labeller, not truth.

## Use and limits
Made to study and to triage; not to judge people without a human. It knows the language of its
training rows only, and its probabilities were not corrected after training.

## How to reproduce
`training_config.yaml` holds data, model and training values. The search was:
`{winner.record["command"]}`
"""


def _cell(text: str) -> str:
    return escape(" ".join(text.splitlines()), quote=False).replace("|", "\\|")
