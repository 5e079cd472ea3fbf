"""Texts that stand more than once: which of their rows is kept."""

import math
from collections.abc import Sequence
from itertools import groupby

from training.splits import SPLITS
from training.texts import Row

DUPLICATE = "duplicate"
CONFLICTING_LABELS = "conflicting labels"
DUPLICATE_OF_ANOTHER_SPLIT = "duplicate of another split"


def without_duplicates(rows: Sequence[Row]) -> tuple[list[Row], dict[int, str], float | None]:
    """Keep one row of each folded text, and none where its labels disagree.

    The row of the highest confidence is kept (one without confidence comes last), then of the
    smallest text; under fixed splits a row of the test before validation before train.

    Returns:
        Rows kept, by identity; {record number: reason} of the others; share of the texts standing
        more than once whose labels disagree, None where no text does.
    """
    kept: list[Row] = []
    reasons: dict[int, str] = {}
    num_repeated = num_conflicting = 0
    for _, standing in groupby(sorted(rows, key=_preference), key=lambda row: row.identity):
        first, *others = standing
        num_repeated += bool(others)
        if any(other.label != first.label for other in others):
            num_conflicting += 1
            reasons |= {row.row: CONFLICTING_LABELS for row in (first, *others)}
            continue
        kept.append(first)
        for other in others:
            same = other.split == first.split
            reasons[other.row] = DUPLICATE if same else DUPLICATE_OF_ANOTHER_SPLIT
    return kept, reasons, num_conflicting / num_repeated if num_repeated else None


def _preference(row: Row) -> tuple[bytes, int, float, str, str, int]:
    """Order in which the first of equal texts is kept; the record number comes last."""
    split = SPLITS.index(row.split) if row.split else 0
    # NaN has no place in an order.
    confidence = -math.inf if math.isnan(row.confidence) else row.confidence
    return row.identity, -split, -confidence, row.text, row.key or "", row.row
