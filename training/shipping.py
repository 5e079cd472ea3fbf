"""What is asked of a model once it is trained, asked of a small copy before the search.

The copy has two layers and perturbed weights. It is written as `evaluation.final` writes the
winner, into the run's own directory, opened by all that will open that one, and removed again:
what can fail at the end for a reason that is known at the start fails at the start.
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
from training.encoder_checks import TOLERANCE, Probabilities, describe_difference
from training.errors import InputError, OnnxExportError
from training.inference import log_probabilities
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
"""Names that configurations have for the same: numbers of layers, of heads, and sizes."""


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """What will be written at the end, but for the weights."""

    config: PreTrainedConfig
    """Of the model as it is built."""
    tokenizer: PreTrainedTokenizerBase
    configuration: WinningConfiguration
    """Its training section may have any values."""
    texts: Sequence[str]
    """Some of the training rows."""


def check_shipping(shipment: Shipment, directory: Path) -> str:
    """Write a small copy of the model, open it in every way there is, and compare the answers.

    Args:
        shipment: what will be written.
        directory: in the run's own, or where that will be; nothing is left there.

    Returns:
        A warning: one line if the model cannot be written as ONNX, which is no way that everybody
        needs; empty if it can.

    Raises:
        InputError: one line: which two ways do not agree, by how much, and the way out.
        OSError: the directory cannot be written.
    """
    name = shipment.configuration.model.name
    max_length = shipment.configuration.model.max_length
    model, tokens, texts = _small_model(shipment, max_length)
    padding = facts_of(shipment.tokenizer).padding
    expected = np.exp(log_probabilities(model, tokens, batch_size=_BATCH_SIZE, padding=padding))
    warning = ""
    with TemporaryDirectory(dir=directory) as scratch:
        place = Path(scratch) / "model"
        with _told(name, "cannot be saved"):
            try:
                write_model(place, model, shipment.tokenizer, shipment.configuration, "safetensors")
            except OnnxExportError as error:
                reason = str(error).removeprefix(f"{place}: ")
                warning = f"the search's model will have no model.onnx: {reason}"
        with _told(name, "cannot be loaded once it is saved"):
            opened = load(place)
            _compare(name, "saved and loaded again", opened.probabilities(texts), expected)
        with _told(name, "cannot be opened as transformers' pipeline once it is saved"):
            found = pipeline_probabilities(place, opened.names, texts)
            _compare(name, "as transformers' pipeline", found, expected)
        if not warning:
            with _told(name, "cannot be run by ONNX Runtime"):
                by_onnx = load(place, "onnx")
                together, alone = by_onnx.probabilities(texts), by_onnx.probabilities(texts[:1])
                _compare(name, "as ONNX", together, expected)
                _compare(name, "as ONNX, alone,", alone, expected[:1])
    return warning


def _compare(name: str, way: str, found: Probabilities, expected: Probabilities) -> None:
    is_alike = found.shape == expected.shape and np.abs(found - expected).max() <= TOLERANCE
    if not is_alike:
        raise InputError(
            f"model.name: {name!r} answers otherwise {way} than in training"
            f" ({describe_difference(found, expected)}); choose an encoder such as BERT"
        )


@contextmanager
def _told(name: str, what: str) -> Iterator[None]:
    """Turn what libraries raise about an architecture into a line; not what a disk does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise _refused(name, what, error) from error  # transformers', for a file it lacks
    except InputError as error:
        if error.problems[0].startswith("model.name: "):
            raise
        raise _refused(name, what, error) from error
    except Exception as error:  # of no common class
        raise _refused(name, what, error) from error


def _refused(name: str, what: str, error: Exception) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return InputError(f"model.name: {name!r} {what} ({reason}); choose an encoder such as BERT")


def _small_model(
    shipment: Shipment, max_length: int
) -> tuple[PreTrainedModel, TokenTable, list[str]]:
    """A small copy in evaluation mode, at perturbed weights, and the rows that it classifies."""
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
        except Exception:  # of no common class: its sizes fit each other in some other way
            if config is whole:
                raise
    return model, tokens, texts


def _shallow(config: PreTrainedConfig) -> PreTrainedConfig:
    """The same with two layers of each kind, and lists of a value a layer cut likewise."""
    shallow = copy.deepcopy(config)
    depths = {vars(shallow)[name] for name in _DEPTHS if vars(shallow).get(name)}
    for name, value in list(vars(shallow).items()):
        if name in _DEPTHS and value:
            setattr(shallow, name, min(value, _NUM_LAYERS))
        elif isinstance(value, list) and len(value) in depths:
            setattr(shallow, name, value[:_NUM_LAYERS])
    return shallow


def _narrow(config: PreTrainedConfig) -> PreTrainedConfig:
    """The same with two heads, and all that is as wide as the model as wide as these.

    The table of tokens is what is large: a quarter of a million rows in multilingual models.
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
"""Steps of `nice`: trials that start meanwhile are not to wait for it."""


def main() -> None:
    """Wait for what is to be checked, check it and say what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search, which gets it too, ends this
    os.nice(_YIELDS)
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers' own
    path = sys.stdin.readline().strip()
    if not path:
        return  # the search ended before it came to this
    # Written by the search that started this process, into a directory of its own.
    shipment, directory = pickle.loads(Path(path).read_bytes())
    try:
        said = {"warning": check_shipping(shipment, directory)}
    except InputError as error:
        said = {"problem": error.problems[0]}
    except OSError as error:
        place = error.filename or directory
        said = {"environment": f"{error.strerror or error}: {place}"}
    except MemoryError:
        said = {"environment": "out of memory while a small model was tried"}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
