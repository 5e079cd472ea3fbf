"""Work on rows that may not fit into a device's memory all at once."""

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

logger = logging.getLogger(__name__)

T = TypeVar("T")


def fitting(
    work: Callable[[int], T], *, rows: int, on_fewer: Callable[[int], None], name: str
) -> T:
    """What `work(rows)` returns; where memory runs out, with half the rows, and again half.

    Accelerate's `find_executable_batch_size` frees memory while the exception still holds the
    tensors of the failed attempt, and ends in an error that no longer says how much was needed.

    Args:
        work: takes the most rows that it may hold at once; begins anew at each call.
        rows: of the first attempt, at least 1.
        on_fewer: told the lower number before `work` is called with it; drops what the failed
            attempt left.
        name: of the work, for the log.

    Raises:
        torch.OutOfMemoryError: not even one row fits.
    """
    while True:
        try:
            return work(rows)
        except torch.OutOfMemoryError:
            if rows == 1:
                raise
        # Not within `except`: until its end the exception keeps the attempt's tensors.
        rows = -(-rows // 2)
        on_fewer(rows)
        gc.collect()
        torch.cuda.empty_cache()  # does nothing where there is no GPU
        logger.warning("device memory ran out in %s: from now on %d rows at once", name, rows)
