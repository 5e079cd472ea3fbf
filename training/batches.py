"""Batches of training rows of similar length, each padded to its longest row."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from training.schedule import Schedule
from training.tokens import Integers, LabelledTokens, TokenTable

_BATCHES_SORTED_TOGETHER = 50

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Padding:
    """How the rows of a batch are padded to one length; it is what their tokenizer does."""

    token_id: int
    """Token id of padding, which is masked."""
    is_left: bool = False
    """Whether padding comes before the text instead of after it."""


def pad(tokens: TokenTable, indices: Integers, *, padding: Padding) -> Batch:
    """Return the rows at `indices` as one batch.

    Returns:
        `input_ids` and `attention_mask`, int64 [rows, longest row of the batch].
    """
    lengths = tokens.lengths[indices]
    longest = int(lengths.max())
    starts = longest - lengths if padding.is_left else np.zeros_like(lengths)
    positions = np.arange(longest) - starts[:, None]
    is_text = (positions >= 0) & (positions < lengths[:, None])
    ids = np.full(is_text.shape, padding.token_id, dtype=np.int64)
    ids[is_text] = tokens.ids[(tokens.offsets[indices][:, None] + positions)[is_text]]
    mask = is_text.astype(np.int64)
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


def widen(batch: Batch, length: int, *, padding: Padding) -> Batch:
    """Return a batch, on the CPU, padded to `length` tokens, which is at least its own length."""
    missing = length - batch["input_ids"].shape[1]
    assert missing >= 0, missing
    if missing == 0:
        return batch
    sides = (missing, 0) if padding.is_left else (0, missing)
    filled = {"input_ids": padding.token_id, "attention_mask": 0}
    return batch | {
        name: torch.nn.functional.pad(batch[name], sides, value=value)
        for name, value in filled.items()
    }


def order_batches(lengths: Integers, *, batch_size: int, seed: int, epoch: int) -> list[Integers]:
    """Return the row numbers of each batch of one epoch, a pure function of the arguments.

    Rows are shuffled, sorted by length within runs of 50 batches and divided into batches, which
    are shuffled in turn. An incomplete batch comes last, so that the number of rows seen after a
    step does not depend on the order.
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


def training_batches(
    data: LabelledTokens, *, schedule: Schedule, seed: int, padding: Padding, first_step: int = 0
) -> Iterator[Batch]:
    """Yield the batch of each step of a training, with its `labels`, int64 [rows].

    Args:
        data: the training rows.
        schedule: gives the batch size and the number of epochs.
        seed: of the order (`order_batches`).
        padding: of the model's tokenizer.
        first_step: number of steps to skip.
    """
    first_epoch, skipped = divmod(first_step, schedule.steps_per_epoch)
    for epoch in range(first_epoch, schedule.epochs):
        order = order_batches(
            data.tokens.lengths, batch_size=schedule.batch_size, seed=seed, epoch=epoch
        )
        for rows in order[skipped if epoch == first_epoch else 0 :]:
            batch = pad(data.tokens, rows, padding=padding)
            batch["labels"] = torch.from_numpy(data.labels[rows])
            yield batch


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on `device`, without waiting until it is copied."""

    def move(values: torch.Tensor) -> torch.Tensor:
        is_far = values.device.type != device.type == "cuda"
        # Only a copy from pinned memory runs asynchronously.
        return (values.pin_memory() if is_far else values).to(device, non_blocking=True)

    return {name: move(values) for name, values in batch.items()}
