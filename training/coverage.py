"""Whether every split has rows of every class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.config import DataConfig
from training.errors import InputError
from training.splits import SPLITS, Indices


def check_every_class(labels: Indices, splits: NDArray[np.str_], config: DataConfig) -> None:
    """Refuse a split that some class has no row in.

    Args:
        labels: int64 [n], codes of the kept rows.
        splits: [n], where each goes.
        config: names the labels and the split column.

    Raises:
        InputError: a line for each split without rows, label without rows, and class that lacks
            rows in some split.
    """
    counts = class_counts(labels, splits, config.labels)
    filled = [split for split in SPLITS if any(counts[split].values())]
    todo = (
        "label more rows: the kept ones are too few or too alike, since like texts share a split"
        if config.split_column is None
        else "give it some in data.split_column, or set that to null to have the split drawn"
    )
    problems = [
        f"{config.path}: no kept row is in {split}, but every split needs rows of each class;"
        f" {todo}"
        for split in SPLITS
        if split not in filled
    ]
    unseen = [label for label in config.labels if not any(of[label] for of in counts.values())]
    problems += [
        f"{config.path}: no kept row has the label '{label}' of data.labels; spell it as column"
        f" '{config.label_column}' does, or take it out of data.labels"
        for label in unseen
    ]
    for label in (name for name in config.labels if name not in unseen):
        empty = [split for split in filled if not counts[split][label]]
        if empty:
            had = ", ".join(f"{split} {counts[split][label]}" for split in SPLITS)
            problems.append(
                f"{config.path}: class '{label}' has no row in {' and '.join(empty)} (rows kept:"
                f" {had}), but every split needs one of each class; label more rows of it"
                f"{', or lower data.min_confidence' if config.confidence_column else ''}"
            )
    if problems:
        raise InputError(*problems)


def class_counts(
    labels: Indices, splits: NDArray[np.str_], names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Rows of each class in each split: {split: {label: rows}}."""
    counts = {split: np.bincount(labels[splits == split], minlength=len(names)) for split in SPLITS}
    return {split: dict(zip(names, counts[split].tolist(), strict=True)) for split in SPLITS}
