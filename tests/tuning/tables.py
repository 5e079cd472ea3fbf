"""Write small tables of labelled texts for searches with `small_bert`."""

import csv
import random
from pathlib import Path
from typing import Any

LABELS = (
    "Bukan Ujaran Kebencian",
    "Ujaran Kebencian - Ringan",
    "Ujaran Kebencian - Sedang",
    "Ujaran Kebencian - Berat",
)
# Syllables whose letters the vocabulary of `small_bert` has, at the start of words and within.
FIRST = [consonant + vowel for consonant in "bdgkps" for vowel in "aeiou"]
LATER = [consonant + vowel for consonant in "dghklnrstw" for vowel in "aeiou"]

SMALL = [
    *("--model.max_length", "16", "--training.warmup_steps", "0"),
    *("--search.space", "{batch_size: {choice: [8]}}"),
]
"""Options that suit `small_bert` and a few rows."""


def rows(each: int = 20) -> list[dict[str, str]]:
    """Return rows of every class with distinct texts."""
    random_words = random.Random(0)
    return [
        {
            "text": " ".join(
                random_words.choice(FIRST) + "".join(random_words.sample(LATER, 2))
                for _ in range(8)
            ),
            "final_label": label,
            "confidence_score": "0.9",
            "error": "",
        }
        for label in LABELS
        for _ in range(each)
    ]


def table(directory: Path, *changes: dict[str, Any], drop: str = "", each: int = 20) -> str:
    """Write a CSV of valid rows, some changed or one column dropped; return its path."""
    written = rows(each)
    for row, change in zip(written, changes, strict=False):
        row.update(change)
    columns = [name for name in written[0] if name != drop]
    path = directory / "data.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(written)
    return str(path)
