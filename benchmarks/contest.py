"""The data, model and configurations that every side of the throughput benchmark trains."""

import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from transformers import AutoTokenizer

from training.config import TINY
from training.metrics import class_weights
from training.model import load_tokenizer
from training.tokens import encode
from tuning.config import Configuration
from tuning.preparation import prepare_search
from tuning.start import build

LEARNING_RATES = (5e-4, 1e-3, 2e-3)
BATCH_SIZES = (16, 32)
CPU_THREADS = 1
"""Of a trial; as many trials run concurrently as there are cores."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Rows, model and configurations, all in one directory."""

    directory: Path
    epochs: int
    seed: int
    name: str
    """Of the model; `tiny`, or a directory whose weights are replaced by random ones."""
    with_asha: bool
    """Whether each side's ASHA stops weak trials early."""
    num_labels: int
    max_length: int
    class_weights: tuple[float, ...]
    warmup_share: float

    @property
    def trials(self) -> list[dict[str, float]]:
        """Return the searched parameters of each trial."""
        return [
            {"learning_rate": rate, "per_device_train_batch_size": size}
            for rate, size in product(LEARNING_RATES, BATCH_SIZES)
        ]

    @property
    def model(self) -> Path:
        """Return the directory of model configuration and tokenizer, for `from_pretrained`."""
        return self.directory / "model"

    def configuration(self) -> Configuration:
        """Return the same search as a configuration of `tuning.search`."""
        return _configuration(
            self.directory / "rows.csv", self.name, self.epochs, self.seed, self.with_asha
        )

    def rows(self, part: str) -> pd.DataFrame:
        """Read the columns `text` and `label` (a number) of `train` or `validation`."""
        return pd.read_json(self.directory / f"{part}.jsonl", lines=True)

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return the number of tokens of each training row."""
        tokenizer = AutoTokenizer.from_pretrained(self.model)
        texts = self.rows("train")["text"].tolist()
        return encode(tokenizer, texts, max_length=self.max_length).lengths

    def save(self, path: Path) -> None:
        """Write the contest to a file that `load` reads."""
        values = asdict(self) | {"directory": str(self.directory)}
        path.write_text(json.dumps(values), encoding="utf-8")


def load(path: Path) -> Contest:
    """Read a contest that `Contest.save` wrote."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    values["directory"] = Path(values["directory"])
    values["class_weights"] = tuple(values["class_weights"])
    return Contest(**values)


def make_contest(
    table: pd.DataFrame,
    directory: Path,
    *,
    epochs: int,
    seed: int,
    with_asha: bool,
    model: str = TINY,
) -> Contest:
    """Clean and split rows as a search does, learn the vocabulary, write all of it to files.

    Args:
        table: rows of the study's data set.
        directory: is created.
        epochs: passes of each trial.
        seed: of splits and trainings.
        with_asha: whether trials may be stopped early.
        model: `tiny`, or a directory.
    """
    directory.mkdir(parents=True)
    table.to_csv(directory / "rows.csv", index=False)
    configuration = _configuration(directory / "rows.csv", model, epochs, seed, with_asha)
    tokenizer_directory = directory / "model"
    prepared = prepare_search(
        configuration, tokenizer_directory=tokenizer_directory, num_threads=CPU_THREADS
    )
    prepared.default_encoder.prepared.encoder.config.save_pretrained(tokenizer_directory)
    load_tokenizer(configuration.model, tiny=tokenizer_directory).save_pretrained(
        tokenizer_directory
    )
    for part in (prepared.data.train, prepared.data.validation):
        name = "train" if part is prepared.data.train else "validation"
        rows = pd.DataFrame({"text": part.texts, "label": part.labels})
        rows.to_json(directory / f"{name}.jsonl", orient="records", lines=True)
    labels = prepared.configuration.data.label_names
    weights = class_weights(prepared.data.train.labels, len(labels), "balanced")
    return Contest(
        directory=directory,
        epochs=epochs,
        seed=seed,
        name=model,
        with_asha=with_asha,
        num_labels=len(labels),
        max_length=configuration.model.max_length,
        class_weights=tuple(map(float, weights)),
        warmup_share=configuration.training.warmup_steps,
    )


def _configuration(
    path: Path, model: str, epochs: int, seed: int, with_asha: bool
) -> Configuration:
    return build(
        {
            "data": {"path": str(path)},
            "model": {"name": model, "weights": "random"},
            "training": {
                "epochs": epochs,
                "learning_rate": LEARNING_RATES[0],
                "batch_size": BATCH_SIZES[0],
                "warmup_steps": 0.1,
                "seed": seed,
                "early_stopping_patience": epochs,  # that is, none
            },
            "search": {
                "algorithm": "grid",
                "scheduler": "asha" if with_asha else "none",
                "evaluations_per_epoch": 1,
                "grace_epochs": 1,
                "confirm_replicates": 0,
                "space": {
                    "learning_rate": {"choice": list(LEARNING_RATES)},
                    "batch_size": {"choice": list(BATCH_SIZES)},
                },
            },
            "cluster": {"cpus_per_trial": CPU_THREADS},
            "output": {"directory": str(path.parent / "runs"), "name": "contest"},
        }
    )
