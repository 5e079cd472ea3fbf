"""A model directory that `evaluation.final` wrote, loaded to classify texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from evaluation.winner import WinningConfiguration
from training.config import ModelConfig
from training.errors import InputError
from training.inference import log_probabilities
from training.model import facts_of, load_tokenizer
from training.options import read_yaml, validate
from training.tokens import encode

_BATCH_SIZE = 32

# What the libraries raise for files that are torn, or are of something else.
_UNLOADABLE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError),
    *(SafetensorError, StrictDataclassError),
)


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A model directory that `evaluation.final` wrote, loaded."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    text_column: str

    @property
    def names(self) -> list[str]:
        """Label names in the order of their codes."""
        names: dict[Any, str] = self.model.config.id2label or {}
        return [names[code] for code in range(len(names))]

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Probability of each class, float64 [texts, num_labels]."""
        tokens = encode(self.tokenizer, texts, max_length=self.max_length)
        pad = facts_of(self.tokenizer).pad_token_id
        return np.exp(
            log_probabilities(self.model, tokens, batch_size=_BATCH_SIZE, pad_token_id=pad)
        )


def load(directory: Path) -> Classifier:
    """Load a model directory.

    Raises:
        InputError: it is not a directory with model.safetensors, tokenizer and configurations.
    """
    if not directory.is_dir():
        raise InputError(
            f"--model is {str(directory)!r}, but there is no such directory; give the final/model"
            " that evaluation.final wrote"
        )
    for name in ("training_config.yaml", "config.json", "model.safetensors", "tokenizer.json"):
        if not (directory / name).is_file():
            raise InputError(
                f"--model is {str(directory)!r}, but it has no {name}; give the final/model that"
                " evaluation.final wrote, whole"
            )
    path = directory / "training_config.yaml"
    settings = validate(WinningConfiguration, read_yaml(path), where=str(path))
    model = _load_model(directory)
    if torch.cuda.is_available():
        model.to("cuda")  # type: ignore[arg-type]  # wrapped by the library
    return Classifier(
        model=model,
        tokenizer=load_tokenizer(ModelConfig(name=str(directory)), tiny=directory),
        max_length=settings.model.max_length,
        text_column=settings.data.text_column,
    )


def _load_model(directory: Path) -> PreTrainedModel:
    model: PreTrainedModel
    try:
        # Weights from safetensors alone: a pickled file may hold code.
        model, report = AutoModelForSequenceClassification.from_pretrained(
            directory,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except _UNLOADABLE as error:
        raise _cannot_load(directory, str(error)) from error
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"]))
        raise _cannot_load(directory, f"model.safetensors lacks {missing}")
    return model


def _cannot_load(directory: Path, reason: str) -> InputError:
    return InputError(
        f"--model is {str(directory)!r}, but no model can be loaded from it"
        f" ({' '.join(reason.split())[:200]}); give the final/model that evaluation.final wrote"
    )
