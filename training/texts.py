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
    """A usable row: `row` is its record number, `label` the index in `data.labels`."""

    row: int
    text: str
    folded: str
    identity: bytes
    """Hash of the drop key; only rows of a fixed test part may share one."""
    label: int
    confidence: float
    """The labeller's confidence, 0 to 1; NaN: empty cell; infinite: no confidence column."""
    key: str | None
    """Value of the group column."""
    split: str | None
    """Value of the split column, as one of `SPLITS`."""


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts of one split, in the order of their identities, whatever the order of the file.

    An identity is a hash, so the first rows are a random sample.
    """

    rows: Indices
    """Record number of each text in the file, int64 [n]."""
    texts: list[str]
    """The texts as they are in the file."""
    labels: Indices
    """Index of each label in `data.labels`, int64 [n]."""
    groups: Indices
    """Number of each row's group, int64 [n]; no group is in two splits."""

    @classmethod
    def of_rows(cls, rows: Sequence[Row], groups: Indices) -> "LabelledTexts":
        """Collect usable rows and their groups, int64 [n]."""
        return cls(
            rows=np.array([row.row for row in rows], dtype=np.int64),
            texts=[row.text for row in rows],
            labels=np.array([row.label for row in rows], dtype=np.int64),
            groups=groups,
        )

    def select(self, chosen: npt.NDArray[np.bool_]) -> "LabelledTexts":
        """Return the rows where `chosen` (bool [n]) is true."""
        indices = np.flatnonzero(chosen)
        return LabelledTexts(
            rows=self.rows[indices],
            texts=[self.texts[index] for index in indices],
            labels=self.labels[indices],
            groups=self.groups[indices],
        )

    def merge(self, other: "LabelledTexts") -> "LabelledTexts":
        """Return the rows of both, in the order of their identities."""
        texts = self.texts + other.texts
        indices = sorted(range(len(texts)), key=lambda index: identity(texts[index]))
        order = np.array(indices, dtype=np.int64)
        return LabelledTexts(
            rows=np.concatenate([self.rows, other.rows])[order],
            texts=[texts[index] for index in indices],
            labels=np.concatenate([self.labels, other.labels])[order],
            groups=np.concatenate([self.groups, other.groups])[order],
        )


@dataclass(frozen=True, kw_only=True)
class HeldOutTexts:
    """The test rows, and the rows that the confidence filter removed from the test part."""

    test: LabelledTexts
    """The test set."""
    confidences: Floats
    """The labeller's confidence of each test row, float64 [n]; NaN without a confidence column."""
    low_confidence: LabelledTexts
    """Low-confidence rows that would be test rows without the filter; evaluated apart."""
    low_confidences: Floats
    """The labeller's confidence of each of them, float64 [m]; NaN where the cell is empty."""
