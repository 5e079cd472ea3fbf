"""Rows of the table as texts with labels: of one split, or held out for the final evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.folding import identity

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A usable row: `row` is its record number, `label` the place in `data.labels`."""

    row: int
    text: str
    folded: str
    identity: bytes
    """Of its drop key; rows of a fixed test part alone may share one."""
    label: int
    confidence: float
    """The labeller's, 0 to 1; NaN: the cell is empty; infinite: there is no confidence column."""
    key: str | None
    """Value of the group column."""
    split: str | None
    """Value of the split column, as one of `SPLITS`."""


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts of one split, in the order of their identities: the file's order changes nothing.

    An identity is a hash, so that the first rows are as good a sample as any.
    """

    rows: Indices
    """Record number of each text in the file, int64 [n]."""
    texts: list[str]
    """The texts as they stand in the file."""
    labels: Indices
    """Place of each label in `data.labels`, int64 [n]."""
    groups: Indices
    """Number of each row's group, int64 [n]; no group stands in two splits."""

    @classmethod
    def of_rows(cls, rows: Sequence[Row], groups: Indices) -> "LabelledTexts":
        """Of usable rows and their groups, int64 [n]."""
        return cls(
            rows=np.array([row.row for row in rows], dtype=np.int64),
            texts=[row.text for row in rows],
            labels=np.array([row.label for row in rows], dtype=np.int64),
            groups=groups,
        )

    def select(self, chosen: npt.NDArray[np.bool_]) -> "LabelledTexts":
        """The rows where `chosen` (bool [n]) is true."""
        places = np.flatnonzero(chosen)
        return LabelledTexts(
            rows=self.rows[places],
            texts=[self.texts[place] for place in places],
            labels=self.labels[places],
            groups=self.groups[places],
        )

    def merge(self, other: "LabelledTexts") -> "LabelledTexts":
        """These rows and the other's, in the order of their identities."""
        texts = self.texts + other.texts
        places = sorted(range(len(texts)), key=lambda place: identity(texts[place]))
        order = np.array(places, dtype=np.int64)
        return LabelledTexts(
            rows=np.concatenate([self.rows, other.rows])[order],
            texts=[texts[place] for place in places],
            labels=np.concatenate([self.labels, other.labels])[order],
            groups=np.concatenate([self.groups, other.groups])[order],
        )


@dataclass(frozen=True, kw_only=True)
class HeldOutTexts:
    """The test rows, and those that the confidence filter took from them."""

    test: LabelledTexts
    """Rows to test on."""
    confidences: Floats
    """The labeller's confidence of each test row, float64 [n]; NaN without a confidence column."""
    low_confidence: LabelledTexts
    """Rows of low confidence that the test would hold without the filter; no part of the test."""
    low_confidences: Floats
    """The labeller's confidence of each of them, float64 [m]; NaN where the cell is empty."""
