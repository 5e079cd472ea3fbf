"""Guess by their content which columns of a table hold the text and the label."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.cli import excerpt
from training.columns import Preview
from training.labels import find_labels

MOST_LABELS = 50
"""More distinct values than this are probably no labels."""

_LABEL_NAMES = (
    *("label", "labels", "class", "classes", "category", "target", "sentiment", "topic", "intent"),
    *("rating", "stars", "score", "emotion", "tag", "kategori", "kelas", "sentimen", "y"),
)
"""Names that published tables give to their label columns; these come first."""
_SPLIT_VALUES = {"train", "training", "test", "validation", "valid", "val", "dev"}
_FEWEST_CHARACTERS = 12
"""Mean length of a cell from which it may be a text."""
_MOST_DESCRIBED = 12
_MOST_VALUES = 6


@dataclass(frozen=True, kw_only=True)
class Guess:
    """The columns that are probably meant; None: no column qualifies."""

    text: str | None
    label: str | None


def guess_columns(
    preview: Preview,
    *,
    text: str | None = None,
    label: str | None = None,
    no_label: str | None = None,
) -> Guess:
    """Guess the columns that are not given.

    The text is the column of the longest cells among those that seldom repeat one. The label is
    the column of the fewest values, at least two, each in several rows; a column with the name of
    a label is preferred.

    Args:
        preview: the first rows.
        text: the column of the text, where it is given.
        label: the column of the label, where it is given.
        no_label: a column that is known not to hold the label.
    """
    facts = [_facts_of(name.strip(), preview.cells(name)) for name in preview.names]
    if text is None:
        texts = [fact for fact in facts if fact.name != label and fact.is_text]
        text = max(texts, key=lambda fact: fact.length).name if texts else None
    if label is None:
        classes = [fact for fact in facts if fact.name not in (text, no_label) and fact.is_label]
        label = min(classes, key=_preference).name if classes else None
    return Guess(text=text, label=label)


def describe_column(preview: Preview, name: str) -> str:
    """Describe what a column holds."""
    return _facts_of(name, preview.cells(name)).describe()


def describe_columns(preview: Preview, *, first: Sequence[str | None] = ()) -> str:
    """List the columns of a table with what each holds, those in `first` before the others."""
    names = list(dict.fromkeys(name.strip() for name in preview.names))
    ordered = sorted(names, key=lambda name: name not in first)
    listed = [describe_column(preview, name) for name in ordered]
    more = len(listed) - _MOST_DESCRIBED
    return ", ".join(listed[:_MOST_DESCRIBED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What the first cells of a column show."""

    name: str
    num_filled: int
    values: Sequence[str]
    """Distinct values, in order of their first cell."""
    length: float
    """Mean length of the filled cells, in characters."""

    @property
    def is_text(self) -> bool:
        return self.length >= _FEWEST_CHARACTERS and 2 * len(self.values) > self.num_filled

    @property
    def is_label(self) -> bool:
        number = len(self.values)
        is_split = {value.lower() for value in self.values} <= _SPLIT_VALUES
        return 2 <= number <= MOST_LABELS and 2 * number <= self.num_filled and not is_split

    def describe(self) -> str:
        if not self.num_filled:
            return f"{self.name} (empty)"
        if self.is_text:
            return f"{self.name} (texts of {self.length:.0f} characters on average)"
        values = list(find_labels(self.values)) if self.is_label else self.values
        some = ", ".join(excerpt(value, 20) for value in values[:_MOST_VALUES])
        more = ", ..." if len(self.values) > _MOST_VALUES else ""
        number = f"{len(self.values):,} value{'s' * (len(self.values) != 1)}"
        return f"{self.name} ({number}: {some}{more})"


def _preference(fact: _Facts) -> tuple[bool, int]:
    return fact.name.casefold() not in _LABEL_NAMES, len(fact.values)


def _facts_of(name: str, cells: Sequence[str]) -> _Facts:
    filled = [cell.strip() for cell in cells if cell.strip()]
    return _Facts(
        name=name,
        num_filled=len(filled),
        values=list(dict.fromkeys(filled)),
        length=sum(map(len, filled)) / max(len(filled), 1),
    )
