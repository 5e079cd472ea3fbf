"""Record which texts a model was trained on, and refuse to score a search on such rows.

The file beside the weights holds a hash of 8 bytes per text and no text. Do not publish it: with it
anybody can test whether a text was trained on. A `.gitignore` beside it keeps it out of git and of
uploads to the Hub.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.config import TINY, ModelConfig
from training.errors import InputError
from training.folding import fingerprint

TRAINED_ON = "trained_on.bin"
"""Name of the file in a model directory: 8 bytes of magic, 8 bytes of BLAKE2b hash of the rest,
then the distinct hashes, sorted, as unsigned 64-bit little-endian integers."""

Hashes = npt.NDArray[np.uint64]

_MAGIC = b"DROPKEY1"
_BYTES = 8


def hashes_of(texts: Iterable[str]) -> Hashes:
    """Hash the drop key of each text: uint64 [distinct drop keys], sorted."""
    return np.unique(hash_each(texts))


def are_among(texts: Iterable[str], hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Return which texts have a drop key whose hash is among `hashes`, bool [texts]."""
    return np.isin(hash_each(texts), hashes)


def hash_each(texts: Iterable[str]) -> Hashes:
    """Hash the drop key of each text: uint64 [texts], in their order."""
    return from_bytes(b"".join(map(fingerprint, texts)))


def as_bytes(hashes: Hashes) -> bytes:
    """Return hashes as a file holds them: 8 bytes each, little-endian."""
    return hashes.astype("<u8").tobytes()


def from_bytes(body: bytes) -> Hashes:
    """Return the hashes that `as_bytes` wrote."""
    return np.frombuffer(body, dtype="<u8").astype(np.uint64)


def sealed(magic: bytes, body: bytes) -> bytes:
    """Return the content of a file: 8 bytes of magic, 8 bytes of BLAKE2b hash of the rest, body."""
    return magic + _checksum(body) + body


def unsealed(magic: bytes, content: bytes) -> bytes | None:
    """Return the body of a file; None: it is damaged, or another kind of file."""
    found, checksum, body = content[:_BYTES], content[_BYTES : 2 * _BYTES], content[2 * _BYTES :]
    return body if found == magic and checksum == _checksum(body) else None


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_BYTES).digest()


def write_trained_on(directory: Path, hashes: Hashes) -> None:
    """Write the file and a `.gitignore` against publishing it.

    Args:
        directory: of a model, not in use yet.
        hashes: distinct and sorted.

    Raises:
        OSError: they cannot be written.
    """
    (directory / TRAINED_ON).write_bytes(sealed(_MAGIC, as_bytes(hashes)))
    (directory / ".gitignore").write_text(f"{TRAINED_ON}\n", encoding="utf-8")


def read_trained_on(directory: Path) -> Hashes | None:
    """Read the hashes of a model directory; None: it has no such file.

    Raises:
        InputError: the file is damaged.
    """
    path = directory / TRAINED_ON
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a name that no file can have
        return None
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror}") from error
    body = unsealed(_MAGIC, content)
    if body is None or len(body) % _BYTES:
        raise _damaged(path, f"{len(content):,} bytes that are not what was written")
    return from_bytes(body)


def known_to(model: ModelConfig) -> Hashes | None:
    """Return hashes of the texts that the starting weights were trained on; None: unknown.

    Raises:
        InputError: the model's file is damaged.
    """
    if model.name == TINY or model.weights == "random":
        return None
    return read_trained_on(Path(model.name))


def check_not_seen(
    seen: Mapping[str, int] | None,
    rows: Mapping[str, int],
    *,
    model: str,
    path: str,
    is_resplit: bool,
) -> None:
    """Refuse to score rows that the starting model was trained on.

    Args:
        seen: {split: rows of it that the model was trained on}; None: unknown.
        rows: {split: rows of it}.
        model: name of the model, as configured.
        path: of the data, as configured.
        is_resplit: whether rows outside the test are split again, so that any may be held out.

    Raises:
        InputError: there are such rows.
    """
    held_out = {"validation": "", "test": ""}
    if is_resplit:
        held_out = {"train": " (which confirmation may hold out)", **held_out}
    found = [
        f"{seen[split]:,} of {rows[split]:,} {split} rows{why}"
        for split, why in held_out.items()
        if seen and seen[split]
    ]
    if not found:
        return
    keep = (
        " and set search.confirm_replicates to 0" if seen and is_resplit and seen["train"] else ""
    )
    raise InputError(
        f"model.name: {model!r} was trained on {_listed(found)} of {path}, as its {TRAINED_ON}"
        " lists, but only rows that the starting model has not seen can be scored; assign other"
        f" rows to validation and test in data.split_column{keep}, use other rows, or start from"
        " another model"
    )


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"model.name: {path} is damaged ({reason}), but must list which rows this model has seen;"
        " restore it from the source of the model"
    )
