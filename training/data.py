"""Prepare the data: read the table, clean it and split it into train, validation and test.

Only this module checks facts about the data, and only this module reads test texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.cleaning import (
    GROUP_OF_AN_EARLIER_TEST,
    GROUP_OF_ANOTHER_SPLIT,
    REASONS,
    REASONS_OF_DROPPED_LABELS,
    REASONS_OF_EARLIER_TESTS,
    REASONS_OF_FIXED_SPLITS,
    CleanTable,
    clean,
)
from training.cli import is_uri
from training.columns import sha256_of
from training.config import SAMPLE, DataConfig
from training.errors import InputError
from training.folding import identity
from training.labels import as_option, check_every_class, class_counts
from training.near_duplicates import check_group_sizes, group_rows
from training.recognition import read_table
from training.split_texts import SplitTexts, against_groups, are_kept, check_fixed_split
from training.splits import (
    SPLITS,
    Mask,
    choose_held_out,
    choose_low_confidence,
    in_last_split,
)
from training.table_bytes import local_copy
from training.texts import HeldOutTexts, Indices, LabelledTexts, Row
from training.trained_on import Hashes, are_among

RULES = 2
"""Version of the rules by which rows are dropped and grouped; another version may split otherwise.

Version 1, up to release 0.1.0, is in no record: it dropped rows of equal folded texts.
"""

_SMALL_DATA = 20_000
"""Fewer rows outside the test: 20 % of them instead of 10 % go to validation."""


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """What a run records about its data."""

    path: str
    """The path as configured."""
    sha256: str
    """Hash of the file's bytes."""
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
    """Share of the repeated texts whose labels disagree; None: no text is repeated."""
    format: str
    """Format of the table in words, such as `CSV separated by ';'`."""
    notes: list[str]
    """Sentences about columns and labels whose spelling was normalised."""
    repeated_test_rows: int
    """Records of a fixed test part that repeat a text of it; they are never dropped."""
    rows_seen: dict[str, int] | None
    """{split: records whose text the starting model was trained on}; None: unknown."""
    rules: int = RULES
    """Version of the rules by which rows were dropped and grouped (`RULES`)."""

    @property
    def num_rows(self) -> dict[str, int]:
        """Number of records in each split: {split: records}."""
        return {split: sum(counts.values()) for split, counts in self.class_counts.items()}

    def as_record(self) -> dict[str, Any]:
        """Return the value of `data` in search.json."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Everything a search may know about its data: no text and no label of a test row."""

    config: DataConfig
    """The section `data`, with the columns and labels that were recognised."""
    train: LabelledTexts
    """Rows to train on."""
    validation: LabelledTexts
    """Rows on which trials are compared."""
    test_rows: Indices
    """Record numbers of the test rows, int64 [n]."""
    assignment: pd.DataFrame
    """One line per input row: row, split (train, validation, test, dropped), reason."""
    summary: DataSummary
    """What a run records about the data."""
    split_texts: SplitTexts
    """Hashes of the texts on each side."""
    validation_share: float
    """Share of the rows outside the test that `resplit` holds out for validation."""
    also_seen: Mapping[str, Mapping[str, int]]
    """As `rows_seen` of the summary for each further starting model that lists its texts."""

    def resplit(self, split_seed: int) -> tuple[LabelledTexts, LabelledTexts]:
        """Split the rows outside the test again into train and validation.

        Groups stay whole and the test does not change. The configured `split_seed` gives the
        existing split, unless the file fixed it.

        Raises:
            InputError: a class would have no row on one side.
        """
        rest = self.train.merge(self.validation)
        identities = [identity(text) for text in rest.texts]
        held = _choose_validation(rest, identities, self.validation_share, split_seed)
        train, validation = rest.select(~held), rest.select(held)
        for name, part in (("train", train), ("validation", validation)):
            if absent := set(rest.labels.tolist()) - set(part.labels.tolist()):
                labels = [self.config.label_names[code] for code in sorted(absent)]
                raise InputError(
                    f"{self.summary.path}: split again with seed {split_seed}, {name} has no row of"
                    f" class {', '.join(map(repr, labels))}, but needs one of each; label more rows"
                    f" of it, or drop its rows by --data.drop_labels {as_option(labels)}"
                )
        return train, validation


