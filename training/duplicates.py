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
    """Keep one row of each drop key, and none where its labels disagree.

    The row of the highest confidence is kept (one without confidence comes last), then of the
    smallest text; under fixed splits a row of validation before train. Rows that the file gives to
    the test all stay, whatever their labels: it is for its maker to say what is tested. A text that
    stands among them is dropped elsewhere.

    Returns:
        Rows kept, by identity, label, confidence and text; {record number: reason} of the others;
        share of the texts standing more than once whose labels disagree, None where no text does.
    """
    kept: list[Row] = []
    reasons: dict[int, str] = {}
    num_repeated = num_conflicting = 0
    for _, standing in groupby(sorted(rows, key=_order), key=lambda row: row.identity):
        alike = list(standing)
        agree = len({row.label for row in alike}) == 1
        num_repeated += len(alike) > 1
        num_conflicting += not agree
        stay = [row for row in alike if row.split == "test"] or alike[:agree]
        kept += stay
        for row in alike[len(stay) :]:
            if not agree:
                reasons[row.row] = CONFLICTING_LABELS
            else:
                same = row.split == stay[0].split
                reasons[row.row] = DUPLICATE if same else DUPLICATE_OF_ANOTHER_SPLIT
    return kept, reasons, num_conflicting / num_repeated if num_repeated else None


def _order(row: Row) -> tuple[bytes, int, int, float, str, str, int]:
    """The first of equal texts is kept; of rows that nothing tells apart the number decides."""
    split = SPLITS.index(row.split) if row.split else 0
    # NaN has no place in an order.
    confidence = -math.inf if math.isnan(row.confidence) else row.confidence
    return row.identity, -split, row.label, -confidence, row.text, row.key or "", row.row
