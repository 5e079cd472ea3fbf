"""Builders of small tables, as data frames and as files, for the tests of the data."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from training.config import DataConfig
from training.data import prepare
from training.errors import InputError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
LABELS = ("biasa", "entheng", "abot")
WORD_LIST = (
    "aku kowe dheweke pasar sawah kali gunung segara wengi awan mangan turu mlaku mlayu bodho"
    " pinter seneng susah"
)
WORDS = np.array(WORD_LIST.split())


def table_of(num_rows: int = 120, *, seed: int = 0) -> pd.DataFrame:
    """Make distinct texts of three classes, 6:3:1, every cell as text."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, 12)) for _ in range(num_rows)]
    labels = [LABELS[0 if row % 10 < 6 else 1 if row % 10 < 9 else 2] for row in range(num_rows)]
    return pd.DataFrame(
        {"text": texts, "final_label": labels, "confidence_score": "0.9", "error": ""}
    )


def configured(folder: Path, table: pd.DataFrame, **settings: Any) -> DataConfig:
    path = folder / "data.csv"
    table.to_csv(path, index=False)
    return DataConfig(path=str(path), labels=LABELS, **settings)


def problems_of(config: DataConfig) -> list[str]:
    with pytest.raises(InputError) as caught:
        prepare(config)
    lines = list(caught.value.problems)
    assert all("\n" not in line and line.startswith(config.path) for line in lines)
    return lines


def fixed_table() -> pd.DataFrame:
    names = ["train"] * 6 + [" VAL "] + ["Test"] * 3
    table = table_of(150)
    return table.assign(part=[names[row // 10 % 10] for row in range(150)])


def messy_table() -> pd.DataFrame:
    table = table_of(200)
    texts = table["text"]
    repeated = table.iloc[:8].assign(text=[f"@budi {text.upper()}" for text in texts[:8]])
    repeated.loc[0:2, "final_label"] = "abot"
    repeated["confidence_score"] = ["0.95", "0.9"] * 4
    signs = table.iloc[40:48].assign(
        text=[f"RT {text} {n}/5 😂" for n, text in enumerate(texts[40:48])]
    )
    near = table.iloc[20:30].assign(text=[f"{text} ya" for text in texts[20:30]])
    emoji = table.iloc[[0, 6, 9]].assign(text=["😂", "😢😢", "USER"])
    return pd.concat([table, repeated, signs, near, emoji], ignore_index=True)
