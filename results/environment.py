"""What a run was made with: versions, devices, commit."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from results.errors import RunError
from results.run import Run

VERSION = "0.3.0"
"""Of this program, as in pyproject.toml: known without the package being installed."""

_BEFORE_IT_WAS_RECORDED = "0.1.0"


def recorded_version(record: Mapping[str, Any]) -> str:
    """The version that began a run, from the content of its `search.json`."""
    return str((record.get("environment") or {}).get("version") or _BEFORE_IT_WAS_RECORDED)


def check_data_rules(run: Run, record: Mapping[str, Any], rules: int, *, goal: str) -> None:
    """Refuse a run whose rows were dropped and held together by other rules than now.

    Args:
        run: named in the error.
        record: content of its `search.json`.
        rules: number of the rules now, `training.data.RULES`.
        goal: what the version that made the run would be used for, such as "evaluate it".

    Raises:
        RunError: its split may come out otherwise.
    """
    if record["data"].get("rules", 1) == rules:
        return
    version = recorded_version(record)
    raise RunError(
        f"run {run.directory}: it was searched by version {version}, whose rules for duplicate rows"
        f" were others, so that this version ({VERSION}) need not make its split again; {goal} with"
        f" version {version}, or search again"
    )


PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "ray",
    "optuna",
    "scikit-learn",
    "pandas",
    "numpy",
    "onnx",
    "onnxruntime",
)


def describe_environment() -> dict[str, Any]:
    """Versions of this program, Python and the packages that decide results, devices, commit."""
    import torch  # takes seconds; what only compares versions does without

    cards = range(torch.cuda.device_count())
    return {
        "version": VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": [torch.cuda.get_device_name(card) for card in cards] or [_processor()],
        "commit": _commit(),
    }


def hash_model(directory: Path) -> str | None:
    """SHA-256 over the names and contents of a model directory's files; None if it is none."""
    if not directory.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(p for p in directory.iterdir() if p.is_file()):
        digest.update(path.name.encode("utf-8", errors="surrogateescape"))
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of the checkout that this file lies in; None outside of one."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", "HEAD"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
