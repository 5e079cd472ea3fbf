"""Check before a search that its final model can be written, loaded and exported.

The check uses a small copy of the model with two layers and perturbed weights. The copy is written
into the directory of the run as `evaluation.final` writes the winner, loaded in every way that
users load the final model, and removed. An architecture that would fail at the end thus fails at
the start.
"""

import copy
import json
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import logging as transformers_logging

from training.classifier import load, pipeline_probabilities
from training.config import WinningConfiguration
from training.encoder import perturb
from training.encoder_checks import describe_difference
from training.errors import InputError, OnnxExportError, Problems
from training.inference import TOLERANCE, Probabilities, log_probabilities
from training.model import facts_of
from training.model_files import write_model
from training.tokens import TokenTable, encode

_NUM_LAYERS, _NUM_HEADS = 2, 2
_BATCH_SIZE = 4
_DEPTHS = (
    *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers"),
    *("encoder_layers", "decoder_layers"),
)
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads")
_WIDTHS = (
    *("hidden_size", "d_model", "dim", "n_embd", "emb_dim", "embedding_size"),
    *("input_embedding_size", "pooler_hidden_size"),
)
"""Names in the configurations of architectures: numbers of layers, numbers of heads, sizes."""


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """What the final model consists of, except for the weights."""

    config: PreTrainedConfig
    """Of the built model."""
    tokenizer: PreTrainedTokenizerBase
    configuration: WinningConfiguration
    """The values of its training section do not matter."""
    texts: Sequence[str]
    """Texts of some training rows."""


def check_shipping(shipment: Shipment, directory: Path) -> str:
    """Write a small copy of the model, load it in every way, and compare the predictions.

    Args:
        shipment: what the final model consists of.
        directory: for temporary files, within the directory of the run or beside it.

    Returns:
        A warning in one line if the model cannot be exported to ONNX, which not everybody needs;
        empty if it can.

    Raises:
        InputError: predictions differ, or a step fails; the message states which and what to do.
        OSError: the directory cannot be written.
    """
    name = shipment.configuration.model.name
    max_length = shipment.configuration.model.max_length
    model, tokens, texts = _small_model(shipment, max_length)
    padding = facts_of(shipment.tokenizer).padding
    expected = np.exp(log_probabilities(model, tokens, batch_size=_BATCH_SIZE, padding=padding))
    warning = ""
    with TemporaryDirectory(dir=directory) as scratch:
        path = Path(scratch) / "model"
        with _as_input_error(name, "cannot be saved"):
            try:
                write_model(path, model, shipment.tokenizer, shipment.configuration, "safetensors")
            except OnnxExportError as error:
                reason = str(error).removeprefix(f"{path}: ")
                warning = f"the search's model will have no model.onnx: {reason}"
        with _as_input_error(name, "cannot be loaded once it is saved"):
            loaded = load(path)
            _compare(name, "after it is saved and loaded", loaded.probabilities(texts), expected)
        with _as_input_error(name, "cannot be loaded by transformers' pipeline once it is saved"):
            found = pipeline_probabilities(path, loaded.names, texts)
            _compare(name, "in transformers' pipeline", found, expected)
        if not warning:
            with _as_input_error(name, "cannot be run by ONNX Runtime"):
                by_onnx = load(path, "onnx")
                together, alone = by_onnx.probabilities(texts), by_onnx.probabilities(texts[:1])
                _compare(name, "in ONNX Runtime", together, expected)
                _compare(name, "in ONNX Runtime, in a batch of its own,", alone, expected[:1])
    return warning


def check_all(shipments: Sequence[Shipment], directory: Path) -> list[str]:
    """Check the model of each searched encoder, one after the other, as `check_shipping` does.

    Returns:
        The warnings, which name their encoder if there are several.

    Raises:
        InputError: with a line for each encoder that cannot be shipped.
        OSError: the directory cannot be written.
    """
    problems, warned = Problems(), []
    for shipment in shipments:
        warning = problems.attempt(partial(check_shipping, shipment, directory))
        if warning:
            name = f"{shipment.configuration.model.name!r}: " if len(shipments) > 1 else ""
            warned.append(f"{name}{warning}")
    problems.raise_any()
    return warned


