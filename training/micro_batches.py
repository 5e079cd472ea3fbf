"""Work on rows that may not fit into a device's memory all at once."""

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
    rows: int,
    on_fewer: Callable[[int], None],
    name: str,
    release: Callable[[], bool] = lambda: False,
) -> T:
    """What `work(rows)` returns; where memory runs out, with half the rows, and again half.

    Accelerate's `find_executable_batch_size` frees memory while the exception still holds the
    tensors of the failed attempt, and ends in an error that no longer says how much was needed.

    Args:
        work: takes the most rows that it may hold at once; begins anew at each call.
        rows: of the first attempt, at least 1.
        on_fewer: told the number before `work` is called with it again, lower or the same; drops
            what the failed attempt left.
        name: of the work, for the log.
        release: gives back memory that only makes work faster; whether there was any, which is
            then tried again with as many rows.

    Raises:
        torch.OutOfMemoryError: not even one row fits.
    """
    while True:
        try:
            return work(rows)
        except torch.OutOfMemoryError:
            released = release()
            if rows == 1 and not released:
                raise
        # Not within `except`: until its end the exception keeps the attempt's tensors.
        rows = rows if released else -(-rows // 2)
        on_fewer(rows)
        gc.collect()
        torch.cuda.empty_cache()  # does nothing where there is no GPU
        if released:
            continue
        logger.warning("device memory ran out in %s: from now on %d rows at once", name, rows)


def split_batch(batch: Batch, *, rows: int) -> list[Batch]:
    """The rows of `batch` in their order, at most `rows` in a part.

    Each part is padded to its own longest row; one part is the batch as it is.
    """
    mask = batch["attention_mask"]
    num_rows, width = mask.shape
    if num_rows <= rows:
        return [batch]
    is_left = bool((mask[:, 0] == 0).any())  # no text begins with padding otherwise
    lengths = mask.sum(dim=1).tolist()  # one wait for the device, not one a part
    parts = []
    for start in range(0, num_rows, rows):
        part = {name: values[start : start + rows] for name, values in batch.items()}
        longest = int(max(lengths[start : start + rows]))
        kept = slice(width - longest, width) if is_left else slice(longest)
        parts.append({n: v[:, kept] if v.ndim == 2 else v for n, v in part.items()})
    return parts
