"""How large a group of rows may be, and what to do about one that is larger."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.cleaning import shorten
from training.config import DataConfig
from training.errors import InputError
from training.groups import Indices, group_rows
from training.texts import Row

_LARGEST_SHARE_OF_TEXTS = 0.02
_LARGEST_SHARE_OF_ROWS = 0.1
_LARGEST_OF_FEW = 5
_THRESHOLD_STEPS = 20


def check_group_sizes(rows: Sequence[Row], groups: Indices, config: DataConfig) -> None:
    """Refuse a group that cannot be put on one side of a split without bending the class shares.

    Texts that differ in letters count once each, however many rows differ from them in digits,
    emoji or signs alone: short texts stand in real tables with every ending ("ok", "ok!!"). Rows
    have a limit of their own, which leaves about two such groups to each of test and validation.

    Args:
        rows: from which a split is drawn.
        groups: int64 [n].
        config: names the columns and the threshold.

    Raises:
        InputError: a group holds more than 2 % of the rows (and more than 5) in texts that differ
            in letters, or more than 10 % of the rows (and more than 5).
    """
    limits = _Limits.of(len(rows))
    too_large = limits.exceeded(rows, groups)
    if not len(too_large):
        return
    sizes = np.bincount(groups)
    largest = too_large[sizes[too_large].argmax()]
    members = [rows[place] for place in np.flatnonzero(groups == largest).tolist()]
    crowded = [rows[place] for place in np.flatnonzero(np.isin(groups, too_large)).tolist()]
    texts_alone = len({_told_by(row) for row in members}) > limits.texts
    limit = (
        f"{limits.texts} texts (2 %, at least {_LARGEST_OF_FEW})"
        if texts_alone
        else f"{limits.rows} rows (10 %, at least {_LARGEST_OF_FEW})"
    )
    raise InputError(
        f"{config.path}: {len(members)} of {len(rows)} kept rows are one group, such as row"
        f" {members[0].row} '{shorten(members[0].text)}', but a group must stay within {limit} to"
        f" fit in one split; {_what_would_part(members, crowded, limits, config)}"
    )


@dataclass(frozen=True)
class _Limits:
    """How large a group may be."""

    texts: int
    """That differ in letters."""
    rows: int

    @classmethod
    def of(cls, num_rows: int) -> "_Limits":
        shares = (_LARGEST_SHARE_OF_TEXTS, _LARGEST_SHARE_OF_ROWS)
        return cls(*(max(_LARGEST_OF_FEW, int(share * num_rows)) for share in shares))

    def exceeded(self, rows: Sequence[Row], groups: Indices) -> Indices:
        """The groups that are too large, int64."""
        if not rows:
            return np.zeros(0, dtype=np.int64)
        texts = {(group, _told_by(row)) for group, row in zip(groups.tolist(), rows, strict=True)}
        num_texts = np.bincount([group for group, _ in texts])
        return np.flatnonzero((num_texts > self.texts) | (np.bincount(groups) > self.rows))


def _told_by(row: Row) -> str | bytes:
    """What makes a row's text another than that of the rows in its group."""
    return row.folded or row.identity


def _what_would_part(
    members: Sequence[Row], crowded: Sequence[Row], limits: _Limits, config: DataConfig
) -> str:
    """What holds the largest group together, and what parts all those too large."""
    for key, count in Counter(row.key for row in members if row.key).most_common(1):
        of_key = [row for row in members if row.key == key]
        if len(limits.exceeded(of_key, np.zeros(count, dtype=np.int64))):
            return (
                f"{count} of them have {config.group_column} = '{shorten(key)}': drop some, or"
                " name another data.group_column"
            )
    for tried in _stricter(config.near_duplicate_threshold):
        # A stricter threshold joins nothing new, so only the rows of groups too large matter.
        changed = config.model_copy(update={"near_duplicate_threshold": tried})
        if not len(limits.exceeded(crowded, group_rows(crowded, changed))):
            return (
                "their texts are alike at data.near_duplicate_threshold"
                f" {config.near_duplicate_threshold:g}: try"
                f" {'null (only equal texts)' if tried is None else format(tried, 'g')}"
            )
    folds = Counter(row.folded for row in crowded if row.folded)
    count = max(folds.values(), default=0)
    if count > limits.rows:
        return (
            f"{count} differ only in digits, emoji or signs, which do not tell texts apart when"
            " splits are drawn: keep fewer of them, or write what tells them apart in letters"
        )
    return (
        f"rows of equal texts and rows of one {config.group_column} make a chain: drop the texts"
        " that many of them share, or name another data.group_column"
    )


def _stricter(threshold: float | None) -> list[float | None]:
    """The thresholds to try, the mildest first; none where near-duplicates make no link."""
    if threshold is None:
        return []
    first = int(threshold * _THRESHOLD_STEPS + 1e-9) + 1
    return [*(step / _THRESHOLD_STEPS for step in range(first, _THRESHOLD_STEPS + 1)), None]
