"""Class probabilities of tokenised rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training.batches import Padding, pad
from training.device import autocast
from training.micro_batches import halve_on_out_of_memory
from training.tokens import Integers, TokenTable


def log_probabilities(
    model: torch.nn.Module,
    tokens: TokenTable,
    *,
    batch_size: int,
    padding: Padding,
    bfloat16: bool = False,
) -> npt.NDArray[np.float64]:
    """Log-probabilities of each class, float64 [rows, num_labels], in the order of the rows.

    Rows are taken longest first, so that a batch that does not fit in memory fails at once. A
    batch holds as many word pieces as `batch_size` of the longest rows do: more rows where they
    are shorter. The model is put in evaluation mode and left there.
    """
    device = next(model.parameters()).device
    order = np.argsort(-tokens.lengths, kind="stable")
    model.eval()
    parts = []
    with torch.inference_mode(), autocast(device, bfloat16=bfloat16, keeps_casts=True):
        for rows in _cut(order, tokens.lengths, batch_size=batch_size):
            batch = pad(tokens, rows, padding=padding)
            logits = model(**{name: value.to(device) for name, value in batch.items()}).logits
            parts.append(logits.double())
    in_order = torch.log_softmax(torch.cat(parts), dim=-1).cpu().numpy()
    result = np.empty_like(in_order)
    result[order] = in_order
    return result


def _cut(order: Integers, lengths: Integers, *, batch_size: int) -> Iterator[Integers]:
    """Batches of the rows in `order`, longest first, of like numbers of word pieces."""
    start, pieces = 0, batch_size * int(lengths.max(initial=0))
    while start < len(order):
        num_rows = max(batch_size, pieces // max(int(lengths[order[start]]), 1))
        yield order[start : start + num_rows]
        start += num_rows


@dataclass(kw_only=True)
class Inference:
    """A model that is looked at again and again, in batches that fit into its device's memory."""

    model: torch.nn.Module
    batch_size: int
    """Of the longest rows at once; lowered for good where memory runs out."""
    padding: Padding
    bfloat16: bool = False
    release: Callable[[], bool] = lambda: False
    """Gives back memory that only makes training faster; whether there was any."""

    def log_probabilities(self, tokens: TokenTable) -> npt.NDArray[np.float64]:
        """As the function of that name, whose values depend on the batch by rounding alone.

        Raises:
            torch.OutOfMemoryError: not even one row fits.
        """
        return halve_on_out_of_memory(
            lambda rows: log_probabilities(
                self.model,
                tokens,
                batch_size=rows,
                padding=self.padding,
                bfloat16=self.bfloat16,
            ),
            rows=min(self.batch_size, len(tokens)),
            on_fewer=self._remember,
            name="an evaluation",
            release=self.release,
        )

    def _remember(self, rows: int) -> None:
        self.batch_size = rows
