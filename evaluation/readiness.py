"""Check that a model directory is ready to ship: each artefact is loaded as users load it."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from safetensors.torch import load_file
from transformers.utils import SAFE_WEIGHTS_NAME, WEIGHTS_NAME

from evaluation.gates import Check, Stage, check
from training.classifier import Classifier, load, pipeline_probabilities
from training.model_files import CONFIGURATION_FILE, ONNX_FILE
from training.tokenizer import TOKENIZER_SETTINGS, vocabulary_files

Probabilities = npt.NDArray[np.float64]

TOLERANCE = 1e-4
"""Largest difference between two probabilities that count as equal."""

_FILES = ("config.json", SAFE_WEIGHTS_NAME, TOKENIZER_SETTINGS, CONFIGURATION_FILE, ONNX_FILE)
_LONG_TEXT = "a very long row " * 6250  # 100,000 characters
_EDGE_TEXTS = ("", "a", "a b", _LONG_TEXT)  # no token, the fewest, the most
_NUM_SINGLE_ROWS = 32


def check_artefacts(directory: Path, texts: Sequence[str], probabilities: Probabilities) -> Stage:
    """Load each artefact and compare its probabilities with those of the final evaluation.

    Args:
        directory: `final/model`.
        texts: texts that the evaluated model has classified, of any length.
        probabilities: probabilities of the evaluated model, float64 [texts, num_labels].

    Returns:
        {name: check}, with a check of `pytorch_model.bin` only if the file exists. Nothing is
        raised: an error is the value of a check that is not met.
    """
    loaded = cache(partial(load, directory))
    clean = [text.encode("utf-8", errors="replace").decode("utf-8") for text in texts]
    checks: dict[str, tuple[str, Callable[[], float | str]]] = {
        "files": ("all exist", lambda: _missing_files(directory)),
        "PyTorch loads": (
            f"same probabilities as in the evaluation, within {TOLERANCE}",
            lambda: _difference(loaded("torch").probabilities(clean), probabilities),
        ),
        "pipeline opens": (
            f"same label names and probabilities as in the evaluation, within {TOLERANCE}",
            lambda: _pipeline_difference(directory, loaded("torch").names, clean, probabilities),
        ),
        "pipeline truncates": (
            "with truncation=True, 100,000 characters give the same probabilities as the model"
            f" itself, within {TOLERANCE}",
            lambda: _pipeline_difference(
                directory,
                loaded("torch").names,
                [_LONG_TEXT],
                loaded("torch").probabilities([_LONG_TEXT]),
            ),
        ),
        "ONNX is valid": ("onnx.checker finds no error", lambda: _onnx_problem(directory)),
        "ONNX agrees": (
            f"same probabilities as PyTorch, within {TOLERANCE}, in mixed batches and alone",
            lambda: _backend_difference(loaded("torch"), loaded("onnx"), clean),
        ),
    }
    if (directory / WEIGHTS_NAME).exists():
        checks[f"{WEIGHTS_NAME} agrees"] = (
            f"torch.load(weights_only=True) gives the same tensors as {SAFE_WEIGHTS_NAME}",
            lambda: _pickled_problem(directory),
        )
    return {name: _check(rule, measure) for name, (rule, measure) in checks.items()}


def _check(rule: str, measure: Callable[[], float | str]) -> Check:
    """Return one check; a measured text that is not empty describes an error."""
    try:
        value = measure()
    except Exception as error:  # whatever a library raises, the artefact is not ready
        value = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if isinstance(value, str):
        return check(not value, value or "no error", rule)
    return check(value <= TOLERANCE, value, rule)


def _missing_files(directory: Path) -> str:
    names = (*_FILES, *vocabulary_files(directory))
    missing = [name for name in names if not (directory / name).is_file()]
    return f"{', '.join(missing)} missing" if missing else ""


def _difference(found: Probabilities, expected: Probabilities) -> float | str:
    """Return the largest difference, or why there is none; both are [texts, num_labels]."""
    if found.shape != expected.shape or not found.size:
        return f"{list(found.shape)} probabilities, but must be {list(expected.shape)}"
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return "a probability is not finite"
    return float(np.abs(found - expected).max())


def _pipeline_difference(
    directory: Path, names: Sequence[str], texts: Sequence[str], expected: Probabilities
) -> float | str:
    found = pipeline_probabilities(directory, names, texts)
    return _difference(found, expected)


def _pickled_problem(directory: Path) -> str:
    """Describe how the weights in PyTorch's format differ from the evaluated ones, if they do."""
    pickled = torch.load(directory / WEIGHTS_NAME, map_location="cpu", weights_only=True)
    weights = load_file(directory / SAFE_WEIGHTS_NAME)
    # Tied tensors are stored in model.safetensors once, under one of their names.
    own = {
        name
        for name in pickled.keys() - weights.keys()
        if not any(torch.equal(pickled[name], other) for other in weights.values())
    }
    if odd := sorted(own | (weights.keys() - pickled.keys())):
        return f"{len(odd)} tensors are in only one of the files, the first is {odd[0]}"
    others = [name for name in weights if not torch.equal(pickled[name], weights[name])]
    return f"{len(others)} tensors differ, the first is {others[0]}" if others else ""


def _onnx_problem(directory: Path) -> str:
    onnx.checker.check_model(directory / ONNX_FILE)  # raises an error for an invalid file
    return ""


def _backend_difference(
    by_torch: Classifier, by_onnx: Classifier, texts: Sequence[str]
) -> float | str:
    """Return the largest difference on sorted batches, on mixed batches and on single rows."""
    rows = sorted([*texts, *_EDGE_TEXTS], key=len)
    # Short next to long texts: each row is padded to the longest in its batch.
    mixed = [row for pair in zip(rows, reversed(rows), strict=True) for row in pair]
    spread = np.linspace(0, len(rows) - 1, min(len(rows), _NUM_SINGLE_ROWS)).astype(int)
    batches = [rows, *(mixed[n : n + 16] for n in range(0, len(mixed), 16))]
    batches += [[rows[n]] for n in spread]
    return _difference(
        np.concatenate([by_onnx.probabilities(batch) for batch in batches]),
        np.concatenate([by_torch.probabilities(batch) for batch in batches]),
    )
