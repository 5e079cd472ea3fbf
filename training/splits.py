"""Draws which rows are held out: whole groups, every class in its share, by seed alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SPLITS = ("train", "validation", "test")
"""Every split, in the order in which a text or group that stands in several moves on."""

_TOLERANCE = 0.01
_ATTEMPTS = 16
_ROUNDING = 1e-12
_SWAPPED = 100


def choose_held_out(
    identities: Sequence[bytes],
    groups: Indices,
    labels: Indices,
    *,
    share: float,
    seed: int,
    purpose: str = "test",
) -> Mask:
    """Draw the rows to hold out, whole groups and stratified by class.

    Each group of several rows is drawn with probability `share`, whatever its size, by the hash
    of its smallest identity and the seed; rows without a group then fill the quota of their class
    in the order of their hashes. Where they cannot, groups change sides in the order of their
    hashes, each time one that brings the classes nearer to their shares; of up to 16 such draws
    the first is taken in which every class is within one point of its share, else the nearest.
    The result depends on the set of (identity, group, label), `share`, `seed` and `purpose`; the
    order of the rows and the numbers of groups change nothing. A class of two rows or more has a
    quota of at least one row on each side.

    Args:
        identities: hash of each of n rows' drop key; no two alike.
        groups: int64 [n], rows with equal numbers stay together.
        labels: int64 [n].
        share: part of each class to hold out, between 0 and 1.
        seed: of the draw.
        purpose: draws for other purposes are independent under the same seed.

    Returns:
        bool [n], True where a row is held out.
    """
    if not len(identities):
        return np.zeros(0, dtype=np.bool_)
    _, label = np.unique(labels, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group)
    alone = sizes[group] == 1
    target = _Target(
        share=share,
        class_counts=np.bincount(label),
        alone_counts=np.bincount(label[alone], minlength=label.max() + 1),
    )
    shared = np.flatnonzero(sizes > 1)
    held_groups = _draw_groups(
        _group_names(identities, group, shared),
        _class_counts(group, label, len(sizes))[shared],
        target,
        key=f"{purpose}/{seed}",
    )
    held = np.isin(group, shared[held_groups])
    draws = _uniform(identities, f"{purpose}/{seed}/rows")
    for number, quota in enumerate(target.quota):
        free = np.flatnonzero(alone & (label == number))
        missing = max(0, quota - np.count_nonzero(held & (label == number)))
        held[free[np.argsort(draws[free], kind="stable")][:missing]] = True
    return held


def in_last_split(splits: Sequence[str], groups: Indices) -> Mask:
    """Where a split is fixed: bool [n], True for the rows in the last split of their group.

    Keeping only these, no group stands in two splits and none of the test's rows is lost.
    """
    ranks = np.array([SPLITS.index(split) for split in splits], dtype=np.int64)
    last = np.zeros(groups.max() + 1, dtype=np.int64)
    np.maximum.at(last, groups, ranks)
    return np.asarray(ranks == last[groups], dtype=np.bool_)


@dataclass(frozen=True, kw_only=True)
class _Target:
    """How many rows of each class are to be held out; arrays are int64 [classes]."""

    share: float
    class_counts: Indices
    alone_counts: Indices
    """Rows without a group, which can fill a quota one by one."""

    @cached_property
    def quota(self) -> Indices:
        """The nearest whole number of rows, and where a class has two, one on each side."""
        nearest = np.floor(self.share * self.class_counts + 0.5).astype(np.int64)
        within = np.clip(nearest, 1, np.maximum(self.class_counts - 1, 1))
        return np.asarray(np.where(self.class_counts >= 2, within, nearest), dtype=np.int64)

    def errors(self, held: Indices) -> Floats:
        """Distance of each class from the share, in parts of the class: [..., classes].

        `held` counts the rows that groups hold out; rows without a group then fill up.
        """
        reached = np.clip(self.quota, held, held + self.alone_counts)
        return np.asarray(np.abs(reached / self.class_counts - self.share), dtype=np.float64)

    @cached_property
    def allowed(self) -> Floats:
        """One point, or what rounding to whole rows costs a small class."""
        return np.maximum(_TOLERANCE, self.errors(self.quota))


def _class_counts(group: Indices, label: Indices, num_groups: int) -> Indices:
    num_classes = int(label.max()) + 1
    cells = np.bincount(group * num_classes + label, minlength=num_groups * num_classes)
    return cells.reshape(num_groups, num_classes)


def _group_names(identities: Sequence[bytes], group: Indices, wanted: Indices) -> list[bytes]:
    """The smallest identity in each wanted group."""
    smallest: dict[int, bytes] = {}
    for number, name in zip(group.tolist(), identities, strict=True):
        smallest[number] = min(smallest.get(number, name), name)
    return [smallest[number] for number in wanted.tolist()]


def _uniform(names: Sequence[bytes], key: str) -> Floats:
    """A number in [0, 1) for each name, by hash: it stays when other rows come or go."""
    words = [hashlib.blake2b(name, digest_size=8, key=key.encode()[:64]).digest() for name in names]
    return np.frombuffer(b"".join(words), dtype="<u8") / 2.0**64


def _draw_groups(names: Sequence[bytes], counts: Indices, target: _Target, *, key: str) -> Mask:
    """The groups to hold out, bool [groups]; counts: int64 [groups, classes]."""
    best, least = np.zeros(len(names), dtype=np.bool_), np.inf
    for attempt in range(_ATTEMPTS):
        draws = _uniform(names, f"{key}/groups/{attempt}")
        held = _balance(draws, draws < target.share, counts, target)
        excess = float((target.errors(counts[held].sum(axis=0)) - target.allowed).max())
        if excess < least:
            best, least = held, excess
        if excess <= _ROUNDING:
            break
    return best


def _balance(draws: Floats, held: Mask, counts: Indices, target: _Target) -> Mask:
    """Move groups, in the order of their draws, while that lowers the squared errors.

    The first move that helps is made and not the one that helps most: large groups are no
    likelier than others to change sides. Where no single move helps, two groups are swapped.
    """
    held = held.copy()
    order = np.argsort(draws, kind="stable")
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
    """A group held out and one that is not, int64 [moves, 2]; of many groups some suffice."""
    out, kept = order[held[order]][:_SWAPPED], order[~held[order]][:_SWAPPED]
    return np.stack(np.meshgrid(out, kept, indexing="ij"), axis=-1).reshape(-1, 2)
