"""The model directory that ships: weights, tokenizer, configuration and ONNX."""

import inspect
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import onnxruntime
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from training.config import WinningConfiguration
from training.errors import OnnxExportError
from training.options import to_yaml
from training.tokenizer import save_tokenizer_files

ONNX_FILE = "model.onnx"
TOLERANCE = 1e-4
"""Largest difference between two probabilities that are called equal."""

# One file, as protobuf allows no more; the weights of a larger model lie in a second one.
LARGEST_FILE_BYTES = 2**31 - 2**20
_FATAL = 4  # of onnxruntime's levels: errors are raised, and need not be printed besides
_NOISY = ("torch.onnx", "torch.export", "torch._export", "torch.fx", "onnxscript", "onnx_ir")


def export_onnx(
    source: Path, directory: Path, *, largest_file_bytes: int = LARGEST_FILE_BYTES
) -> None:
    """Write the model saved in `source` as `model.onnx` into `directory`.

    Its inputs are those of the tokenizer's `model_input_names` that the model takes, int64
    [batch, length], both free; its first output is `logits`, float32 [batch, num_labels]. Weights
    that are too large for it are in `model.onnx.data` beside it. The export goes by
    `torch.export` on the CPU; no open model is touched. What was written is run, on batches of
    other shapes than the one it was exported with, and held against PyTorch.

    Args:
        source: a directory that `save_pretrained` wrote, with its tokenizer.
        directory: where to write; it is there.
        largest_file_bytes: bytes of weights that `model.onnx` may hold; 2 GB by its format.

    Raises:
        OnnxExportError: the exporter cannot follow this architecture, memory is too small, or what
            was written does not answer as PyTorch does.
        OSError: `directory` cannot be written.
    """
    with _quiet():
        try:
            model, tokenizer = _open(source)
            program = _export(model, tokenizer)
            num_bytes = sum(p.numel() * p.element_size() for p in _tensors(program))
            program.save(directory / ONNX_FILE, external_data=num_bytes > largest_file_bytes)
            del program  # as large as the model
            _check_answers(directory / ONNX_FILE, model, tokenizer)
        except OSError:
            raise
        except Exception as error:  # of no common class: torch.export, dynamo, onnxscript
            raise OnnxExportError(
                f"{source}: the model cannot be written as ONNX ({_reason(error)}); use it with"
                " PyTorch, or choose an architecture such as BERT"
            ) from error


def _open(source: Path) -> tuple[Any, Any]:
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = AutoModelForSequenceClassification.from_pretrained(source, **options).eval()
    return model, AutoTokenizer.from_pretrained(source, **options)


def _export(model: torch.nn.Module, tokenizer: Any) -> Any:
    # Two rows of unlike length: what is 1, or the same, the exporter takes for a constant.
    inputs = _batch(model, tokenizer, ["a b c", "a"])
    program = torch.onnx.export(
        model,
        kwargs=inputs,
        dynamo=True,
        input_names=list(inputs),
        output_names=["logits"],
        dynamic_shapes={name: {0: "batch", 1: "length"} for name in inputs},
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces: paths of the machine that exports
    return program


def _batch(model: torch.nn.Module, tokenizer: Any, texts: list[str]) -> dict[str, torch.Tensor]:
    """Padded rows, int64 [texts, length], for each input that tokenizer and model have."""
    taken = inspect.signature(model.forward).parameters
    encoded = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    names = [name for name in tokenizer.model_input_names if name in taken]
    return {name: encoded[name] for name in names}


def _check_answers(path: Path, model: torch.nn.Module, tokenizer: Any) -> None:
    """Run the file on batches of several shapes.

    Raises:
        ValueError: its probabilities are not those of `model`.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for texts in (["a"], ["a b c d", "a b", "a"], ["a b c d e " * 4, "a"]):
        batch = _batch(model, tokenizer, texts)
        (logits,) = session.run(["logits"], {name: ids.numpy() for name, ids in batch.items()})
        found = torch.softmax(torch.from_numpy(logits), dim=-1)
        with torch.inference_mode():
            expected = torch.softmax(model(**batch).logits, dim=-1)
        difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE:
            raise ValueError(f"its probabilities differ from PyTorch's by {difference:.4f}")


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:  # the exporter wraps it in pages of advice
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _tensors(program: Any) -> Iterator[torch.Tensor]:
    yield from program.exported_program.state_dict.values()


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what the exporter says between our lines."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


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
