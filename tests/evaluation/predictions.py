"""Answered rows of `evaluation.predict`, as its tests look at them."""

import pandas as pd
import pytest

LABELS = (
    *("Bukan Ujaran Kebencian", "Ujaran Kebencian - Ringan"),
    *("Ujaran Kebencian - Sedang", "Ujaran Kebencian - Berat"),
)
NEW = ["label", *(f"p_{label}" for label in LABELS), "error"]


def as_csv(rows):
    return pd.DataFrame(rows).to_csv(index=False)


def is_answered(row):
    chances = [float(row[name]) for name in NEW[1:-1]]
    assert sum(chances) == pytest.approx(1)
    assert row["label"] == LABELS[chances.index(max(chances))]
    assert row["error"] == ""


def is_refused(row, words):
    assert [row[name] for name in NEW[:-1]] == [""] * 5
    assert words in row["error"]
