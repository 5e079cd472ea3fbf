"""Check rows that `evaluation.predict` has written."""

import pandas as pd
import pytest

LABELS = (
    *("Bukan Ujaran Kebencian", "Ujaran Kebencian - Ringan"),
    *("Ujaran Kebencian - Sedang", "Ujaran Kebencian - Berat"),
)
NEW = ["label", *(f"p_{label}" for label in LABELS), "error"]


def as_csv(rows):
    return pd.DataFrame(rows).to_csv(index=False)


def assert_has_label(row):
    probabilities = [float(row[name]) for name in NEW[1:-1]]
    assert sum(probabilities) == pytest.approx(1)
    assert row["label"] == LABELS[probabilities.index(max(probabilities))]
    assert row["error"] == ""


def assert_has_error(row, words):
    assert [row[name] for name in NEW[:-1]] == [""] * 5
    assert words in row["error"]