@dataclass(frozen=True, kw_only=True)
class _SplitTable:
    """All kept rows, including test rows: never leaves this module."""

    rows: list[Row]
    texts: LabelledTexts
    """The texts of `rows`."""
    low_confidence: list[Row]
    splits: npt.NDArray[np.str_]
    reasons: list[str]
    label_noise: float | None
    format: str
    notes: list[str]
    config: DataConfig
    validation_share: float

    def part(self, split: str) -> LabelledTexts:
        return self.texts.select(self.splits == split)

    def count_among(self, hashes: Hashes) -> dict[str, int]:
        """Count the rows whose text is among the hashes: {split: rows}."""
        found = are_among(self.texts.texts, hashes)
        return {split: int(np.count_nonzero(found & (self.splits == split))) for split in SPLITS}


def prepare(
    config: DataConfig,
    *,
    seen: Hashes | None = None,
    held_out: SplitTexts | None = None,
    also_seen: Mapping[str, Hashes] | None = None,
) -> PreparedData:
    """Read, check, clean and split the data.

    Texts with equal folds, near-duplicates and rows with one value of `group_column` share a split
    (`training.near_duplicates`); `training.cleaning` decides which rows are dropped. Under
    `split_column` the file fixes the split: rows of train and validation whose text or group is
    also in a later split (train, validation, test) are dropped for reasons of their own, and if the
    file has no validation rows, they are chosen from its train rows.

    Texts that earlier runs tested on stay in the test and those that they searched on outside of
    it, groups with them; of the others as many are chosen as the test then lacks. Where the usual
    split has every text on its side, as on the same table, it is the split.

    Args:
        config: the section `data`.
        seen: hashes of the drop keys that the starting model was trained on; rows among them are
            counted in every split, including the test.
        held_out: texts of the earlier runs that the search starts from; None: it starts from none.
        also_seen: the same for each further starting model, by its name.

    Raises:
        InputError: the table cannot be read or has wrong values; a group is too large
            (`training.near_duplicates.check_group_sizes`); a class would have no row in some split;
            or the file fixes another split than `held_out` needs.
    """
    table = _split(config, held_out)
    config, texts, splits = table.config, table.texts, table.splits
    assigned = np.full(len(table.reasons), "dropped", dtype=object)
    assigned[texts.rows] = splits
    named = (
        *REASONS,
        *REASONS_OF_DROPPED_LABELS * bool(config.drop_labels),
        *REASONS_OF_FIXED_SPLITS * (config.split_column is not None),
        *REASONS_OF_EARLIER_TESTS * (held_out is not None),
    )
    test = splits == "test"
    return PreparedData(
        config=config,
        train=table.part("train"),
        validation=table.part("validation"),
        test_rows=texts.rows[test],
        assignment=pd.DataFrame(
            {"row": np.arange(len(assigned)), "split": assigned, "reason": table.reasons}
        ),
        summary=DataSummary(
            path=config.path,
            sha256=sha256_of(file_of(config.path)),
            rows=len(assigned),
            kept=len(splits),
            dropped={reason: table.reasons.count(reason) for reason in named},
            class_counts=class_counts(texts.labels, splits, config.label_names),
            duplicate_groups=int(np.count_nonzero(np.bincount(texts.groups) > 1)),
            label_noise=table.label_noise,
            format=table.format,
            notes=table.notes,
            repeated_test_rows=len(table.rows) - len({row.identity for row in table.rows}),
            rows_seen=None if seen is None else table.count_among(seen),
        ),
        split_texts=SplitTexts.of(texts.texts, test),
        validation_share=table.validation_share,
        also_seen={name: table.count_among(hashes) for name, hashes in (also_seen or {}).items()},
    )


