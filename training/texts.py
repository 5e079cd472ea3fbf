"""Texts with their labels: the rows of one split."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.folding import identity_of_text

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts of one split, in the order of their identities: the file's order changes nothing."""

    rows: Indices
    """Record number of each text in the file, int64 [n]."""
    texts: list[str]
    """The texts as they stand in the file."""
    labels: Indices
    """Place of each label in `data.labels`, int64 [n]."""
    groups: Indices
    """Number of each row's group, int64 [n]; no group stands in two splits."""

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
        places = sorted(range(len(texts)), key=lambda place: identity_of_text(texts[place]))
        order = np.array(places, dtype=np.int64)
        return LabelledTexts(
            rows=np.concatenate([self.rows, other.rows])[order],
            texts=[texts[place] for place in places],
            labels=np.concatenate([self.labels, other.labels])[order],
            groups=np.concatenate([self.groups, other.groups])[order],
        )
