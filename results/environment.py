"""Environment of a run: versions of the program and of packages, devices, commit, model hash."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from results.errors import RunError
from results.run import Run

VERSION = "0.4.0"
"""Version of this program, as in pyproject.toml: known without installing the package."""

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

_FIRST_VERSION = "0.1.0"  # which did not record its version


def describe_environment() -> dict[str, Any]:
    """Return the versions of this program, of Python and of packages, the devices, the commit."""
    import torch  # takes seconds; callers that only compare versions need not wait

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
    """Return the SHA-256 of the names and contents of a directory's files; None: no directory."""
    if not directory.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(p for p in directory.iterdir() if p.is_file()):
        digest.update(path.name.encode("utf-8", errors="surrogateescape"))
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def recorded_version(record: Mapping[str, Any]) -> str:
    """Return the version that started a run, from the content of its `search.json`."""
    return str((record.get("environment") or {}).get("version") or _FIRST_VERSION)


def check_data_rules(run: Run, record: Mapping[str, Any], rules: int, *, goal: str) -> None:
    """Refuse a run whose rows were dropped and grouped by other rules than the current ones.

    Args:
        run: its directory is named in the error.
        record: content of its `search.json`.
        rules: number of the current rules, `training.data.RULES`.
        goal: what the user wants to do with the run, such as "evaluate it".

    Raises:
        RunError: the rules differ, so that this version may split the rows differently.
    """
    if record["data"].get("rules", 1) == rules:
        return
    version = recorded_version(record)
    raise RunError(
        f"run {run.directory}: it was searched by version {version}, whose rules for duplicate rows"
        f" differ, so that this version ({VERSION}) may split the rows differently; {goal} with"
        f" version {version}, or search again"
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit of the checkout that contains this file; None outside of a checkout."""
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
