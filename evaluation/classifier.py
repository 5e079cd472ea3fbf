"""A model directory that `evaluation.final` wrote, loaded to classify texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from training.config import DataConfig, ModelConfig
from training.errors import InputError
from training.inference import log_probabilities
from training.model import facts_of, load_tokenizer
from training.options import read_yaml
from training.tokens import encode

_BATCH_SIZE = 32


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
        InputError: it is not a directory with model, tokenizer and training_config.yaml.
    """
    if not directory.is_dir():
        raise InputError(
            f"--model is {str(directory)!r}, but there is no such directory; give the final/model"
            " that evaluation.final wrote"
        )
    settings = _read_settings(directory / "training_config.yaml")
    data, model = settings.get("data") or {}, settings.get("model") or {}
    place = ModelConfig(name=str(directory))
    try:
        classifier = AutoModelForSequenceClassification.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"--model is {str(directory)!r}, but no model can be loaded from it ({reason}); give"
            " the final/model that evaluation.final wrote"
        ) from error
    if torch.cuda.is_available():
        classifier.to("cuda")
    default = DataConfig.model_fields["text_column"].default
    return Classifier(
        model=classifier,
        tokenizer=load_tokenizer(place, tiny=directory),
        max_length=int(model.get("max_length", place.max_length)),
        text_column=str(data.get("text_column", default)),
    )


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"--model is {str(path.parent)!r}, but it has no {path.name}; give the final/model that"
            " evaluation.final wrote"
        )
    return read_yaml(path)
