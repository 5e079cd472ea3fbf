"""Rows to splits: reads the table, cleans it, and says which row trains, decides or tests.

The one place where facts about data are checked, and the only one that reads test texts.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.cleaning import (
    GROUP_OF_ANOTHER_SPLIT,
    REASONS,
    REASONS_OF_FIXED_SPLITS,
    CleanTable,
    choose_low_confidence,
    clean,
    columns_of,
)
from training.cli import is_uri
from training.columns import Columns, read_columns, sha256_of
from training.config import SAMPLE, DataConfig
from training.errors import InputError
from training.folding import identity
from training.labels import Labels, check_every_class, class_counts
from training.near_duplicates import check_group_sizes, group_rows
from training.splits import SPLITS, choose_held_out, in_last_split
from training.table_bytes import local_copy
from training.texts import HeldOutTexts, LabelledTexts, Row
from training.trained_on import Hashes, are_among

RULES = 2
"""Number of the rules by which rows are dropped and held together.

1, which no record names: rows of equal folded texts were dropped, up to version 0.1.0. A split of
other rules may come out otherwise.
"""


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """What a run records of its data."""

    path: str
    """As configured."""
    sha256: str
    """Of the file's bytes."""
    rows: int
    """Records in the file."""
    kept: int
    """Records in a split."""
    dropped: dict[str, int]
    """{reason: records}."""
    class_counts: dict[str, dict[str, int]]
    """{split: {label: records}}."""
    duplicate_groups: int
    """Groups of more than one kept record (near-duplicates, or one value of the group column)."""
    label_noise: float | None
    """Share of the texts standing more than once whose labels disagree; None: no such text."""
    format: str
    """Of the table, in words: CSV separated by ';'."""
    notes: list[str]
    """What was read otherwise than it is written: a sentence each."""
    repeated_test_rows: int
    """Records of a test part fixed by the file whose text stands in it before: never dropped."""
    rows_seen: dict[str, int] | None
    """{split: records whose text the starting model was trained on}; None: it does not say."""
    rules: int = RULES
    """Number of the rules by which rows were dropped and held together."""

    @property
    def num_rows(self) -> dict[str, int]:
        """{split: records}."""
        return {split: sum(counts.values()) for split, counts in self.class_counts.items()}

    def as_record(self) -> dict[str, Any]:
        """The value of `data` in search.json."""
        return asdict(self)


_SMALL_DATA = 20_000

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Everything a search may know of its data: no text and no label of a test row."""

    train: LabelledTexts
    """Rows to train on."""
    validation: LabelledTexts
    """Rows that decide between trials."""
    test_rows: Indices
    """Record numbers of the test rows, int64 [n]."""
    assignment: pd.DataFrame
    """A line an input row: row, split (train, validation, test, dropped), reason."""
    summary: DataSummary
    """What a run records."""
    validation_share: float
    """Part of the rows outside the test that a new draw gives to validation."""

    def resplit(self, split_seed: int) -> tuple[LabelledTexts, LabelledTexts]:
        """Split the rows outside the test anew into train and validation.

        Groups stay whole and the test is as it was. The configuration's own `split_seed` gives
        the split at hand, unless the file fixed it.

        Raises:
            InputError: a class would have no row on one side.
        """
        rest = self.train.merge(self.validation)
        identities = [identity(text) for text in rest.texts]
        held = _draw_validation(rest, identities, self.validation_share, split_seed)
        train, validation = rest.select(~held), rest.select(held)
        for name, part in (("train", train), ("validation", validation)):
            if set(part.labels.tolist()) != set(rest.labels.tolist()):
                raise InputError(
                    f"{self.summary.path}: drawn again with seed {split_seed}, {name} has no row of"
                    " some class, but needs one of each; label more rows of the rarest class"
                )
        return train, validation


@dataclass(frozen=True, kw_only=True)
class _Divided:
    """All kept rows, those of the test included: never leaves this module."""

    rows: list[Row]
    everything: LabelledTexts
    """Of `rows`."""
    low_confidence: list[Row]
    splits: npt.NDArray[np.str_]
    reasons: list[str]
    label_noise: float | None
    format: str
    notes: list[str]
    validation_share: float

    def part(self, split: str) -> LabelledTexts:
        return self.everything.select(self.splits == split)

    def count_among(self, hashes: Hashes) -> dict[str, int]:
        """{split: rows whose text is among the hashes}."""
        found = are_among(self.everything.texts, hashes)
        return {split: int(np.count_nonzero(found & (self.splits == split))) for split in SPLITS}


def prepare(config: DataConfig, *, seen: Hashes | None = None) -> PreparedData:
    """Read, check, clean and split the data.

    Texts of one fold, near-duplicates and the rows of one `group_column` value share a split; see
    `training.cleaning.clean` for what is dropped. Under `split_column` the file's own split
    stands, save that rows of train and validation whose text or group also stands in a later
    split (train, validation, test) are dropped under reasons of their own; a file without
    validation rows has them drawn from its train rows.

    Args:
        config: of the data.
        seen: hashes of the drop keys that the starting model was trained on; the rows among them
            are counted, those of the test too.

    Raises:
        InputError: the table cannot be read or holds what it must not; a group is too large
            (`training.near_duplicates.check_group_sizes`); a class would have no row in some split.
    """
    divided = _divide(config)
    everything, splits = divided.everything, divided.splits
    assigned = np.full(len(divided.reasons), "dropped", dtype=object)
    assigned[everything.rows] = splits
    named = REASONS + REASONS_OF_FIXED_SPLITS * (config.split_column is not None)
    test = splits == "test"
    return PreparedData(
        train=divided.part("train"),
        validation=divided.part("validation"),
        test_rows=everything.rows[test],
        assignment=pd.DataFrame(
            {"row": np.arange(len(assigned)), "split": assigned, "reason": divided.reasons}
        ),
        summary=DataSummary(
            path=config.path,
            sha256=sha256_of(file_of(config.path)),
            rows=len(assigned),
            kept=len(splits),
            dropped={reason: divided.reasons.count(reason) for reason in named},
            class_counts=class_counts(everything.labels, splits, config.labels),
            duplicate_groups=int(np.count_nonzero(np.bincount(everything.groups) > 1)),
            label_noise=divided.label_noise,
            format=divided.format,
            notes=divided.notes,
            repeated_test_rows=len(divided.rows) - len({row.identity for row in divided.rows}),
            rows_seen=None if seen is None else divided.count_among(seen),
        ),
        validation_share=divided.validation_share,
    )


def read_test_rows(config: DataConfig, *, sha256: str, seen: Hashes | None = None) -> HeldOutTexts:
    """The test rows' texts and labels. Only evaluation may call this, once a run.

    The rows that the confidence filter removed from the test part are returned beside them
    (`training.cleaning.choose_low_confidence`), since a test of confident labels alone is easier.
    Those of them that the starting model was trained on (`seen`, as in `prepare`) are left out.

    Raises:
        InputError: as `prepare`, or the file's SHA-256 is not `sha256`.
    """
    divided = _divide(config)
    found = sha256_of(file_of(config.path))
    if found != sha256:
        raise InputError(
            f"data {config.path}: its SHA-256 is {found[:12]}..., but was {sha256[:12]}... when the"
            " winner was retrained; nothing was tested: restore the file and run the command again"
        )
    is_test = divided.splits == "test"
    low, groups = choose_low_confidence(
        _not_among(divided.low_confidence, seen),
        divided.rows,
        divided.everything.groups,
        is_test,
        config,
    )
    return HeldOutTexts(
        test=divided.part("test"),
        confidences=_confidences(divided.rows)[is_test],
        low_confidence=LabelledTexts.of_rows(low, groups),
        low_confidences=_confidences(low),
    )


def _not_among(rows: Sequence[Row], hashes: Hashes | None) -> Sequence[Row]:
    if hashes is None:
        return rows
    found = are_among((row.text for row in rows), hashes)
    return [row for row, known in zip(rows, found.tolist(), strict=True) if not known]


def _confidences(rows: Sequence[Row]) -> npt.NDArray[np.float64]:
    """The labeller's confidence of each row, float64 [n], NaN where there is none."""
    values = np.array([row.confidence for row in rows], dtype=np.float64)
    return np.where(np.isinf(values), np.nan, values)


