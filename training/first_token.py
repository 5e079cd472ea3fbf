"""Compute the last layer for the first token only, where a classifier reads no other token.

BERT and similar encoders classify by the first token's last hidden state. In the last layer the
other tokens matter as keys and values only; their queries, attention, feed-forward and norms, which
transformers computes, are never used. Without them, logits and gradients are the same except for
rounding, and dropout has the same distribution. This saves most of the work of a model with one
layer, and about 1/13 of that of a model with twelve.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel

from training.encoder import perturbed

logger = logging.getLogger(__name__)

_PARTS = {
    "": ("attention", "feed_forward_chunk"),
    "attention": ("self", "output"),
    "attention.self": ("query", "key", "value", "dropout", "scaling", "attention_head_size"),
}
"""Attributes of the layers of BERT, RoBERTa, XLM-R, CamemBERT and ELECTRA."""

_TOLERANCE = 1e-4
"""Largest difference of logits in float32 that counts as rounding."""


def reducible_layer(model: PreTrainedModel) -> nn.Module | None:
    """Return the last layer of a classifier if its first token suffices, else None.

    The layer must be of the known kind, and the logits of a test batch must be the same either way.
    """
    layer = _last_layer(model)
    return layer if layer is not None and _is_the_same(model, layer) else None


@contextmanager
def first_token_alone(layer: Any) -> Iterator[None]:
    """Compute a layer for the first token only during a `with` block."""
    layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        del layer.forward


def _last_layer(model: PreTrainedModel) -> Any:
    """Return the last layer if it is of the known kind, else None."""
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", None)
    config = model.config
    known = getattr(config, "_attn_implementation", None) in ("sdpa", "eager")
    if not known or not layers or getattr(config, "is_decoder", False):
        return None
    layer = layers[-1]
    for path, names in _PARTS.items():
        part = layer
        for name in filter(None, path.split(".")):
            part = getattr(part, name)
        if not all(hasattr(part, name) for name in names):
            return None
    return layer


def _forward(
    layer: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *_unused: Any,
    **_for_decoders: Any,
) -> torch.Tensor:
    """Return the layer's output for the first token, [rows, 1, hidden size]."""
    attention = layer.attention.self
    rows = hidden_states.shape[0]
    first = hidden_states[:, :1]

    def heads(states: torch.Tensor) -> torch.Tensor:
        return states.view(rows, -1, attention.num_attention_heads, size).transpose(1, 2)

    size = attention.attention_head_size
    attended = scaled_dot_product_attention(
        heads(attention.query(first)),
        heads(attention.key(hidden_states)),
        heads(attention.value(hidden_states)),
        attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
        dropout_p=attention.dropout.p if layer.training else 0.0,
        scale=attention.scaling,
    )
    context = attended.transpose(1, 2).reshape(rows, 1, -1)
    output: torch.Tensor = layer.feed_forward_chunk(layer.attention.output(context, first))
    return output


def _is_the_same(model: PreTrainedModel, layer: Any) -> bool:
    """Return whether the logits of two rows, one of them padded, are equal either way.

    Weights are perturbed for the comparison, since fresh weights would hide a missing norm; they
    are restored to the last bit.
    """
    device = next(model.parameters()).device
    ids = torch.tensor([[1, 2, 3, 1], [3, 2, 1, 1]], device=device) % model.config.vocab_size
    batch = {
        "input_ids": ids,
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]], device=device),
    }
    was_training = model.training
    model.train(False)
    try:
        with torch.no_grad(), perturbed(model, is_moved=_follows_other_layers(model), rows=ids):
            whole = model(**batch).logits
            with first_token_alone(layer):
                alone = model(**batch).logits
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        logger.debug("the last layer is computed for all tokens: %s", error)
        return False
    finally:
        model.train(was_training)
    same = whole.shape == alone.shape and torch.allclose(
        whole, alone, rtol=_TOLERANCE, atol=_TOLERANCE
    )
    return bool(same)


def _follows_other_layers(model: Any) -> Callable[[str], bool]:
    """Return whether a parameter, by its name, is in the last layer or after it.

    The parameters before it have the same effect either way, and perturbing them takes long.
    """
    base = f"{model.base_model_prefix}."
    layers = f"{base}encoder.layer."
    last = f"{layers}{len(model.base_model.encoder.layer) - 1}."
    before = (layers, f"{base}embeddings")
    return lambda name: name.startswith(last) or not name.startswith(before)
