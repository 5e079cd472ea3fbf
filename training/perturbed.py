"""A model moved away from where it was drawn, so that its output depends on every part of it.

Fresh weights hide mistakes: norms are the identity, biases are zero, layers add little. What is
the same at such weights may differ once they are trained.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

_OF_VECTORS, _OF_MATRICES = 0.3, 0.7
"""Standard deviations; of matrices divided by the root of their longer side."""
_SEED = 1914
_BLOCK = 1_000_003
"""Numbers drawn at most a parameter, then repeated: a prime, so that no two rows are alike."""


def perturb(
    model: nn.Module, *, is_moved: Callable[[str], bool] = lambda _: True, rows: torch.Tensor
) -> None:
    """Add normal noise to parameters, in place; no global generator is drawn from.

    Args:
        model: on any device.
        is_moved: whether a parameter of this name is.
        rows: token ids, int64; of the large table of tokens, these rows alone are moved.
    """
    generator = torch.Generator().manual_seed(_SEED)
    tokens = _token_table(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not is_moved(name) or not parameter.is_floating_point():
                continue
            if parameter is tokens:
                used = torch.unique(rows)
                parameter.index_add_(0, used, _noise(parameter[used], generator))
            else:
                parameter.add_(_noise(parameter, generator))


@contextmanager
def perturbed(
    model: nn.Module, *, is_moved: Callable[[str], bool], rows: torch.Tensor
) -> Iterator[None]:
    """Perturb parameters for the time of a `with` block; they end as they were, to the last bit."""
    kept = {name: p.detach().clone() for name, p in model.named_parameters() if is_moved(name)}
    try:
        perturb(model, is_moved=is_moved, rows=rows)
        yield
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in kept:
                    parameter.copy_(kept[name])


def _token_table(model: nn.Module) -> torch.Tensor | None:
    try:
        embeddings = getattr(model, "get_input_embeddings", lambda: None)()
    except NotImplementedError:  # a model of characters has no table
        embeddings = None
    weight = getattr(embeddings, "weight", None)
    return weight if isinstance(weight, torch.Tensor) else None


def _noise(parameter: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Noise of the shape of `parameter`, small enough to leave a softmax unsaturated."""
    deviation = _OF_VECTORS
    if parameter.ndim > 1:
        deviation = _OF_MATRICES / math.sqrt(max(parameter.shape))
    block = torch.randn(min(parameter.numel(), _BLOCK), generator=generator) * deviation
    repeats = -(-parameter.numel() // max(len(block), 1))
    return block.repeat(repeats)[: parameter.numel()].view(parameter.shape).to(parameter)