def check_table(config: DataConfig) -> None:
    """Read and clean the table without splitting it, to find its problems.

    Raises:
        InputError: as `prepare`, apart from what only the split finds.
    """
    table = read_table(file_of(config.path), config)
    clean(table.columns, table.config, table.problems)


def texts_of_splits(
    config: DataConfig, assignment: Mapping[int, str], *, sha256: str
) -> SplitTexts | None:
    """Hash the texts of a run whose version kept no such file, from its table and its split.

    Args:
        config: the section `data` of the run, or one that names another copy of its table.
        assignment: {record number: split}.
        sha256: of the table when the run was made.

    Returns:
        None: there is no table, or another one.

    Raises:
        InputError: the table cannot be read.
    """
    try:
        if sha256_of(file_of(config.path)) != sha256:
            return None
    except OSError:
        return None
    columns = read_table(file_of(config.path), config).columns
    cells = columns.cells[config.text_column or ""]
    kept = [row for row in range(len(cells)) if assignment.get(row) in SPLITS]
    is_test = np.array([assignment[row] == "test" for row in kept], dtype=np.bool_)
    return SplitTexts.of([cells[row] for row in kept], is_test)


def read_test_rows(
    config: DataConfig,
    *,
    sha256: str,
    seen: Hashes | None = None,
    held_out: SplitTexts | None = None,
) -> HeldOutTexts:
    """Return the texts and labels of the test rows; only `evaluation` may call this.

    The rows that the confidence filter removed from the test part are returned beside them
    (`training.splits.choose_low_confidence`), since a test of confident labels alone is easier.
    Those of them that the starting model was trained on, or that earlier runs searched on (`seen`
    and `held_out`, as in `prepare`), are left out.

    Raises:
        InputError: as `prepare`, or the file's SHA-256 is not `sha256`.
    """
    table = _split(config, held_out)
    found = sha256_of(file_of(config.path))
    if found != sha256:
        raise InputError(
            f"data {config.path}: its SHA-256 is {found[:12]}..., but was {sha256[:12]}... when the"
            " winner was retrained; nothing was tested: restore the file and run the command again"
        )
    is_test = table.splits == "test"
    low, groups = choose_low_confidence(
        _not_among(
            _not_among(table.low_confidence, seen), None if held_out is None else held_out.searched
        ),
        table.rows,
        table.texts.groups,
        is_test,
        table.config,
    )
    return HeldOutTexts(
        test=table.part("test"),
        confidences=_confidences(table.rows)[is_test],
        low_confidence=LabelledTexts.of_rows(low, groups),
        low_confidences=_confidences(low),
    )


def file_of(path: str) -> Path:
    """Return the local file for `data.path`; a URI is fetched first."""
    if path == SAMPLE:
        return Path(__file__).parent / "sample" / "sample.csv"
    if is_uri(path):
        return local_copy(path)
    local = Path(path)
    return local.expanduser() if local.parts[:1] == ("~",) else local


def _not_among(rows: Sequence[Row], hashes: Hashes | None) -> Sequence[Row]:
    if hashes is None:
        return rows
    found = are_among((row.text for row in rows), hashes)
    return [row for row, known in zip(rows, found.tolist(), strict=True) if not known]


def _confidences(rows: Sequence[Row]) -> npt.NDArray[np.float64]:
    """Return the labeller's confidence of each row, float64 [n], NaN where there is none."""
    values = np.array([row.confidence for row in rows], dtype=np.float64)
    return np.where(np.isinf(values), np.nan, values)


