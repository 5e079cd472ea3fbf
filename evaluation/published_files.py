"""The files of a model that may be published, without what is private in them.

`trained_on.bin` (with it anybody can test whether a text was trained on), reports, predictions and
data are never among them: names are taken from a list, not left out of what is there.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.markdown import plain
from results.files import write_json, write_text
from training.baseline_files import is_baseline
from training.cli import hide_secrets, is_uri
from training.errors import InputError
from training.options import read_yaml, to_yaml

CARD, SETTINGS = "README.md", "training_config.yaml"
_CONFIGURATION = "config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
    *("tokenizer.model", "bpe.codes"),
)
_ONNX = ("model.onnx", "model.onnx.data")
ALLOWED = (CARD, _CONFIGURATION, SETTINGS, *_WEIGHTS, *_TOKENIZER, *_ONNX)
"""All names that are ever uploaded."""

_WITH_PATHS = ("config.json", "tokenizer_config.json")
_NAME_KEYS = ("_name_or_path", "name_or_path")

_DIRECTORIES = re.compile(r"(?<![\w:/.~])(?:~|\.{0,2})/(?:[^\s/'\"`<>()]+/)+")
"""The private directories of a path in a text; addresses of the web are left as they are."""


def list_files(directory: Path) -> list[Path]:
    """Return the files of a model that may be published, in the order of `ALLOWED`."""
    return [directory / name for name in ALLOWED if (directory / name).is_file()]


def problems_of_files(directory: Path) -> Iterator[str]:
    """Yield a line for each reason why a directory cannot be published as a model."""
    where = f"--model is {str(directory)!r}"
    if not directory.is_dir():
        yield f"{where}, but there is no such directory; give final/model of a run"
        return
    if is_baseline(directory):
        yield (
            f"{where}, which is the baseline: its n-grams are words of training texts, and nothing"
            " on the Hub loads it; share the directory itself with people who may read them"
        )
        return
    names = {path.name for path in list_files(directory)}
    missing = [name for name in (_CONFIGURATION, CARD, "tokenizer.json") if name not in names]
    if not names & set(_WEIGHTS):
        missing.insert(0, _WEIGHTS[0])
    if missing:
        yield f"{where}, but {', '.join(missing)} is missing; run python -m evaluation.final again"
    root = directory.resolve()
    outside = [name for name in sorted(names) if root not in (directory / name).resolve().parents]
    if outside:
        yield (
            f"{where}, but {', '.join(outside)} is a link to a file elsewhere; copy the file into"
            " the directory"
        )
    for name in (*_WITH_PATHS, SETTINGS):
        if name in names and name not in outside:
            yield from _problems_of_content(directory / name)


def stage_files(directory: Path, staged: Path, *, repo: str, note: str) -> None:
    """Put the files to publish into an empty directory; large ones are linked.

    The directories of local paths are left out of configuration and card.

    Args:
        directory: of the model; it has no problems.
        staged: an empty directory.
        repo: id of the repository, which replaces "DIR" in the card's examples.
        note: a sentence for the card; empty: none.

    Raises:
        OSError: a file cannot be read or written.
    """
    for path in list_files(directory):
        target = staged / path.name
        if path.name == CARD:
            write_text(target, card_to_publish(path.read_text("utf-8"), repo=repo, note=note))
        elif path.name == SETTINGS:
            write_text(target, to_yaml(_without_directories(read_yaml(path))))
        elif path.name in _WITH_PATHS:
            write_json(target, _without_names(json.loads(path.read_text("utf-8"))))
        else:
            _link(path.resolve(), target)


def card_to_publish(card: str, *, repo: str, note: str) -> str:
    """Return the card with the repository's id, a note below its title, no local directories."""
    card = _DIRECTORIES.sub("", card)
    card = card.replace('"DIR"', f'"{repo}"')
    if not note:
        return card
    head, title, rest = card.partition("\n# ")
    if not title:
        return f"{card}\n\n> {plain(note)}\n"
    heading, _, body = rest.partition("\n")
    return f"{head}{title}{heading}\n\n> {plain(note)}\n{body}"


def _problems_of_content(path: Path) -> Iterator[str]:
    try:
        content = read_yaml(path)  # JSON is YAML
    except InputError as error:
        yield from error.problems
        return
    if path.name == SETTINGS and not all(
        isinstance(content.get(section), dict) for section in ("data", "model")
    ):
        yield f"{path}: sections data and model are missing; run python -m evaluation.final again"


def _without_directories(settings: dict[str, Any]) -> dict[str, Any]:
    data, model = dict(settings["data"]), dict(settings["model"])
    data["path"] = _last_part(str(data.get("path")))
    name = str(model.get("name"))
    is_local = name.startswith((os.sep, "~", ".")) or Path(name).is_dir()
    model["name"] = _last_part(name) if is_local else hide_secrets(name)
    return {**settings, "data": data, "model": model}


def _last_part(location: str) -> str:
    location = hide_secrets(location) if is_uri(location) else location
    return location.rstrip("/").rpartition("/")[2]


def _without_names(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in _NAME_KEYS}


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # a file system without links
        shutil.copyfile(path, target)
