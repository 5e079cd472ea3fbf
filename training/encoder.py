"""Pretrained encoders with a new single-label head: read once, built for each training.

`settle` turns a configuration into that of a classifier: its labels and its problem type.
"""

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
from training.model import TokenizerFacts, check_fits, check_size, loading
from training.model_source import source_of

_OF_OTHER_USES: dict[str, Any] = {
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "use_cache": False,
    # XLNet's memory of earlier segments, which rows lack and which would tie the rows of a batch.
    "use_mems_eval": False,
    "use_mems_train": False,
    # As a decoder, BERT would let the first token, which is classified, attend to itself only.
    "is_decoder": False,
    "add_cross_attention": False,
}
"""Settings for other uses, which are set if the configuration has them."""

_DISCARDED = ("task_specific_params", "finetuning_task", "custom_pipelines", "auto_map")
"""Removed, because libraries that load the model would follow them or search for missing code."""

_LENGTH_DEPENDENT, _LENGTH_INDEPENDENT = "block_sparse", "original_full"
"""Attention types of BigBird, which silently replaces the first by the second for short rows."""


def settle(
    config: PreTrainedConfig,
    *,
    labels: Sequence[str],
    pad_token_id: int,
    eos_token_id: int | None = None,
    is_random: bool = False,
) -> None:
    """Change a configuration into that of a classifier that gives each text one label.

    Args:
        config: of an encoder, as it was read.
        labels: names, in the order of their codes.
        pad_token_id: of the tokenizer; models find the last token and the positions by it.
        eos_token_id: of the tokenizer, by which some models classify; None: it has none.
        is_random: whether weights are random, so that quantisation does not apply.
    """
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: code for code, name in enumerate(labels)}
    config.problem_type = "single_label_classification"
    config._attn_implementation = None  # chosen for this machine when the model is built
    discarded = (*_DISCARDED, *(("quantization_config",) if is_random else ()))
    for part in {id(part): part for part in (config, config.get_text_config())}.values():
        part.pad_token_id = pad_token_id
        if eos_token_id is not None:
            part.eos_token_id = eos_token_id
        for name, value in _OF_OTHER_USES.items():
            if hasattr(part, name):
                setattr(part, name, value)
        if getattr(part, "attention_type", None) == _LENGTH_DEPENDENT:
            part.attention_type = _LENGTH_INDEPENDENT
        for name in discarded:
            vars(part).pop(name, None)


_TINY_ARCHITECTURE: dict[str, Any] = {
    "num_hidden_layers": 1,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    # With less dropout a model from scratch overfits few rows, which costs 2 to 5 points of F1.
    "hidden_dropout_prob": 0.3,
}

_BYTES_PER_PARAMETER = 4
_FEWEST = 4
"""Number of tokens that every encoder accepts; `max_length` is never smaller."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A pretrained model that was read once, for all trainings that start from it."""

    kind: type[PreTrainedModel]
    config: PreTrainedConfig
    weights: Mapping[str, npt.NDArray[Any]] | None
    """Pretrained weights by parameter, float32, without the head; None: all weights are random."""
    digest: str
    """SHA-256 of kind, configuration and weights: equal digests and seeds give equal models."""
    note: str = ""
    """One line for the log if something is not used that a user may expect to be; else empty."""
    num_parameters: int = 0
    """Of the classifier, its head included."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the classifier's weights, float32."""
        return _BYTES_PER_PARAMETER * self.num_parameters

    def build(self, seed: int) -> PreTrainedModel:
        """Build a model with its own memory; the new head is initialised from `seed`."""
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
    """Read the model from its location; each training initialises its own head for these labels.

    Raises:
        InputError: the model cannot be loaded, or does not accept rows of `max_length` or the ids
            of this tokenizer.
    """
    weights, note = None, ""
    if model.name == TINY:
        built = _from_config(_tiny(model, tokenizer, labels))
    else:
        built, initialised, note = _load(model, labels, tokenizer)
        if model.weights == "pretrained":
            parameters = built.state_dict().items()
            weights = {name: w.numpy() for name, w in parameters if name not in initialised}
    check_fits(model, built, tokenizer)
    with loading("model", model):
        _classify_once(built, tokenizer)
    return Encoder(
        kind=type(built),
        config=built.config,
        weights=weights,
        digest=_digest(built, weights),
        note=note,
        num_parameters=sum(parameter.numel() for parameter in built.parameters()),
    )