def file_of(path: str) -> Path:
    """The file at `data.path`; what is behind a URI is fetched first."""
    if path == SAMPLE:
        return Path(__file__).parent / "sample" / "sample.csv"
    if is_uri(path):
        return local_copy(path)
    local = Path(path)
    return local.expanduser() if local.parts[:1] == ("~",) else local


def _divide(config: DataConfig) -> _Divided:
    columns = _read(config)
    table = clean(columns, config)
    groups = group_rows(table.rows, config)
    rows, reasons = table.rows, table.reasons
    if config.split_column is not None:
        rows, groups, reasons = _without_straddling(table, groups)
    drawn = np.array([row.split != "test" for row in rows])
    check_group_sizes([row for row in rows if row.split != "test"], groups[drawn], config)
    everything = LabelledTexts.of_rows(rows, groups)
    splits, share = _assign(everything, rows, config)
    check_every_class(everything.labels, splits, config)
    return _Divided(
        rows=rows,
        everything=everything,
        low_confidence=table.low_confidence,
        splits=splits,
        reasons=reasons,
        label_noise=table.label_noise,
        format=columns.format,
        notes=table.notes,
        validation_share=share,
    )


def _read(config: DataConfig) -> Columns:
    return read_columns(
        file_of(config.path),
        columns_of(config),
        separator=config.separator,
        multiline=config.multiline,
        label=(config.label_column, Labels(config.labels).is_label),
    )


def _without_straddling(table: CleanTable, groups: Indices) -> tuple[list[Row], Indices, list[str]]:
    stays = in_last_split([row.split or "" for row in table.rows], groups)
    reasons = table.reasons.copy()
    for place in np.flatnonzero(~stays):
        reasons[table.rows[place].row] = GROUP_OF_ANOTHER_SPLIT
    return [table.rows[place] for place in np.flatnonzero(stays)], groups[stays], reasons


def _assign(
    everything: LabelledTexts, rows: Sequence[Row], config: DataConfig
) -> tuple[npt.NDArray[np.str_], float]:
    """The split of each row, and validation's share of the rows outside the test."""
    identities = [row.identity for row in rows]
    if config.split_column is not None:
        splits = np.array([row.split for row in rows], dtype="<U10")
    else:
        held = choose_held_out(
            identities,
            everything.groups,
            everything.labels,
            share=config.test_size,
            seed=config.split_seed,
        )
        splits = np.where(held, "test", "train").astype("<U10")
    outside = splits != "test"
    rest = np.flatnonzero(outside)
    fixed = np.count_nonzero(splits == "validation")
    if fixed:
        return splits, fixed / len(rest)
    share = config.validation_size or (0.2 if len(rest) < _SMALL_DATA else 0.1)
    held = _draw_validation(
        everything.select(outside), [identities[place] for place in rest], share, config.split_seed
    )
    splits[rest[held]] = "validation"
    return splits, share


def _draw_validation(
    rest: LabelledTexts, identities: Sequence[bytes], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    return choose_held_out(
        identities, rest.groups, rest.labels, share=share, seed=seed, purpose="validation"
    )
