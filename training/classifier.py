"""Load a model directory and classify texts with it, by PyTorch or by ONNX Runtime."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime
import torch
from scipy.special import softmax
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    pipeline,
)

from training.baseline_files import is_baseline, read_baseline
from training.batches import pad
from training.config import TEXT_COLUMN, ModelConfig, WinningConfiguration
from training.errors import InputError, panics_are_errors, silenced_panics
from training.inference import Probabilities, log_probabilities
from training.model import check_size, facts_of, load_tokenizer
from training.model_files import CONFIGURATION_FILE, FATAL, ONNX_FILE
from training.options import read_yaml, validate
from training.tokenizer import vocabulary_files
from training.tokens import encode

Backend = Literal["torch", "onnx"]

PLAIN_TEXT = "a"
"""A text that every working model can classify."""

_BATCH_SIZE = 32
_WEIGHTS: dict[Backend, str] = {"torch": "model.safetensors", "onnx": ONNX_FILE}


class Classifier(Protocol):
    """Classifies texts."""

    @property
    def names(self) -> Sequence[str]:
        """Label names in the order of their codes."""

    @property
    def text_column(self) -> str:
        """Name of the text column in training."""

    def probabilities(self, texts: Sequence[str]) -> Probabilities:
        """Return the probability of each class, float64 [texts, num_labels]."""


@dataclass(frozen=True, kw_only=True)
class TorchClassifier:
    """Classifies with PyTorch, on a GPU if there is one."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    names: Sequence[str]
    text_column: str

    def probabilities(self, texts: Sequence[str]) -> Probabilities:
        """Return the probability of each class, float64 [texts, num_labels]."""
        tokens = encode(self.tokenizer, texts, max_length=self.max_length)
        padding = facts_of(self.tokenizer).padding
        return np.exp(
            log_probabilities(self.model, tokens, batch_size=_BATCH_SIZE, padding=padding)
        )


@dataclass(frozen=True, kw_only=True)
class OnnxClassifier:
    """Classifies with ONNX Runtime on the CPU; `model.onnx` contains all weights."""

    session: onnxruntime.InferenceSession
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    names: Sequence[str]
    text_column: str

    def probabilities(self, texts: Sequence[str]) -> Probabilities:
        """Return the probability of each class, float64 [texts, num_labels]."""
        tokens = encode(self.tokenizer, texts, max_length=self.max_length)
        padding = facts_of(self.tokenizer).padding
        result = np.empty((len(texts), len(self.names)))
        order = np.argsort(-tokens.lengths, kind="stable")  # similar lengths need little padding
        for start in range(0, len(order), _BATCH_SIZE):
            rows = order[start : start + _BATCH_SIZE]
            result[rows] = self._run(pad(tokens, rows, padding=padding))
        return result

    def _run(self, batch: dict[str, torch.Tensor]) -> Probabilities:
        single_text = {"token_type_ids": torch.zeros_like(batch["input_ids"])}
        values = single_text | batch
        feed = {node.name: values[node.name].numpy() for node in self.session.get_inputs()}
        (logits,) = self.session.run(["logits"], feed)
        probabilities: Probabilities = softmax(logits.astype(np.float64), axis=-1)
        return probabilities


def load(directory: Path, backend: Backend = "torch") -> Classifier:
    """Load a model directory.

    Args:
        directory: `final/model`, or `final/baseline`.
        backend: `torch` reads model.safetensors, `onnx` reads model.onnx instead; a baseline needs
            neither.

    Raises:
        InputError: weights, tokenizer or a configuration are missing or damaged, the model cannot
            classify a text, or a baseline is to be run by ONNX Runtime.
    """
    if is_baseline(directory):
        return _load_baseline(directory, backend)
    _check_files(directory, backend)
    path = directory / CONFIGURATION_FILE
    settings = validate(WinningConfiguration, read_yaml(path), where=str(path))
    shared: dict[str, Any] = {
        "names": _label_names(directory),
        "tokenizer": load_tokenizer(ModelConfig(name=str(directory)), tiny=directory),
        "max_length": settings.model.max_length,
        "text_column": settings.data.text_column or TEXT_COLUMN,
    }
    classifier: Classifier
    if backend == "onnx":
        classifier = OnnxClassifier(session=_open_session(directory), **shared)
    else:
        classifier = TorchClassifier(model=_load_model(directory), **shared)
    with _loading(directory, "it cannot classify a text: "):
        found = classifier.probabilities([PLAIN_TEXT])
    if found.shape != (1, len(classifier.names)):
        raise _cannot_load(
            directory,
            f"config.json names {len(classifier.names)} classes, but the model has"
            f" {found.shape[-1]}",
        )
    return classifier