def _digest(built: PreTrainedModel, weights: Mapping[str, npt.NDArray[Any]] | None) -> str:
    config = built.config.to_json_string(use_diff=False)
    digest = hashlib.sha256(f"{type(built).__qualname__}\n{config}".encode())
    for name, array in (weights or {}).items():
        digest.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _classify_once(built: PreTrainedModel, tokenizer: TokenizerFacts) -> None:
    """Classify a row of padding in training mode, where some settings are first read."""
    if built.config.is_encoder_decoder:
        return  # these need a row with an end, which only the tokenizer can make
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
    """Return the model, the parameters that each training initialises, and the encoder's note."""
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
        # Always float32: half precision loses small steps. A head of another size is not loaded;
        # `_check_is_pretrained` checks the rest.
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
    # A loaded head has learnt another task, or these rows; each training starts with a new one.
    head = {name for name in built.state_dict() if not name.startswith(_base_of(built))}
    note = _note(model) if head - missing and former == set(labels) else ""
    return built, missing | head, note


def _base_of(built: PreTrainedModel) -> str:
    """Return the prefix of the names of the encoder's own parameters."""
    return f"{built.base_model_prefix}."


def _note(model: ModelConfig) -> str:
    return (
        f"model.name: {model.name!r} has a head for these labels, which is not used: each training"
        " initialises a new one from its seed"
    )


def _check_is_pretrained(model: ModelConfig, built: PreTrainedModel, missing: set[str]) -> None:
    # Checkpoints of masked language models have no pooler; an existing one is kept.
    encoder = sorted(
        name for name in missing if name.startswith(_base_of(built)) and ".pooler." not in name
    )
    if encoder:
        raise InputError(
            f"model.name: the weights of {model.name!r} do not fit its config.json: {len(encoder)}"
            f" parameters of the encoder are missing or of another size ({encoder[0]} is one);"
            " give a directory saved whole, or set model.weights to random"
        )


_VECTOR_NOISE, _MATRIX_NOISE = 0.3, 0.7
"""Standard deviations; that of a matrix is divided by the root of its longer side."""
_SEED = 1914
_BLOCK = 1_000_003
"""Most random numbers per parameter, then repeated; a prime, so that no two rows are equal."""


def perturb(
    model: nn.Module, *, is_moved: Callable[[str], bool] = lambda _: True, rows: torch.Tensor
) -> None:
    """Add normal noise to parameters in their memory, without using a global generator.

    Args:
        model: on any device.
        is_moved: whether to add noise to the parameter of this name.
        rows: token ids, int64; only these rows of the large embedding table get noise.
    """
    generator = torch.Generator().manual_seed(_SEED)
    tokens = _embedding_table(model)
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
    """Perturb parameters during a `with` block, then restore them to the last bit."""
    kept = {name: p.detach().clone() for name, p in model.named_parameters() if is_moved(name)}
    try:
        perturb(model, is_moved=is_moved, rows=rows)
        yield
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in kept:
                    parameter.copy_(kept[name])


def _embedding_table(model: nn.Module) -> torch.Tensor | None:
    try:
        embeddings = getattr(model, "get_input_embeddings", lambda: None)()
    except NotImplementedError:  # a character model has no table
        embeddings = None
    weight = getattr(embeddings, "weight", None)
    return weight if isinstance(weight, torch.Tensor) else None


def _noise(parameter: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return noise of the shape of `parameter`, too small to saturate a softmax."""
    deviation = _VECTOR_NOISE
    if parameter.ndim > 1:
        deviation = _MATRIX_NOISE / math.sqrt(max(parameter.shape))
    block = torch.randn(min(parameter.numel(), _BLOCK), generator=generator) * deviation
    repeats = -(-parameter.numel() // max(len(block), 1))
    return block.repeat(repeats)[: parameter.numel()].view(parameter.shape).to(parameter)
