"""Is a model directory ready to ship? Each artefact is opened as its users open it."""

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
"""Largest difference between two probabilities that are called equal."""

_FILES = ("config.json", SAFE_WEIGHTS_NAME, TOKENIZER_SETTINGS, CONFIGURATION_FILE, ONNX_FILE)
_LONG_TEXT = "a very long row " * 6250  # 100,000 characters
_EDGE_TEXTS = ("", "a", "a b", _LONG_TEXT)  # no piece, the fewest, the most
_NUM_SINGLE_ROWS = 32


def check_artefacts(directory: Path, texts: Sequence[str], probabilities: Probabilities) -> Stage:
    """Open what ships and hold its answers against those of the final evaluation.

    Args:
        directory: `final/model`.
        texts: some rows that the evaluated model has classified, of any length.
        probabilities: what it said, float64 [texts, num_labels].

    Returns:
        {name: check}, that of `pytorch_model.bin` only where it is there. Nothing is raised: what
        goes wrong is the value of a check that is not met.
    """
    opened = cache(partial(load, directory))
    clean = [text.encode("utf-8", errors="replace").decode("utf-8") for text in texts]
    checks: dict[str, tuple[str, Callable[[], float | str]]] = {
        "files": ("all there", lambda: _missing_files(directory)),
        "PyTorch loads": (
            f"the evaluated probabilities within {TOLERANCE}",
            lambda: _difference(opened("torch").probabilities(clean), probabilities),
        ),
        "pipeline opens": (
            f"the label names, and the evaluated probabilities within {TOLERANCE}",
            lambda: _pipeline_difference(directory, opened("torch").names, clean, probabilities),
        ),
        "pipeline truncates": (
            f"with truncation=True, 100,000 characters as the model itself within {TOLERANCE}",
            lambda: _pipeline_difference(
                directory,
                opened("torch").names,
                [_LONG_TEXT],
                opened("torch").probabilities([_LONG_TEXT]),
            ),
        ),
        "ONNX is valid": ("onnx.checker finds nothing", lambda: _onnx_problem(directory)),
        "ONNX agrees": (
            f"PyTorch's probabilities within {TOLERANCE}, in batches of unlike lengths and alone",
            lambda: _backend_difference(opened("torch"), opened("onnx"), clean),
        ),
    }
    if (directory / WEIGHTS_NAME).exists():
        checks[f"{WEIGHTS_NAME} agrees"] = (
            f"torch.load(weights_only=True) gives the tensors of {SAFE_WEIGHTS_NAME}",
            lambda: _pickled_problem(directory),
        )
    return {name: _check(rule, measure) for name, (rule, measure) in checks.items()}


def _check(rule: str, measure: Callable[[], float | str]) -> Check:
    """One entry; a text that is not empty says what is wrong."""
    try:
        value = measure()
    except Exception as error:  # whatever a library raises, the artefact is not ready
        value = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    if isinstance(value, str):
        return check(not value, value or "none is wrong", rule)
    return check(value <= TOLERANCE, value, rule)


def _missing_files(directory: Path) -> str:
    names = (*_FILES, *vocabulary_files(directory))
    missing = [name for name in names if not (directory / name).is_file()]
    return f"{', '.join(missing)} missing" if missing else ""


def _difference(found: Probabilities, expected: Probabilities) -> float | str:
    """The largest difference, or why there is none: both are [texts, num_labels]."""
    if found.shape != expected.shape or not found.size:
        return f"{list(found.shape)} probabilities, but {list(expected.shape)} were to compare"
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return "a probability is not finite"
    return float(np.abs(found - expected).max())


def _pipeline_difference(
    directory: Path, names: Sequence[str], texts: Sequence[str], expected: Probabilities
) -> float | str:
    found = pipeline_probabilities(directory, names, texts)
    return _difference(found, expected)


def _pickled_problem(directory: Path) -> str:
    """How the weights of PyTorch's own format are others than those that were evaluated."""
    pickled = torch.load(directory / WEIGHTS_NAME, map_location="cpu", weights_only=True)
    weights = load_file(directory / SAFE_WEIGHTS_NAME)
    # Tensors that are tied stand in model.safetensors once, under one of their names.
    own = {
        name
        for name in pickled.keys() - weights.keys()
        if not any(torch.equal(pickled[name], other) for other in weights.values())
    }
    if odd := sorted(own | (weights.keys() - pickled.keys())):
        return f"{len(odd)} tensors stand in one file alone, the first {odd[0]}"
    others = [name for name in weights if not torch.equal(pickled[name], weights[name])]
    return f"{len(others)} tensors differ, the first {others[0]}" if others else ""


def _onnx_problem(directory: Path) -> str:
    onnx.checker.check_model(directory / ONNX_FILE)  # raises what it finds
    return ""


def _backend_difference(
    by_torch: Classifier, by_onnx: Classifier, texts: Sequence[str]
) -> float | str:
    """The largest difference on batches of like lengths, of unlike lengths, and on single rows."""
    rows = sorted([*texts, *_EDGE_TEXTS], key=len)
    # Short beside long: each row is padded to the longest of its few.
    mixed = [row for pair in zip(rows, reversed(rows), strict=True) for row in pair]
    spread = np.linspace(0, len(rows) - 1, min(len(rows), _NUM_SINGLE_ROWS)).astype(int)
    batches = [rows, *(mixed[n : n + 16] for n in range(0, len(mixed), 16))]
    batches += [[rows[n]] for n in spread]
    return _difference(
        np.concatenate([by_onnx.probabilities(batch) for batch in batches]),
        np.concatenate([by_torch.probabilities(batch) for batch in batches]),
    )
