"""What a run records of its data."""

from dataclasses import asdict, dataclass
from typing import Any

RULES = 2
"""Number of the rules by which rows are dropped and held together.

1, which no record names: rows of equal folded texts were dropped, up to version 0.1.0. A split of
other rules may come out otherwise.
"""


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """What a run records of its data."""

    path: str
    """As configured."""
    sha256: str
    """Of the file's bytes."""
    rows: int
    """Records in the file."""
    kept: int
    """Records in a split."""
    dropped: dict[str, int]
    """{reason: records}."""
    class_counts: dict[str, dict[str, int]]
    """{split: {label: records}}."""
    duplicate_groups: int
    """Groups of more than one kept record (near-duplicates, or one value of the group column)."""
    label_noise: float | None
    """Share of the texts standing more than once whose labels disagree; None: no such text."""
    format: str
    """Of the table, in words: CSV separated by ';'."""
    notes: list[str]
    """What was read otherwise than it is written: a sentence each."""
    repeated_test_rows: int
    """Records of a test part fixed by the file whose text stands in it before: never dropped."""
    rows_seen: dict[str, int] | None
    """{split: records whose text the starting model was trained on}; None: it does not say."""
    rules: int = RULES
    """Number of the rules by which rows were dropped and held together."""

    @property
    def num_rows(self) -> dict[str, int]:
        """{split: records}."""
        return {split: sum(counts.values()) for split, counts in self.class_counts.items()}

    def as_record(self) -> dict[str, Any]:
        """The value of `data` in search.json."""
        return asdict(self)
