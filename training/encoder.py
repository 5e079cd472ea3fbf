"""Encoders: read once from their place, built anew for each training."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    set_seed,
)

from training.config import TINY, ModelConfig
from training.errors import InputError
from training.model import TokenizerFacts, check_fits, check_size, loading, source_of

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


_TINY_ARCHITECTURE: dict[str, Any] = {
    "num_hidden_layers": 1,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    # From scratch on few rows it learns them by heart with less: 2 to 5 points of F1.
    "hidden_dropout_prob": 0.3,
}

_FEWEST = 4
"""Tokens of the shortest row that every encoder takes; `max_length` is no smaller."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A pretrained model as it was read once, for all the trainings that start from it."""

    kind: type[PreTrainedModel]
    config: PreTrainedConfig
    weights: Mapping[str, npt.NDArray[Any]] | None
    """By parameter, float32, but for those that each training draws; None: all are drawn."""
    digest: str
    """SHA-256 of all of it: equal digests build equal models of equal seeds."""
    note: str = ""
    """One line for the log, where something of the place is not used that a user may rely on."""

    def build(self, seed: int) -> PreTrainedModel:
        """A model of its own memory with a new head, its drawn parts from `seed`."""
        set_seed(seed)
        if self.weights is None:
            return _from_config(self.config)
        copies = {name: torch.tensor(array) for name, array in self.weights.items()}
        built: PreTrainedModel = self.kind.from_pretrained(
            None, config=self.config, state_dict=copies, dtype=torch.float32
        )
        return built


def read_encoder(
    model: ModelConfig, *, labels: Sequence[str], tokenizer: TokenizerFacts
) -> Encoder:
    """Read the model from its place; each training draws its own head for these labels.

    Raises:
        InputError: nothing can be loaded from that place, or the model cannot take rows of
            `max_length` or ids of this tokenizer.
    """
    weights, note = None, ""
    if model.name == TINY:
        built = _from_config(_tiny(model, tokenizer, labels))
    else:
        built, drawn, note = _load(model, labels, tokenizer)
        if model.weights == "pretrained":
            parameters = built.state_dict().items()
            weights = {name: w.numpy() for name, w in parameters if name not in drawn}
    check_fits(model, built, tokenizer)
    with loading("model", model):
        _answer_once(built, tokenizer)
    return Encoder(
        kind=type(built),
        config=built.config,
        weights=weights,
        digest=_digest(built, weights),
        note=note,
    )


def _digest(built: PreTrainedModel, weights: Mapping[str, npt.NDArray[Any]] | None) -> str:
    config = built.config.to_json_string(use_diff=False)
    digest = hashlib.sha256(f"{type(built).__qualname__}\n{config}".encode())
    for name, array in (weights or {}).items():
        digest.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _answer_once(built: PreTrainedModel, tokenizer: TokenizerFacts) -> None:
    """Classify a row of padding as in training: some of a config.json is read only then."""
    if built.config.is_encoder_decoder:
        return  # these want a row with an end, which is the tokenizer's to know
    row = torch.full((1, _FEWEST), tokenizer.pad_token_id)
    was_training = built.training
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        built.train()(input_ids=row, attention_mask=torch.ones_like(row))
    built.train(was_training)


def _tiny(model: ModelConfig, tokenizer: TokenizerFacts, labels: Sequence[str]) -> BertConfig:
    config = BertConfig(
        vocab_size=tokenizer.size,
        max_position_embeddings=model.max_length,
        **_TINY_ARCHITECTURE,
    )
    settle(config, labels=labels, pad_token_id=tokenizer.pad_token_id)
    return config


def _from_config(config: PreTrainedConfig) -> PreTrainedModel:
    built: PreTrainedModel = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]  # transformers' own
        config, dtype=torch.float32
    )
    return built


def _load(
    model: ModelConfig, labels: Sequence[str], tokenizer: TokenizerFacts
) -> tuple[PreTrainedModel, set[str], str]:
    """The model, the names of its parameters that each training draws, and the encoder's note."""
    source, options = source_of(model)
    is_random = model.weights == "random"
    built: PreTrainedModel
    with loading("model", model):
        config = AutoConfig.from_pretrained(source, **options)
        former = set((config.id2label or {}).values())
        settle(
            config,
            labels=labels,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            is_random=is_random,
        )
        check_size(config)
        if is_random:
            return _from_config(config), set(), ""
        # In float32 whatever it was saved in: small steps are lost in half precision. A head of
        # another size is left out; `_check_is_pretrained` sees to the rest.
        built, report = AutoModelForSequenceClassification.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    missing = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    _check_is_pretrained(model, built, missing)
    # The head is a training's own: one that was loaded has learnt another task, or these rows.
    head = {name for name in built.state_dict() if not name.startswith(_base_of(built))}
    note = _note(model) if head - missing and former == set(labels) else ""
    return built, missing | head, note


def _base_of(built: PreTrainedModel) -> str:
    """What the names of the encoder's own parameters begin with."""
    return f"{built.base_model_prefix}."


def _note(model: ModelConfig) -> str:
    return (
        f"model.name: {model.name!r} has a head for these labels, which is not used: each training"
        " draws a new one from its seed"
    )


def _check_is_pretrained(model: ModelConfig, built: PreTrainedModel, drawn: set[str]) -> None:
    # Checkpoints of masked language models have no pooler; one that is there is kept.
    encoder = sorted(
        name for name in drawn if name.startswith(_base_of(built)) and ".pooler." not in name
    )
    if encoder:
        raise InputError(
            f"model.name: the weights of {model.name!r} do not fit its config.json: {len(encoder)}"
            f" parameters of the encoder are missing or of another size ({encoder[0]} is one);"
            " give a directory saved whole, or set model.weights to random"
        )


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
