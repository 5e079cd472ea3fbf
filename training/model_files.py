"""Write the model directory `final/model`: weights, tokenizer, configuration and ONNX export."""

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
from training.inference import TOLERANCE
from training.options import to_yaml
from training.tokenizer import save_tokenizer_files

Weights = Literal["safetensors", "bin"]

CONFIGURATION_FILE = "training_config.yaml"
ONNX_FILE = "model.onnx"
_PICKLED_WEIGHTS = "pytorch_model.bin"

# Protobuf allows no larger file; the weights of a larger model are in a second file.
LARGEST_FILE_BYTES = 2**31 - 2**20
FATAL = 4  # the log level of onnxruntime: its errors are raised, so they are not printed too
_NOISY = ("torch.onnx", "torch.export", "torch._export", "torch.fx", "onnxscript", "onnx_ir")


def write_model(
    directory: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    configuration: WinningConfiguration,
    weights: Weights,
) -> None:
    """Write a directory that `transformers.pipeline("text-classification")` loads.

    Files are written to a temporary directory and moved when they are complete. An old
    `training_config.yaml`, without which this project does not load the directory, is removed
    first; the new one comes after weights and tokenizer, and `model.onnx` comes last.

    Args:
        directory: `final/model`; made if it does not exist.
        model: float32, on any device; it is not changed.
        tokenizer: saved with `max_length` as its longest input; it is not changed.
        configuration: of the training, saved as `training_config.yaml`.
        weights: `safetensors`; or `bin`, which writes `pytorch_model.bin` too.

    Raises:
        OnnxExportError: `model.onnx` cannot be exported; the other files are complete.
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.parent.glob(f".{directory.name}.*"):
        shutil.rmtree(leftover)  # of a run that was killed while writing
    for name in (CONFIGURATION_FILE, ONNX_FILE, f"{ONNX_FILE}.data", _PICKLED_WEIGHTS):
        (directory / name).unlink(missing_ok=True)  # they belong to another model
    with _moved_when_complete(directory, last=CONFIGURATION_FILE) as temporary:
        model.save_pretrained(temporary)
        save_tokenizer_files(
            tokenizer,
            temporary,
            max_length=configuration.model.max_length,
            input_names=_inputs(tokenizer, model),
        )
        if weights == "bin":
            on_cpu = {name: value.cpu() for name, value in model.state_dict().items()}
            torch.save(on_cpu, temporary / _PICKLED_WEIGHTS)
        content = to_yaml(configuration.model_dump(mode="json"))
        (temporary / CONFIGURATION_FILE).write_text(content, encoding="utf-8")
    with _moved_when_complete(directory, last=ONNX_FILE) as temporary:
        export_onnx(directory, temporary)


@contextmanager
def _moved_when_complete(directory: Path, *, last: str) -> Iterator[Path]:
    """Yield an empty directory; move its files into `directory` at the end, `last` as the last."""
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as name:
        yield Path(name)
        for file in sorted(Path(name).iterdir(), key=lambda file: file.name == last):
            with file.open("rb") as content:
                os.fsync(content.fileno())
            file.chmod(0o644)
            file.replace(directory / file.name)


def _inputs(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> list[str]:
    """Return the inputs that `tokenizer` makes for `model`.

    They are ids, mask, and token types if these are all 0, as in training, which leaves them out.
    """
    names = list(tokenizer.model_input_names)
    if "attention_mask" not in names:
        names.insert(1, "attention_mask")
    if "token_type_ids" in names:
        is_taken = "token_type_ids" in inspect.signature(model.forward).parameters
        if not is_taken or any(tokenizer("a", return_token_type_ids=True)["token_type_ids"]):
            names.remove("token_type_ids")
    return names


def export_onnx(
    source: Path, directory: Path, *, largest_file_bytes: int = LARGEST_FILE_BYTES
) -> None:
    """Write the model saved in `source` as `model.onnx` into `directory`.

    Its inputs are those of the tokenizer's `model_input_names` that the model takes, int64
    [batch, length] of any batch and length; its first output is `logits`, float32
    [batch, num_labels]. Weights that are too large for the file are in `model.onnx.data` beside
    it. The model is read from its files, exported by `torch.export` on the CPU, and compared with
    PyTorch on batches of other shapes than that of the export.

    Args:
        source: a directory that `save_pretrained` wrote, with its tokenizer.
        directory: an existing directory to write into.
        largest_file_bytes: bytes of weights that `model.onnx` may contain; its format allows 2 GB.

    Raises:
        OnnxExportError: the exporter does not support this architecture, memory is too small, or
            the export's predictions differ from PyTorch's.
        OSError: `directory` cannot be written.
    """
    with _quiet():
        try:
            model, tokenizer = _open(source)
            program = _export(model, tokenizer)
            num_bytes = sum(p.numel() * p.element_size() for p in _tensors(program))
            program.save(directory / ONNX_FILE, external_data=num_bytes > largest_file_bytes)
            del program  # as large as the model
            _check_predictions(directory / ONNX_FILE, model, tokenizer)
        except OSError:
            raise
        except Exception as error:  # torch.export, dynamo and onnxscript share no class of errors
            raise OnnxExportError(
                f"{source}: the model cannot be exported to ONNX ({_reason(error)}); use it with"
                " PyTorch, or choose an architecture such as BERT"
            ) from error


def _open(source: Path) -> tuple[Any, Any]:
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = AutoModelForSequenceClassification.from_pretrained(source, **options).eval()
    return model, AutoTokenizer.from_pretrained(source, **options)


def _export(model: torch.nn.Module, tokenizer: Any) -> Any:
    # Two rows of different lengths: the exporter takes sizes of 1, or equal ones, as constants.
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
        node.metadata_props.clear()  # stack traces, which contain paths of this machine
    return program


def _batch(model: torch.nn.Module, tokenizer: Any, texts: list[str]) -> dict[str, torch.Tensor]:
    """Return padded rows, int64 [texts, length], for each input of both tokenizer and model."""
    taken = inspect.signature(model.forward).parameters
    encoded = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    names = [name for name in tokenizer.model_input_names if name in taken]
    return {name: encoded[name] for name in names}


def _check_predictions(path: Path, model: torch.nn.Module, tokenizer: Any) -> None:
    """Compare the predictions of the file and of `model` on batches of several shapes.

    Raises:
        ValueError: they differ.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
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
    while error.__cause__ is not None:  # the exporter wraps the cause in long advice
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _tensors(program: Any) -> Iterator[torch.Tensor]:
    yield from program.exported_program.state_dict.values()


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard the output and the warnings of the exporter."""
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
