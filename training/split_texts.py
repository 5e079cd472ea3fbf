"""Remember by hashes on which side of the split a run had each text, for later runs on more rows.

A configuration that an earlier run chose was chosen on its training and validation rows, and a
model of it may have been evaluated on its test rows. A later run that starts from it therefore
keeps the test texts in its own test, and the others out of it (`training.data.prepare`).

The file holds a hash of 8 bytes per text and no text. Do not publish it: with it anybody can check
whether a text was used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

from training.config import DataConfig
from training.errors import InputError
from training.splits import Mask
from training.texts import Indices
from training.trained_on import Hashes, as_bytes, from_bytes, hash_each, sealed, unsealed

_MAGIC = b"SPLTEXT1"
_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class SplitTexts:
    """Hashes of the drop keys of texts, distinct and sorted: uint64 [n]."""

    test: Hashes
    """Of test rows."""
    searched: Hashes
    """Of training and validation rows."""

    @classmethod
    def of(cls, texts: Sequence[str], is_test: Mask) -> "SplitTexts":
        """Hash the texts of a split; `is_test`: bool [texts]."""
        hashes = hash_each(texts)
        return cls(test=np.unique(hashes[is_test]), searched=np.unique(hashes[~is_test]))

    def merge(self, other: "SplitTexts") -> "SplitTexts":
        """Return the texts of both."""
        return SplitTexts(
            test=np.union1d(self.test, other.test),
            searched=np.union1d(self.searched, other.searched),
        )

    @property
    def num_contradicting(self) -> int:
        """Texts that one run tested on and another searched on."""
        return len(np.intersect1d(self.test, self.searched))

    def num_tests_shared(self, other: "SplitTexts") -> int:
        """Count the test texts that both have."""
        return len(np.intersect1d(self.test, other.test))

    def num_searched_shared(self, other: "SplitTexts") -> int:
        """Count the texts outside the test that both have."""
        return len(np.intersect1d(self.searched, other.searched))

    def sides(self, texts: Sequence[str]) -> Indices:
        """Return the side of each text, int64 [texts]: 1 test, -1 searched, 0 a new text."""
        hashes = hash_each(texts)
        in_test, searched = np.isin(hashes, self.test), np.isin(hashes, self.searched)
        return np.asarray(in_test.astype(np.int64) - searched.astype(np.int64), dtype=np.int64)


def merge_all(found: Sequence[SplitTexts]) -> SplitTexts | None:
    """Return the texts of all runs; None: there is no run."""
    return reduce(SplitTexts.merge, found) if found else None


def are_kept(sides: Indices, is_test: Mask) -> bool:
    """Return whether a split has every text on its side: `sides` int64 [n], `is_test` bool [n]."""
    return not ((sides > 0) & ~is_test).any() and not ((sides < 0) & is_test).any()


def against_groups(sides: Indices, groups: Indices) -> Mask:
    """Return the searched rows whose group has a test row, bool [n], which must be dropped.

    A group with a test row is tested as a whole, but these rows must not be.

    Args:
        sides: int64 [n], as of `SplitTexts.sides`.
        groups: int64 [n].
    """
    tested = np.isin(groups, groups[sides > 0])
    return np.asarray(tested & (sides < 0), dtype=np.bool_)


def check_fixed_split(rows: Indices, sides: Indices, is_test: Mask, config: DataConfig) -> None:
    """Check that a split that the file fixes has every text on its side.

    Args:
        rows: record numbers, int64 [n].
        sides: int64 [n], as of `SplitTexts.sides`.
        is_test: bool [n].
        config: names the column.

    Raises:
        InputError: it has not.
    """
    searched, tested = (sides < 0) & is_test, (sides > 0) & ~is_test
    if not (searched | tested).any():
        return
    first = int(rows[np.flatnonzero(searched | tested)[0]])
    raise InputError(
        f"{config.path}: data.split_column {config.split_column!r} puts"
        f" {np.count_nonzero(searched):,} rows into the test that a run of search.warm_start"
        f" trained or was chosen on, and {np.count_nonzero(tested):,} of its test rows outside"
        f" (first: row {first}), but its test must stay the test; correct that column, or leave"
        " the run out of search.warm_start"
    )


def write_split_texts(path: Path, texts: SplitTexts) -> None:
    """Write the file.

    Raises:
        OSError: it cannot be written.
    """
    count = np.array([len(texts.test)], dtype=np.uint64)
    path.write_bytes(sealed(_MAGIC, as_bytes(np.concatenate([count, texts.test, texts.searched]))))


def read_split_texts(path: Path) -> SplitTexts | None:
    """Read the file of a run; None: there is none, since an older version made the run.

    Raises:
        InputError: the file is damaged or cannot be read.
    """
    try:
        body = unsealed(_MAGIC, path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror}") from error
    if body is None or len(body) % _BYTES or not body:
        raise _damaged(path, "it is not what was written")
    count, *_ = values = from_bytes(body)
    return SplitTexts(test=values[1 : int(count) + 1], searched=values[int(count) + 1 :])


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is damaged ({reason}), but must list by hashes which texts the run tested and"
        " searched on; restore the file"
    )