def _load_baseline(directory: Path, backend: Backend) -> Classifier:
    if backend == "onnx":
        raise InputError(
            f"--backend is 'onnx', but {str(directory)!r} holds a baseline, which has no"
            f" {ONNX_FILE} and runs by scikit-learn; leave --backend out"
        )
    return read_baseline(directory)


def pipeline_probabilities(
    directory: Path, names: Sequence[str], texts: Sequence[str]
) -> Probabilities:
    """Return the probabilities of transformers' own pipeline, float64 [texts, num_labels].

    Args:
        directory: `final/model`.
        names: of the labels, in the order of their codes.
        texts: classified one at a time; truncated to the model's longest row.

    Raises:
        ValueError: the pipeline returns other labels.
    """
    classify: Any = pipeline("text-classification", model=str(directory), truncation=True)
    found = np.empty((len(texts), len(names)))
    for row, text in enumerate(texts):
        scores = {answer["label"]: answer["score"] for answer in classify(text, top_k=None)}
        if scores.keys() != set(names):
            raise ValueError(f"the labels are {sorted(scores)}, but must be {sorted(names)}")
        found[row] = [scores[name] for name in names]
    return found


def _check_files(directory: Path, backend: Backend) -> None:
    if not directory.is_dir():
        raise InputError(
            f"--model is {str(directory)!r}, but there is no such directory; give the final/model"
            " that evaluation.final wrote"
        )
    needed = (CONFIGURATION_FILE, "config.json", _WEIGHTS[backend], *vocabulary_files(directory))
    for name in needed:
        if not (directory / name).is_file():
            hint = "; or choose --backend torch" if name == ONNX_FILE else ""
            raise InputError(
                f"--model is {str(directory)!r}, but it has no {name}; give the final/model that"
                f" evaluation.final wrote, with all its files{hint}"
            )


def _label_names(directory: Path) -> list[str]:
    with _loading(directory):
        config = AutoConfig.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
        check_size(config)
        names: dict[Any, str] = config.id2label or {}
        return [str(names[code]) for code in range(len(names))]


def _load_model(directory: Path) -> PreTrainedModel:
    model: PreTrainedModel
    with _loading(directory):
        # Weights only from safetensors: a pickled file may contain code.
        model, report = AutoModelForSequenceClassification.from_pretrained(
            directory,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"]))
        raise _cannot_load(directory, f"model.safetensors lacks {missing}")
    if torch.cuda.is_available():
        model.to("cuda")  # type: ignore[arg-type]  # wrapped by the library
    return model


def _open_session(directory: Path) -> onnxruntime.InferenceSession:
    onnxruntime.set_default_logger_severity(FATAL)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = torch.get_num_threads()  # OMP_NUM_THREADS sets both
    # Memory patterns are kept for every shape: their number would grow with the rows.
    options.enable_mem_pattern = False
    with _loading(directory, f"{ONNX_FILE}: "):
        return onnxruntime.InferenceSession(
            directory / ONNX_FILE, options, providers=["CPUExecutionProvider"]
        )


@contextmanager
def _loading(directory: Path, what: str = "") -> Iterator[None]:
    """Turn what libraries raise for damaged or foreign files into one error line."""
    try:
        with silenced_panics(), panics_are_errors(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an error follows
            yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # these libraries share no class of errors
        raise _cannot_load(directory, f"{what}{error}") from error


def _cannot_load(directory: Path, reason: str) -> InputError:
    return InputError(
        f"--model is {str(directory)!r}, but no model can be loaded from it"
        f" ({' '.join(reason.split())[:200]}); give the final/model that evaluation.final wrote"
    )
