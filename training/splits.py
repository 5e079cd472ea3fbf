"""Choose the held-out rows: stratified by class, whole groups, decided by the seed alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from training.config import DataConfig
from training.folding import drop_key
from training.near_duplicates import group_texts
from training.texts import Floats, Indices, Row

Mask = npt.NDArray[np.bool_]

SPLITS = ("train", "validation", "test")
"""All splits; a text or group that is in several belongs to the last of them."""

_TOLERANCE = 0.01
_ATTEMPTS = 16
_ROUNDING = 1e-12
_SWAPPED = 100
_LOW_CONFIDENCE = "low confidence"


def choose_held_out(
    identities: Sequence[bytes],
    groups: Indices,
    labels: Indices,
    *,
    share: float,
    seed: int,
    purpose: str = "test",
    sides: Indices | None = None,
) -> Mask:
    """Choose the rows to hold out: whole groups, stratified by class.

    Each group of several rows is held out with probability `share`, whatever its size, decided by
    the hash of its smallest identity and the seed; rows without a group then fill the quota of
    their class in the order of their hashes. Where they cannot, groups change sides in the order of
    their hashes, each time one that brings the classes nearer to their shares. Of up to 16 such
    attempts the first is taken in which every class is within one percentage point of its share,
    else the nearest. The result depends on the set of (identity, group, label), `share`, `seed` and
    `purpose`, but not on the order of the rows or the numbers of the groups. A class of two rows or
    more has a quota of at least one row on each side.

    Args:
        identities: hash of each of n rows' drop key; no two alike.
        groups: int64 [n]; rows with equal numbers stay together.
        labels: int64 [n].
        share: part of each class to hold out, between 0 and 1.
        seed: of the choice.
        purpose: choices for different purposes are independent under the same seed.
        sides: int64 [n], what is decided before: 1, the row is held out; -1, it is not; 0, it is
            free. Groups follow their decided rows, which are all on one side; the free ones are
            chosen so that all rows together come as near to the shares as they can. None: all rows
            are free.

    Returns:
        bool [n], True where a row is held out.
    """
    if not len(identities):
        return np.zeros(0, dtype=np.bool_)
    _, label = np.unique(labels, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group)
    side = np.zeros(len(sizes), dtype=np.int64)
    if sides is not None:
        np.add.at(side, group, sides)
    held = side[group] > 0
    alone = (sizes[group] == 1) & (side[group] == 0)
    target = _Target(
        share=share,
        class_counts=np.bincount(label),
        alone_counts=np.bincount(label[alone], minlength=label.max() + 1),
        held_counts=np.bincount(label[held], minlength=label.max() + 1),
        num_free=int(np.count_nonzero(side[group] == 0)),
    )
    shared = np.flatnonzero((sizes > 1) & (side == 0))
    held_groups = _choose_groups(
        _group_names(identities, group, shared),
        _class_counts(group, label, len(sizes))[shared],
        target,
        key=f"{purpose}/{seed}",
    )
    held |= np.isin(group, shared[held_groups])
    values = _uniform(identities, f"{purpose}/{seed}/rows")
    for number, quota in enumerate(target.quota):
        free = np.flatnonzero(alone & (label == number))
        missing = max(0, quota - np.count_nonzero(held & (label == number)))
        held[free[np.argsort(values[free], kind="stable")][:missing]] = True
    return held


def in_last_split(splits: Sequence[str], groups: Indices) -> Mask:
    """Return which rows of a fixed split are in the last split of their group, bool [n].

    If only these are kept, no group is in two splits and no test row is lost.
    """
    ranks = np.array([SPLITS.index(split) for split in splits], dtype=np.int64)
    last = np.zeros(groups.max() + 1, dtype=np.int64)
    np.maximum.at(last, groups, ranks)
    return np.asarray(ranks == last[groups], dtype=np.bool_)


def choose_low_confidence(
    low: Sequence[Row],
    kept: Sequence[Row],
    groups: Indices,
    is_test: Mask,
    config: DataConfig,
) -> tuple[list[Row], Indices]:
    """Choose the low-confidence rows to evaluate beside the test set, in the same way as that.

    Group the low-confidence rows together with the kept ones, whose split does not change. A
    low-confidence row is left out if its group has a row of train or validation, since the model
    learnt from a similar text; it is chosen if its group has only test rows. Of the other rows,
    choose whole groups as for the test, with the same share and seed. Where the file fixes the
    split, choose only among the rows that it assigns to the test.

    Args:
        low: rows dropped for low confidence alone (an empty confidence counts as low) whose label
            is known; with distinct drop keys unless the file fixes the split.
        kept: rows of train, validation and test.
        groups: int64 [kept], the groups that the split kept whole.
        is_test: bool [kept].
        config: of the split.

    Returns:
        The rows, in the order of `low`, and their groups, int64 [rows]: that of the test rows
        in their group, else a number that no kept row has.
    """
    if not low:
        return [], np.zeros(0, dtype=np.int64)
    rows = [*kept, *low]
    # A text without letters is compared by its drop key.
    component = group_texts(
        [row.folded or drop_key(row.text) for row in rows],
        [row.key for row in rows],
        threshold=config.near_duplicate_threshold,
        seed=config.split_seed,
    )
    of_kept, of_low = component[: len(kept)], component[len(kept) :]
    learnt = np.isin(of_low, of_kept[~is_test])
    if config.split_column is not None:
        wanted = np.array([row.split == "test" for row in low])
    else:
        wanted = np.isin(of_low, of_kept)
        free = np.flatnonzero(~wanted)
        candidates = [low[index] for index in free.tolist()]
        wanted[free] = choose_held_out(
            [row.identity for row in candidates],
            of_low[free],
            np.array([row.label for row in candidates], dtype=np.int64),
            share=config.test_size,
            seed=config.split_seed,
            purpose=_LOW_CONFIDENCE,
        )
    chosen = np.flatnonzero(wanted & ~learnt)
    number = groups.max() + 1 + np.arange(component.max() + 1)
    np.minimum.at(number, of_kept, groups)
    return [low[index] for index in chosen.tolist()], number[of_low[chosen]]


@dataclass(frozen=True, kw_only=True)
class _Target:
    """How many rows of each class to hold out; arrays are int64 [classes]."""

    share: float
    class_counts: Indices
    alone_counts: Indices
    """Free rows without a group, which can fill a quota one by one."""
    held_counts: Indices
    """Rows that are held out in any case."""
    num_free: int
    """Rows whose side is not decided before."""

    @cached_property
    def quota(self) -> Indices:
        """The nearest whole number of rows; with two rows or more at least one on each side."""
        nearest = np.floor(self.share * self.class_counts + 0.5).astype(np.int64)
        within = np.clip(nearest, 1, np.maximum(self.class_counts - 1, 1))
        return np.asarray(np.where(self.class_counts >= 2, within, nearest), dtype=np.int64)

    def errors(self, held: Indices) -> Floats:
        """Return the distance of each class from its share, relative to its size: [..., classes].

        `held` counts the held-out rows of free groups; rows without a group then fill the quota.
        """
        held = held + self.held_counts
        return self._distance(np.clip(self.quota, held, held + self.alone_counts))

    @cached_property
    def allowed(self) -> Floats:
        """The allowed distance: one percentage point, or the rounding error of a small class."""
        return np.maximum(_TOLERANCE, self._distance(self.quota))

    @property
    def share_of_free(self) -> float:
        """The part of the free rows to hold out, so that all rows together reach the share."""
        if not self.held_counts.any() and self.num_free == self.class_counts.sum():
            return self.share
        missing = self.quota.sum() - self.held_counts.sum()
        return float(np.clip(missing / max(self.num_free, 1), 0, 1))

    def _distance(self, reached: Indices) -> Floats:
        return np.asarray(np.abs(reached / self.class_counts - self.share), dtype=np.float64)


def _class_counts(group: Indices, label: Indices, num_groups: int) -> Indices:
    num_classes = int(label.max()) + 1
    cells = np.bincount(group * num_classes + label, minlength=num_groups * num_classes)
    return cells.reshape(num_groups, num_classes)


def _group_names(identities: Sequence[bytes], group: Indices, wanted: Indices) -> list[bytes]:
    """Return the smallest identity in each wanted group."""
    smallest: dict[int, bytes] = {}
    for number, name in zip(group.tolist(), identities, strict=True):
        smallest[number] = min(smallest.get(number, name), name)
    return [smallest[number] for number in wanted.tolist()]


def _uniform(names: Sequence[bytes], key: str) -> Floats:
    """Hash each name to a number in [0, 1), independent of the other rows."""
    words = [hashlib.blake2b(name, digest_size=8, key=key.encode()[:64]).digest() for name in names]
    return np.frombuffer(b"".join(words), dtype="<u8") / 2.0**64


def _choose_groups(names: Sequence[bytes], counts: Indices, target: _Target, *, key: str) -> Mask:
    """Choose the groups to hold out, bool [groups]; counts: int64 [groups, classes]."""
    best, least = np.zeros(len(names), dtype=np.bool_), np.inf
    for attempt in range(_ATTEMPTS):
        values = _uniform(names, f"{key}/groups/{attempt}")
        held = _balance(values, values < target.share_of_free, counts, target)
        excess = float((target.errors(counts[held].sum(axis=0)) - target.allowed).max())
        if excess < least:
            best, least = held, excess
        if excess <= _ROUNDING:
            break
    return best


def _balance(values: Floats, held: Mask, counts: Indices, target: _Target) -> Mask:
    """Move groups, in the order of their values, while that lowers the squared errors.

    Make the first move that helps, not the one that helps most, so that large groups are not more
    likely than others to change sides. Where no single move helps, swap two groups.
    """
    held = held.copy()
    order = np.argsort(values, kind="stable")
    total = counts[held].sum(axis=0)
    while (target.errors(total) > target.allowed + _ROUNDING).any():
        for moves in (order[:, None], _swaps(held, order)):
            changes = np.where(held[moves], -1, 1)[:, :, None] * counts[moves]
            after = total + changes.sum(axis=1)
            least = (target.errors(total) ** 2).sum() - _ROUNDING
            helps = np.flatnonzero((target.errors(after) ** 2).sum(axis=1) < least)
            if len(helps):
                held[moves[helps[0]]] ^= True
                total = after[helps[0]]
                break
        else:
            break
    return held


def _swaps(held: Mask, order: Indices) -> Indices:
    """Pair held-out groups with others, int64 [moves, 2]; of many groups only the first."""
    out, kept = order[held[order]][:_SWAPPED], order[~held[order]][:_SWAPPED]
    return np.stack(np.meshgrid(out, kept, indexing="ij"), axis=-1).reshape(-1, 2)
