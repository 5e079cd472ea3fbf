"""A saved model directory as ONNX, which runs without PyTorch."""

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

ONNX_FILE = "model.onnx"

# One file, as protobuf allows no more; the weights of a larger model lie in a second one.
LARGEST_FILE_BYTES = 2**31 - 2**20
_NOISY = ("torch.onnx", "torch.export", "torch._export", "torch.fx", "onnxscript", "onnx_ir")


class OnnxExportError(RuntimeError):
    """The model cannot be written as ONNX: one line that says why. The rest is not touched."""


def export_onnx(
    source: Path, directory: Path, *, largest_file_bytes: int = LARGEST_FILE_BYTES
) -> None:
    """Write the model saved in `source` as `model.onnx` into `directory`.

    Its inputs are those of the tokenizer's `model_input_names` that the model takes, int64
    [batch, length], both free; its first output is `logits`, float32 [batch, num_labels]. Weights
    that are too large for it are in `model.onnx.data` beside it. The export goes by
    `torch.export` on the CPU; no open model is touched.

    Args:
        source: a directory that `save_pretrained` wrote, with its tokenizer.
        directory: where to write; it is there.
        largest_file_bytes: bytes of weights that `model.onnx` may hold; 2 GB by its format.

    Raises:
        OnnxExportError: the exporter cannot follow this architecture, or memory is too small.
        OSError: `directory` cannot be written.
    """
    with _quiet():
        try:
            program = _export(source)
            num_bytes = sum(p.numel() * p.element_size() for p in _tensors(program))
            program.save(directory / ONNX_FILE, external_data=num_bytes > largest_file_bytes)
        except OSError:
            raise
        except Exception as error:  # of no common class: torch.export, dynamo, onnxscript
            raise OnnxExportError(
                f"{source}: the model cannot be written as ONNX ({_reason(error)}); use it with"
                " PyTorch, or choose an architecture such as BERT"
            ) from error


def _export(source: Path) -> Any:
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = AutoModelForSequenceClassification.from_pretrained(source, **options).eval()
    tokenizer = AutoTokenizer.from_pretrained(source, **options)
    inputs = _example(model, tokenizer.model_input_names)
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


def _example(model: torch.nn.Module, names: list[str]) -> dict[str, torch.Tensor]:
    """Two rows of unlike length, int64 [2, 5], for each input that the model takes."""
    taken = inspect.signature(model.forward).parameters
    # Not 0 or 1, which many architectures keep for padding.
    values = {
        "input_ids": torch.full((2, 5), 3),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "token_type_ids": torch.zeros(2, 5, dtype=torch.int64),
    }
    return {name: values[name] for name in names if name in taken}


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
