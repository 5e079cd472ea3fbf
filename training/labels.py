"""Labels: the one class of each row (multi-label would start here), and the rows of each class."""

import json
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby

import numpy as np
import numpy.typing as npt

from training.config import DataConfig
from training.errors import InputError
from training.splits import SPLITS
from training.texts import Indices

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)

_PLAIN = re.compile(r"(?!(?i:null)$)[\w.+](?:[\w .+-]*[\w.+-])?")
"""Text that is the same in a list of YAML without quotes."""
_LONGEST_NUMBER = 15
"""Digits of a number that is written without an exponent."""
_FEWEST = 2
"""Classes that a classifier has at least."""


class Labels:
    """The configured labels, and the class that the text of a cell names.

    Outer white space is ignored; case is not. Where every label is a number, other spellings of
    that number name it too: `1.0` is `1`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Give the names the codes 0, 1, ... in their order."""
        self.names = tuple(names)
        self._codes = {name.strip(): code for code, name in enumerate(names)}
        values = [_value(name) for name in names]
        numeric = None not in values and len(set(values)) == len(values)
        self._by_value = dict(zip(values, range(len(names)), strict=True)) if numeric else {}

    def code_of(self, cell: str) -> int | None:
        """Return the code of the label that a cell names; None: it names none."""
        code = self._codes.get(cell.strip())
        if code is None and self._by_value:
            code = self._by_value.get(_value(cell)) if _value(cell) is not None else None
        return code

    def is_label(self, cell: str) -> bool:
        """Whether a cell names a label."""
        return self.code_of(cell) is not None

    def describe_respelt(self, cells: Sequence[str]) -> str:
        """Describe the cells that name a label in another spelling; empty: there are none."""
        other = [cell for cell in cells if cell not in self.names and self.is_label(cell)]
        if not other:
            return ""
        code = self.code_of(other[0])
        assert code is not None
        return (
            f"{len(other):,} labels have another spelling, such as {other[0]!r} for"
            f" {self.names[code]!r}; white space around a label and the way a number is written are"
            " ignored"
        )


def _value(text: str) -> Decimal | None:
    text = text.strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def find_labels(cells: Sequence[str]) -> dict[str, int]:
    """Find the labels of a column: {label: rows}, numbers by value, then words in sorted order.

    Outer white space is removed. Where every label is a number, all spellings of a number are one
    label, as for `Labels`.
    """
    counts = Counter(cell.strip() for cell in cells if cell.strip())
    values = {text: _value(text) for text in counts}
    if None not in values.values():
        merged = Counter[str]()
        for value, texts in groupby(sorted(counts, key=_order), key=lambda text: values[text]):
            spellings = {text: counts[text] for text in texts}
            merged[_name_of(value, spellings)] = sum(spellings.values())
        counts = merged
    return {name: counts[name] for name in sorted(counts, key=_order)}


def _name_of(value: Decimal | None, spellings: Mapping[str, int]) -> str:
    """Return the commonest spelling without a point or an exponent, or else the plainest one."""
    assert value is not None
    whole = [text for text in spellings if text.lstrip("+-").isdecimal()]
    if whole:
        return max(whole, key=lambda text: (spellings[text], text))
    is_short = abs(value.adjusted()) < _LONGEST_NUMBER
    return f"{value.normalize() + 0:f}" if is_short else str(value.normalize())


def name_of_code(cell: str, names: Sequence[str]) -> str:
    """Return the name of a class by the text of its code; -1 stands for no label, as in `datasets`.

    Other text is returned as it is.
    """
    try:
        code = int(cell)
    except ValueError:
        return cell
    if code == -1:
        return ""
    return names[code] if 0 <= code < len(names) else cell


def lookalikes(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of labels that differ only in case, white space or Unicode normal form."""
    alike: dict[str, list[str]] = {}
    for name in names:
        folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        alike.setdefault(folded, []).append(name)
    return [group for group in alike.values() if len(group) > 1]


def as_option(names: Iterable[str]) -> str:
    """Return names as a list in one argument of a command, quoted for a shell."""
    items = [name if _PLAIN.fullmatch(name) else _quoted(name) for name in names]
    return shlex.quote(f"[{', '.join(items)}]")


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _order(name: str) -> tuple[bool, Decimal, str]:
    value = _value(name)
    return value is None, Decimal(0) if value is None else value, name


def check_every_class(labels: Indices, splits: npt.NDArray[np.str_], config: DataConfig) -> None:
    """Refuse a split in which some class has no row.

    Args:
        labels: int64 [n], codes of the kept rows.
        splits: [n], the split of each row.
        config: names the labels and the split column.

    Raises:
        InputError: a line for each split without rows, label without rows, and class that lacks
            rows in some split.
    """
    counts = class_counts(labels, splits, config.label_names)
    filled = [split for split in SPLITS if any(counts[split].values())]
    next_step = (
        "label more rows: the kept ones are too few or too alike, since similar texts share a split"
        if config.split_column is None
        else "give it some in data.split_column, or set that to null for a random split"
    )
    problems = [
        f"{config.path}: no kept row is in {split}, but every split needs rows of each class;"
        f" {next_step}"
        for split in SPLITS
        if split not in filled
    ]
    unseen = [label for label in config.label_names if not any(of[label] for of in counts.values())]
    problems += [
        f"{config.path}: no kept row has the label '{label}' of data.labels; spell it as column"
        f" '{config.label_column}' does, or remove it from data.labels"
        for label in unseen
    ]
    rare = [
        label
        for label in config.label_names
        if label not in unseen and not all(counts[split][label] for split in filled)
    ]
    for label in rare:
        empty = [split for split in filled if not counts[split][label]]
        had = ", ".join(f"{split} {counts[split][label]}" for split in SPLITS)
        lower = ", lower data.min_confidence" if config.confidence_column else ""
        left = len(config.label_names) - len(rare) >= _FEWEST
        drop = f", or drop its rows by --data.drop_labels {as_option(rare)}" if left else ""
        problems.append(
            f"{config.path}: class '{label}' has no row in {' and '.join(empty)} (rows kept:"
            f" {had}), but every split needs one of each class; label more rows of it{lower}{drop}"
        )
    if problems:
        raise InputError(*problems)


def class_counts(
    labels: Indices, splits: npt.NDArray[np.str_], names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Count the rows of each class in each split: {split: {label: rows}}."""
    counts = {split: np.bincount(labels[splits == split], minlength=len(names)) for split in SPLITS}
    return {split: dict(zip(names, counts[split].tolist(), strict=True)) for split in SPLITS}