def _split(config: DataConfig, held_out: SplitTexts | None) -> _SplitTable:
    recognised = read_table(file_of(config.path), config)
    columns, config = recognised.columns, recognised.config
    table = clean(columns, config, recognised.problems)
    groups = group_rows(table.rows, config)
    rows, reasons = table.rows, table.reasons
    if config.split_column is not None:
        rows, groups, reasons = _keep_last_split(table, groups)
    to_split = np.array([row.split != "test" for row in rows])
    check_group_sizes([row for row in rows if row.split != "test"], groups[to_split], config)
    texts = LabelledTexts.of_rows(rows, groups)
    is_test = _choose_test(texts, rows, config)
    if held_out is not None:
        sides = held_out.sides(texts.texts)
        if config.split_column is not None:
            check_fixed_split(texts.rows, sides, is_test, config)
        elif not are_kept(sides, is_test):
            stays = ~against_groups(sides, groups)
            reasons = _with_reason(GROUP_OF_AN_EARLIER_TEST, reasons, texts.rows[~stays])
            rows, texts = [rows[index] for index in np.flatnonzero(stays)], texts.select(stays)
            is_test = _choose_test(texts, rows, config, sides[stays])
    splits, share = _assign(texts, rows, is_test, config)
    check_every_class(texts.labels, splits, config)
    return _SplitTable(
        rows=rows,
        texts=texts,
        low_confidence=table.low_confidence,
        splits=splits,
        reasons=reasons,
        label_noise=table.label_noise,
        format=columns.format,
        notes=[*recognised.notes, *table.notes],
        config=config,
        validation_share=share,
    )


def _with_reason(reason: str, reasons: Sequence[str], rows: Indices) -> list[str]:
    dropped = set(rows.tolist())
    return [reason if row in dropped else old for row, old in enumerate(reasons)]


def _keep_last_split(table: CleanTable, groups: Indices) -> tuple[list[Row], Indices, list[str]]:
    """Drop the rows of a fixed split whose group is also in a later split."""
    stays = in_last_split([row.split or "" for row in table.rows], groups)
    reasons = table.reasons.copy()
    for index in np.flatnonzero(~stays):
        reasons[table.rows[index].row] = GROUP_OF_ANOTHER_SPLIT
    return [table.rows[index] for index in np.flatnonzero(stays)], groups[stays], reasons


def _choose_test(
    texts: LabelledTexts, rows: Sequence[Row], config: DataConfig, sides: Indices | None = None
) -> Mask:
    """Return which rows are in the test, bool [n]; `sides` as of `SplitTexts.sides`."""
    if config.split_column is not None:
        return np.array([row.split == "test" for row in rows], dtype=np.bool_)
    return choose_held_out(
        [row.identity for row in rows],
        texts.groups,
        texts.labels,
        share=config.test_size,
        seed=config.split_seed,
        sides=sides,
    )


def _assign(
    texts: LabelledTexts, rows: Sequence[Row], is_test: Mask, config: DataConfig
) -> tuple[npt.NDArray[np.str_], float]:
    """Return the split of each row, and validation's share of the rows outside the test."""
    identities = [row.identity for row in rows]
    if config.split_column is not None:
        splits = np.array([row.split for row in rows], dtype="<U10")
    else:
        splits = np.where(is_test, "test", "train").astype("<U10")
    outside = splits != "test"
    rest = np.flatnonzero(outside)
    fixed = np.count_nonzero(splits == "validation")
    if fixed:
        return splits, fixed / len(rest)
    share = config.validation_size or (0.2 if len(rest) < _SMALL_DATA else 0.1)
    held = _choose_validation(
        texts.select(outside), [identities[index] for index in rest], share, config.split_seed
    )
    splits[rest[held]] = "validation"
    return splits, share


def _choose_validation(
    rest: LabelledTexts, identities: Sequence[bytes], share: float, seed: int
) -> npt.NDArray[np.bool_]:
    return choose_held_out(
        identities, rest.groups, rest.labels, share=share, seed=seed, purpose="validation"
    )
