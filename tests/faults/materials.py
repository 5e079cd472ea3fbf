"""Valid files to damage: a table in three formats, a configuration, a model and a run."""

import csv
import json
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from results.run import Run, create_run
from results.trial_states import SearchStatus
from tests.tuning.builders import configuration, files_of, live, trial
from training.data import prepare
from training.model_files import export_onnx
from training.options import to_yaml
from tuning.record import winning_configuration
from tuning.start import to_plain

LABELS = ("biasa", "entheng", "abot")
NUM_ROWS = 180
# Syllables that the vocabulary of `small_bert` has as tokens.
_FIRST = [consonant + vowel for consonant in "bdgkps" for vowel in "aeiou"]
_LATER = [consonant + vowel for consonant in "dghklnrstw" for vowel in "aeiou"]


@dataclass(frozen=True, kw_only=True)
class Materials:
    """Paths of the valid files; no test changes them."""

    directory: Path

    @property
    def configuration(self) -> Path:
        return self.directory / "mine.yaml"

    @property
    def model(self) -> Path:
        return self.directory / "model"

    @property
    def run(self) -> Path:
        return self.directory / "run"

    def table(self, suffix: str) -> Path:
        return self.directory / f"data{suffix}"

    def copy(self, source: Path, target: Path) -> Path:
        if source.is_dir():
            return Path(shutil.copytree(source, target / source.name))
        return Path(shutil.copy(source, target / source.name))


def make_materials(directory: Path, small_bert: Path) -> Materials:
    materials = Materials(directory=directory)
    _write_tables(materials)
    values = _values(materials)
    materials.configuration.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
    _write_run(materials, values)
    _write_model(materials, small_bert)
    return materials


def rows() -> list[dict[str, str]]:
    rng = random.Random(0)
    words = [rng.choice(_FIRST) + "".join(rng.sample(_LATER, 2)) for _ in range(400)]
    return [
        {
            "text": " ".join(rng.sample(words, 8)),
            "final_label": LABELS[number % 3],
            "confidence_score": f"{rng.uniform(0.6, 1):.2f}",
            "error": "failed" if number % 29 == 0 else "",
            "note": '"quoted", and\na line break' if number % 17 == 0 else str(number),
        }
        for number in range(NUM_ROWS)
    ]


def _write_tables(materials: Materials) -> None:
    written = rows()
    with materials.table(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(written[0]))
        writer.writeheader()
        writer.writerows(written)
    lines = (json.dumps(row) + "\n" for row in written)
    materials.table(".jsonl").write_text("".join(lines), encoding="utf-8")
    pd.DataFrame(written).to_parquet(materials.table(".parquet"))


def _values(materials: Materials) -> dict[str, Any]:
    """Return all fields of all sections, small enough for a dry run in a fraction of a second."""
    found = configuration(
        data={"path": str(materials.table(".csv")), "labels": list(LABELS)},
        model={"max_length": 16},
        training={"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "warmup_steps": 0},
        search={
            "trials": 3,
            "space": {
                "batch_size": {"choice": [8, 16]},
                "learning_rate": {"uniform": [1e-4, 1e-2]},
            },
        },
    )
    return to_plain(found)


def _write_run(materials: Materials, values: dict[str, Any]) -> Run:
    config = configuration(**values)
    data = prepare(config.data)
    run = create_run(materials.directory, "run")
    run.write_config(to_yaml(to_plain(config, with_name=False)))
    other = {"batch_size": 16, "learning_rate": 2e-3}
    trials = [
        trial(0, (100, 0.3), (200, 0.5), config=config, status="completed", fixed_rows_loss=0.7),
        trial(1, (100, 0.2), config=config, status="stopped", stopped_by="scheduler"),
        trial(2, (200, 0.6), config=config, status="completed", parameters=other),
    ]
    facts = {"data": data.summary.as_record(), "environment": {}, "command": "search"}
    files, policy = files_of(run, configuration=config, facts=facts)
    for one in trials:
        live(files, policy, replace(one, seconds=2.0))
    files.closed(SearchStatus.COMPLETED)
    assert yaml.safe_load(run.best.read_text("utf-8")) == winning_configuration(config, other)
    run.splits.write_text(data.assignment.to_csv(index=False), encoding="utf-8")
    run.test_openings.write_text(
        json.dumps(
            [
                {
                    "at": "2026-01-01T00:00:00+00:00",
                    "reason": "first access",
                    "directory": "final",
                    "model_sha256": "0" * 64,
                    "state": "complete",
                }
            ]
        )
    )
    run.log.parent.mkdir(exist_ok=True)
    run.log.write_text("one line\nanother\n")
    return run


def _write_model(materials: Materials, small_bert: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification, set_seed

    shutil.copytree(small_bert, materials.model)
    config = BertConfig.from_pretrained(materials.model)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {name: number for number, name in enumerate(LABELS)}
    set_seed(0)
    BertForSequenceClassification(config).save_pretrained(materials.model)
    shutil.copy(materials.run / "best.yaml", materials.model / "training_config.yaml")
    export_onnx(materials.model, materials.model)
