"""Micro-batches: halve their size and repeat the work when device memory runs out."""

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from training.batches import Batch

logger = logging.getLogger(__name__)

T = TypeVar("T")


def halve_on_out_of_memory(
    work: Callable[[int], T],
    *,
    size: int,
    on_retry: Callable[[int], None],
    name: str,
    release: Callable[[], bool] = lambda: False,
) -> T:
    """Return `work(size)`; each time memory runs out, repeat it with half the size.

    Accelerate's `find_executable_batch_size` frees memory while the exception still holds the
    tensors of the failed attempt, and its final error does not state how much memory was needed.

    Args:
        work: takes the micro-batch size, in rows; each call starts from the beginning.
        size: rows of a micro-batch in the first attempt, at least 1.
        on_retry: called with the size of the next attempt, which is lower or the same, before
            `work` is; it discards what the failed attempt left.
        name: of the work, for the log.
        release: frees memory that only makes the work faster and returns whether there was any;
            the next attempt then has the same size.

    Raises:
        torch.OutOfMemoryError: a single row does not fit into memory.
    """
    while True:
        try:
            return work(size)
        except torch.OutOfMemoryError:
            was_released = release()
            if size == 1 and not was_released:
                raise
        # Not within `except`: until its end the exception keeps the attempt's tensors.
        size = size if was_released else -(-size // 2)
        on_retry(size)
        gc.collect()
        torch.cuda.empty_cache()  # does nothing where there is no GPU
        if not was_released:
            logger.warning(
                "device memory ran out in %s: micro-batches of %d rows from here on", name, size
            )


def split_batch(batch: Batch, *, size: int) -> list[Batch]:
    """Split a batch into micro-batches of at most `size` rows, in order.

    Each is padded to its own longest row; a batch that is no larger is returned as it is.
    """
    mask = batch["attention_mask"]
    num_rows, width = mask.shape
    if num_rows <= size:
        return [batch]
    is_left = bool((mask[:, 0] == 0).any())  # a row starts with padding only if it is on the left
    lengths = mask.sum(dim=1).tolist()  # waits for the device once, not once a micro-batch
    parts = []
    for start in range(0, num_rows, size):
        part = {name: values[start : start + size] for name, values in batch.items()}
        longest = int(max(lengths[start : start + size]))
        kept = slice(width - longest, width) if is_left else slice(longest)
        parts.append({n: v[:, kept] if v.ndim == 2 else v for n, v in part.items()})
    return parts