def _compare(name: str, way: str, found: Probabilities, expected: Probabilities) -> None:
    is_equal = found.shape == expected.shape and np.abs(found - expected).max() <= TOLERANCE
    if not is_equal:
        raise InputError(
            f"model.name: {name!r} classifies differently {way} than in training"
            f" ({describe_difference(found, expected)}); choose an encoder such as BERT"
        )


@contextmanager
def _as_input_error(name: str, what: str) -> Iterator[None]:
    """Turn what libraries raise about an architecture into one error line; disk errors pass."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise _refused(name, what, error) from error  # transformers lacks a file
    except InputError as error:
        if error.problems[0].startswith("model.name: "):
            raise
        raise _refused(name, what, error) from error
    except Exception as error:  # architectures share no class of errors
        raise _refused(name, what, error) from error


def _refused(name: str, what: str, error: Exception) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return InputError(f"model.name: {name!r} {what} ({reason}); choose an encoder such as BERT")


def _small_model(
    shipment: Shipment, max_length: int
) -> tuple[PreTrainedModel, TokenTable, list[str]]:
    """Return a small copy with perturbed weights, its rows, and the texts of the rows."""
    texts = [*shipment.texts, " ".join(shipment.texts) * max_length]
    tokens = encode(shipment.tokenizer, texts, max_length=max_length)
    padding = facts_of(shipment.tokenizer).padding
    whole = shipment.config
    for config in (_narrow(_shallow(whole)), _shallow(whole), whole):
        try:
            model: Any = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]  # transformers' own
                config, dtype=torch.float32
            )
            perturb(model, rows=torch.from_numpy(tokens.ids).long())
            log_probabilities(model, tokens, batch_size=_BATCH_SIZE, padding=padding)
            break
        except Exception:  # its sizes depend on each other in some other way
            if config is whole:
                raise
    return model, tokens, texts


def _shallow(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return a copy with two layers of each kind; lists of one value per layer are shortened."""
    shallow = copy.deepcopy(config)
    depths = {vars(shallow)[name] for name in _DEPTHS if vars(shallow).get(name)}
    for name, value in list(vars(shallow).items()):
        if name in _DEPTHS and value:
            setattr(shallow, name, min(value, _NUM_LAYERS))
        elif isinstance(value, list) and len(value) in depths:
            setattr(shallow, name, value[:_NUM_LAYERS])
    return shallow


def _narrow(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return a copy with two heads, whose width is that of two heads.

    This makes the embedding table small, which has 250,000 rows in multilingual models.
    """
    narrow = copy.deepcopy(config)
    heads = [value for name in _HEADS if isinstance(value := vars(narrow).get(name), int)]
    if not heads or max(heads) <= _NUM_HEADS:
        return narrow
    width = narrow.hidden_size
    for name, value in list(vars(narrow).items()):
        if name in _HEADS:
            setattr(narrow, name, min(value, _NUM_HEADS))
        elif name in _WIDTHS and value == width:
            setattr(narrow, name, width // max(heads) * _NUM_HEADS)
    return narrow


_YIELDS = 10
"""Increment of `nice`, so that trials which start meanwhile are not delayed."""


def main() -> None:
    """Read from standard input where the shipments are, check them and print the result as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search gets it too and ends this process
    os.nice(_YIELDS)
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers' own
    path = sys.stdin.readline().strip()
    if not path:
        return  # the search ended before this check
    # The search that started this process wrote the file, into a directory of its own.
    shipments, directory = pickle.loads(Path(path).read_bytes())
    result: dict[str, str | Sequence[str]]
    try:
        result = {"warnings": check_all(shipments, directory)}
    except InputError as error:
        result = {"problems": error.problems}
    except OSError as error:
        path = error.filename or directory
        result = {"environment": f"{error.strerror or error}: {path}"}
    except MemoryError:
        result = {"environment": "out of memory while a small copy of the model was checked"}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
