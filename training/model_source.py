"""Where a model is read from: the hub or a directory. The module loads no library of models."""

from pathlib import Path
from typing import Any

from training.config import ModelConfig
from training.errors import InputError


def source_of(model: ModelConfig) -> tuple[str, dict[str, Any]]:
    """Return where to read `model`, and the options of `from_pretrained` for it.

    Raises:
        InputError: `model.name` has the form of a path, but there is no such directory.
    """
    path = Path(model.name)
    if path.is_dir():
        return str(path), {"local_files_only": True, "trust_remote_code": False}
    if path.is_absolute() or model.name.startswith((".", "~")) or model.name.count("/") > 1:
        raise InputError(
            f"model.name is {model.name!r}, but there is no such directory; give a directory,"
            " a hub id such as indobenchmark/indobert-base-p1, or tiny"
        )
    return model.name, {"revision": model.revision, "trust_remote_code": False}
