"""Compute class probabilities of tokenised rows, in batches that fit into memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training.batches import Padding, pad
from training.device import autocast
from training.micro_batches import halve_on_out_of_memory
from training.tokens import Integers, TokenTable

Probabilities = npt.NDArray[np.float64]

TOLERANCE = 1e-4
"""Largest difference, in float32, between two probabilities that count as equal."""


def log_probabilities(
    model: torch.nn.Module,
    tokens: TokenTable,
    *,
    batch_size: int,
    padding: Padding,
    bfloat16: bool = False,
) -> npt.NDArray[np.float64]:
    """Return log-probabilities, float64 [rows, num_labels], in the order of the rows.

    The longest rows come first, so that a batch that does not fit into memory fails at once. Each
    batch has about as many tokens as `batch_size` of the longest rows: the shorter its rows, the
    more there are. The model is left in evaluation mode.
    """
    device = next(model.parameters()).device
    order = np.argsort(-tokens.lengths, kind="stable")
    model.eval()
    parts = []
    with torch.inference_mode(), autocast(device, bfloat16=bfloat16, keeps_casts=True):
        for rows in _batches(order, tokens.lengths, batch_size=batch_size):
            batch = pad(tokens, rows, padding=padding)
            logits = model(**{name: value.to(device) for name, value in batch.items()}).logits
            parts.append(logits.double())
    in_order = torch.log_softmax(torch.cat(parts), dim=-1).cpu().numpy()
    result = np.empty_like(in_order)
    result[order] = in_order
    return result


def _batches(order: Integers, lengths: Integers, *, batch_size: int) -> Iterator[Integers]:
    """Yield batches of the rows in `order`, longest first, with about the same number of tokens."""
    start, num_tokens = 0, batch_size * int(lengths.max(initial=0))
    while start < len(order):
        num_rows = max(batch_size, num_tokens // max(int(lengths[order[start]]), 1))
        yield order[start : start + num_rows]
        start += num_rows


@dataclass(kw_only=True)
class Inference:
    """Classifies rows again and again, in batches that fit into the memory of the device."""

    model: torch.nn.Module
    batch_size: int
    """Number of the longest rows in a batch; lowered for good when memory runs out."""
    padding: Padding
    bfloat16: bool = False
    release: Callable[[], bool] = lambda: False
    """Frees memory that only makes training faster; returns whether there was any."""

    def log_probabilities(self, tokens: TokenTable) -> npt.NDArray[np.float64]:
        """Return log-probabilities as the function of this name does; retry with smaller batches.

        The values depend on the batch size by rounding alone.

        Raises:
            torch.OutOfMemoryError: a single row does not fit into memory.
        """
        return halve_on_out_of_memory(
            lambda size: log_probabilities(
                self.model,
                tokens,
                batch_size=size,
                padding=self.padding,
                bfloat16=self.bfloat16,
            ),
            size=min(self.batch_size, len(tokens)),
            on_retry=self._set_batch_size,
            name="an evaluation",
            release=self.release,
        )

    def _set_batch_size(self, size: int) -> None:
        self.batch_size = size
