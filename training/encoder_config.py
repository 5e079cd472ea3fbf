"""The configuration that a model is built with and ships with: ours, not the old checkpoint's.

A checkpoint's config.json tells how it was used last: with other labels, as a decoder, to show its
attention, by another tokenizer. Each of these changes what the model answers, or what libraries
make of the answer, and none of them is a property of the weights.
"""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

_OF_OTHER_USES: dict[str, Any] = {
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "use_cache": False,
    # XLNet's memory of earlier segments: nothing here has any, and no batch can be cut into rows.
    "use_mems_eval": False,
    "use_mems_train": False,
    # As decoders, BERT and its kin let the first token, which is classified, see itself alone.
    "is_decoder": False,
    "add_cross_attention": False,
}
"""Set where the configuration has them."""

_LEFT_BEHIND = ("task_specific_params", "finetuning_task", "custom_pipelines", "auto_map")
"""Removed: libraries that load what ships would obey them, or look for code that is not there."""

_DEPENDS_ON_LENGTH, _THE_SAME_FOR_ALL = "block_sparse", "original_full"
"""Attention types of BigBird: the first silently becomes the other one for short rows."""


def settle(
    config: PreTrainedConfig,
    *,
    labels: Sequence[str],
    pad_token_id: int,
    eos_token_id: int | None = None,
    is_random: bool = False,
) -> None:
    """Make a configuration that of a classifier for single labels, in place.

    Args:
        config: of an encoder, as its place has it.
        labels: names, in the order of their codes.
        pad_token_id: the tokenizer's; models find a row's last token by it, and number positions.
        eos_token_id: the tokenizer's, which some models classify by; None: it has none.
        is_random: whether no weights are loaded, so that nothing is quantised either.
    """
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: code for code, name in enumerate(labels)}
    config.problem_type = "single_label_classification"
    config._attn_implementation = None  # chosen for this machine when the model is built
    left_behind = (*_LEFT_BEHIND, *(("quantization_config",) if is_random else ()))
    for part in {id(part): part for part in (config, config.get_text_config())}.values():
        part.pad_token_id = pad_token_id
        if eos_token_id is not None:
            part.eos_token_id = eos_token_id
        for name, value in _OF_OTHER_USES.items():
            if hasattr(part, name):
                setattr(part, name, value)
        if getattr(part, "attention_type", None) == _DEPENDS_ON_LENGTH:
            part.attention_type = _THE_SAME_FOR_ALL
        for name in left_behind:
            vars(part).pop(name, None)
