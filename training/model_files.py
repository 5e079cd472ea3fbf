"""The model directory that ships: weights, tokenizer, configuration and ONNX."""

import inspect
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from training.config import WinningConfiguration
from training.onnx_export import ONNX_FILE, export_onnx
from training.options import to_yaml
from training.tokenizer_files import save_tokenizer_files

Weights = Literal["safetensors", "bin"]

CONFIGURATION_FILE = "training_config.yaml"
_PICKLED_WEIGHTS = "pytorch_model.bin"


def write_model(
    directory: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    configuration: WinningConfiguration,
    weights: Weights,
) -> None:
    """Write a directory that `transformers.pipeline("text-classification")` opens.

    Files are written aside and moved in when they are whole. `training_config.yaml`, without
    which nothing here loads the directory, goes first when there is an old one and comes after
    weights and tokenizer; `model.onnx` comes last.

    Args:
        directory: `final/model`, made if it is not there.
        model: float32, on any device, left as it is.
        tokenizer: saved with `max_length` as its longest input, left as it is.
        configuration: what the model was trained with, saved as `training_config.yaml`.
        weights: `safetensors`, or also `bin` for `pytorch_model.bin`.

    Raises:
        OnnxExportError: there is no `model.onnx`, since it cannot be exported; all else is there.
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.parent.glob(f".{directory.name}.*"):
        shutil.rmtree(leftover)  # of a run that was killed in mid-write
    for name in (CONFIGURATION_FILE, ONNX_FILE, f"{ONNX_FILE}.data", _PICKLED_WEIGHTS):
        (directory / name).unlink(missing_ok=True)  # of another model from here on
    with _written_aside(directory, last=CONFIGURATION_FILE) as aside:
        model.save_pretrained(aside)
        save_tokenizer_files(
            tokenizer,
            aside,
            max_length=configuration.model.max_length,
            input_names=_inputs(tokenizer, model),
        )
        if weights == "bin":
            on_cpu = {name: value.cpu() for name, value in model.state_dict().items()}
            torch.save(on_cpu, aside / _PICKLED_WEIGHTS)
        content = to_yaml(configuration.model_dump(mode="json"))
        (aside / CONFIGURATION_FILE).write_text(content, encoding="utf-8")
    with _written_aside(directory, last=ONNX_FILE) as aside:
        export_onnx(directory, aside)


@contextmanager
def _written_aside(directory: Path, *, last: str) -> Iterator[Path]:
    """An empty directory whose files are moved into `directory` at the end, `last` after all."""
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as name:
        yield Path(name)
        for file in sorted(Path(name).iterdir(), key=lambda file: file.name == last):
            with file.open("rb") as content:
                os.fsync(content.fileno())
            file.chmod(0o644)
            file.replace(directory / file.name)


def _inputs(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> list[str]:
    """Names of what `tokenizer` shall give `model`: ids, mask, and kinds of tokens if all are 0.

    Training leaves the kinds out, which is to say that all are 0.
    """
    names = list(tokenizer.model_input_names)
    if "attention_mask" not in names:
        names.insert(1, "attention_mask")
    if "token_type_ids" in names:
        is_taken = "token_type_ids" in inspect.signature(model.forward).parameters
        if not is_taken or any(tokenizer("a", return_token_type_ids=True)["token_type_ids"]):
            names.remove("token_type_ids")
    return names
