"""Batches of rows of like length, padded to their own longest row."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from training.tokens import Integers, LabelledTokens, TokenTable

_BATCHES_SORTED_TOGETHER = 50

Batch = dict[str, torch.Tensor]


def pad(tokens: TokenTable, indices: Integers, *, pad_token_id: int) -> Batch:
    """The rows at `indices` as one batch.

    Returns:
        `input_ids` and `attention_mask`, int64 [rows, longest row of the batch].
    """
    lengths = tokens.lengths[indices]
    ids = np.full((len(indices), int(lengths.max())), pad_token_id, dtype=np.int64)
    for position, index in enumerate(indices):
        ids[position, : lengths[position]] = tokens.row(index)
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


def cut(batch: Batch, *, rows: int) -> list[Batch]:
    """The rows of `batch` in their order, at most `rows` in a part.

    Each part is padded to its own longest row; one part is the batch as it is.
    """
    num_rows = len(batch["input_ids"])
    if num_rows <= rows:
        return [batch]
    lengths = batch["attention_mask"].sum(dim=1).tolist()  # one wait for the device, not one a part
    parts = []
    for start in range(0, num_rows, rows):
        part = {name: values[start : start + rows] for name, values in batch.items()}
        longest = int(max(lengths[start : start + rows]))
        parts.append({n: v[:, :longest] if v.ndim == 2 else v for n, v in part.items()})
    return parts


def order_batches(lengths: Integers, *, batch_size: int, seed: int, epoch: int) -> list[Integers]:
    """Row numbers of each batch of one epoch: a pure function of its arguments.

    Rows are shuffled, sorted by length within runs of 50 batches, cut into batches, and the
    batches shuffled; an incomplete batch comes last, so that the rows seen after a step are known
    without looking at the order.
    """
    generator = np.random.default_rng([seed, epoch])
    shuffled = generator.permutation(len(lengths))
    run = batch_size * _BATCHES_SORTED_TOGETHER
    runs = [shuffled[start : start + run] for start in range(0, len(shuffled), run)]
    by_length = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in runs])
    batches = [
        by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)
    ]
    num_full = len(lengths) // batch_size
    return [batches[i] for i in generator.permutation(num_full)] + batches[num_full:]


class LengthGroupedBatches(Sampler[list[int]]):
    """Batch sampler whose order depends on seed and epoch alone, so that a resume repeats it."""

    def __init__(self, lengths: Integers, *, batch_size: int, seed: int) -> None:
        """Take the lengths of all rows (int64 [rows]); start at epoch 0."""
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self._lengths) // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Row numbers, a batch at a time."""
        for rows in order_batches(
            self._lengths, batch_size=self._batch_size, seed=self._seed, epoch=self._epoch
        ):
            yield rows.tolist()


class EpochDataLoader(DataLoader[int]):
    """A data loader that hands `set_epoch` to its batch sampler, as the Trainer expects."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        assert isinstance(self.batch_sampler, LengthGroupedBatches)
        self.batch_sampler.set_epoch(epoch)


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Row numbers to a padded batch with `labels`, int64 [rows]."""

    data: LabelledTokens
    pad_token_id: int

    def __call__(self, indices: list[int]) -> Batch:
        """Pad the rows at `indices` and add their labels."""
        rows = np.asarray(indices, dtype=np.int64)
        batch = pad(self.data.tokens, rows, pad_token_id=self.pad_token_id)
        return batch | {"labels": torch.from_numpy(self.data.labels[rows])}


def training_loader(
    data: LabelledTokens, *, batch_size: int, seed: int, pad_token_id: int
) -> EpochDataLoader:
    """Batches of `data` for training, in `order_batches`' order."""
    sampler = LengthGroupedBatches(data.tokens.lengths, batch_size=batch_size, seed=seed)
    collator: Any = Collator(data=data, pad_token_id=pad_token_id)
    rows: Any = range(len(data))
    return EpochDataLoader(
        rows,
        batch_sampler=sampler,
        collate_fn=collator,
        pin_memory=torch.cuda.is_available(),
    )
