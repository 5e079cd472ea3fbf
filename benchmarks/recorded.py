"""Read a recorded grid: curves of real trainings, every configuration on every replicate.

`python -m benchmarks.record` makes such a file, a CSV with a row an evaluation. Replays take it as
the truth: what a configuration scores on a replicate, and when. `benchmarks/data` holds two:
`replay-sample-tiny.csv` (the bundled sample) and `replay-tweets-tiny.csv` (6,000 tweets), both of
`tiny` on a CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.errors import InputError

DATA = Path(__file__).parent / "data"
"""Directory of the grids that are shipped."""

DEFAULT_VALIDATION_SHARE = 0.25
"""Validation rows over training rows of a file without `validation_rows`: the product holds out
20 % of the rows that are not in the test where these are fewer than 20,000."""

INDEX = ("configuration", "replicate")
_REQUIRED = (*INDEX, "train_rows", "examples", "f1_macro")
_OPTIONAL = ("validation_rows", "constant_score", "accuracy")
_UNREAD = ("epoch", "train_loss", "eval_loss", "last")
_MOST_LABELS = 50
_ROUNDING = 1.5e-5
"""Accuracies and scores have 5 digits."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RecordedGrid:
    """Curves of the same configurations on the same replicates."""

    name: str
    """The file's name without its suffix."""
    parameters: tuple[Mapping[str, float], ...]
    """The searched fields of each configuration; 0 is the default."""
    scores: Scores
    """Macro-F1 on the validation rows, float64 [configurations, replicates, points]."""
    points: tuple[int, ...]
    """Training rows seen at which evaluations were due, ascending; the last is the budget. On
    replicates with more or fewer than `num_rows` they were due at the same shares of an epoch."""
    num_rows: int
    """Training rows an epoch: the median of the replicates."""
    validation_share: float
    """Validation rows over training rows."""
    constant_score: float | None
    """Score of the best constant predictor, the mean of the replicates; None: unknown."""

    @property
    def epochs(self) -> int:
        """Epochs of the full budget."""
        return self.points[-1] // self.num_rows


def read_grid(path: Path) -> RecordedGrid:
    """Read a recorded grid.

    Columns: `configuration` (from 0, the default), `replicate` (from 1), `train_rows` of the
    replicate, `examples` (training rows seen), `f1_macro` on the validation rows. Optional are
    `validation_rows` of the replicate (`DEFAULT_VALIDATION_SHARE` stands for it),
    `constant_score` on them (else it is derived from `accuracy`, where possible), and what nobody
    reads (`epoch`, `train_loss`, `eval_loss`, `last`). All other columns are searched fields.

    Raises:
        InputError: the file cannot be read, a column is missing or holds no number, or some
            training is missing or has other evaluations than the rest.
    """
    table = _read_table(path)
    names = [str(name) for name in table if name not in (*_REQUIRED, *_OPTIONAL, *_UNREAD)]
    table = table.sort_values([*INDEX, "examples"], kind="stable")
    configurations, replicates, num_points = _check_is_full(table, path)
    shape = (configurations, replicates, num_points)
    rows = _of_each(table, "replicate", ["train_rows"], path)["train_rows"].to_numpy(np.int64)
    examples = table["examples"].to_numpy(np.int64).reshape(shape)
    epochs = _check_evaluations(examples, rows, path)
    num_rows = int(np.median(rows))
    return RecordedGrid(
        name=path.stem,
        parameters=tuple(
            {str(name): value for name, value in row.items()}
            for row in _of_each(table, "configuration", names, path).to_dict("records")
        ),
        scores=table["f1_macro"].to_numpy(np.float64).reshape(shape),
        points=tuple(_due(np.array([num_rows]), epochs, num_points)[0].tolist()),
        num_rows=num_rows,
        validation_share=_validation_share(table, path),
        constant_score=_constant_score(table, path),
    )


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise InputError(f"grid {path}: no such file; give one of {DATA}") from None
    except (ValueError, OSError) as error:  # pandas' own errors, and bytes that are no UTF-8
        raise InputError(f"grid {path}: is no CSV: {error}; record it again") from error
    missing = [name for name in _REQUIRED if name not in table]
    if missing:
        raise InputError(
            f"grid {path}: column {missing[0]!r} is missing, but must be there;"
            f" needed are {', '.join(_REQUIRED)}"
        )
    if table.empty:
        raise InputError(f"grid {path}: has no row, but needs one an evaluation; record it again")
    for name in table:
        column = pd.to_numeric(table[name], errors="coerce")
        if name not in _UNREAD and not np.isfinite(column.to_numpy(np.float64)).all():
            line = int(np.argmin(np.isfinite(column.to_numpy(np.float64))))
            raise InputError(
                f"grid {path}: line {line + 2}: {name} is {table[name][line]!s}, but must be a"
                " number; record it again"
            )
    return table


def _check_is_full(table: pd.DataFrame, path: Path) -> tuple[int, int, int]:
    """Return the numbers of configurations, replicates and evaluations a training."""
    counts = table.groupby(list(INDEX)).size()
    configurations, replicates = (len(counts.index.unique(level)) for level in INDEX)
    expected = [(c, k) for c in range(configurations) for k in range(1, replicates + 1)]
    num_points = int(counts.max())
    for configuration, replicate in expected:
        found = int(counts.get((configuration, replicate), 0))
        if found != num_points:
            raise InputError(
                f"grid {path}: configuration {configuration} on replicate {replicate} has {found}"
                f" evaluations, but must have {num_points} as others; complete the recording with"
                " the command that started it"
            )
    return configurations, replicates, num_points


def _of_each(table: pd.DataFrame, index: str, names: list[str], path: Path) -> pd.DataFrame:
    """Return the values that columns have for each configuration or replicate, in its order."""
    groups = table.groupby(index)[names]
    if (groups.nunique() > 1).to_numpy().any():
        raise InputError(
            f"grid {path}: {', '.join(names)} differ within one {index}, but must not; record it"
            " again"
        )
    return groups.first()


def _check_evaluations(
    examples: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], path: Path
) -> int:
    """Check that each evaluation is at or just after the point where it was due.

    Args:
        examples: training rows seen, int64 [configurations, replicates, points].
        rows: training rows an epoch, int64 [replicates].
        path: of the file.

    Returns:
        The epochs of the full budget.
    """
    epochs, rest = divmod(int(examples[0, 0, -1]), int(rows[0]))
    due = _due(rows, max(epochs, 1), examples.shape[2])
    after = np.concatenate([due[:, 1:], due[:, -1:] + 1], axis=1)
    if rest or not epochs or not ((due <= examples) & (examples < after)).all():
        raise InputError(
            f"grid {path}: examples are not at equal distances from the first evaluation to the"
            " end of the last epoch, but must be; record it again"
        )
    return epochs


def _due(rows: npt.NDArray[np.int64], epochs: int, num_points: int) -> npt.NDArray[np.int64]:
    """Return where evaluations are due, int64 [len(rows), num_points] (`plan_evaluations`)."""
    numbers = np.arange(1, num_points + 1)
    return np.rint(rows[:, None] * numbers * epochs / num_points).astype(np.int64)


def _validation_share(table: pd.DataFrame, path: Path) -> float:
    if "validation_rows" not in table:
        return DEFAULT_VALIDATION_SHARE
    rows = _of_each(table, "replicate", ["train_rows", "validation_rows"], path).sum()
    return float(rows["validation_rows"] / rows["train_rows"])


def _constant_score(table: pd.DataFrame, path: Path) -> float | None:
    """Return the column's mean; without it, the best score seen of a constant predictor.

    A predictor of one class that has a share a of the rows has accuracy a and macro-F1
    2 a / (1 + a) / k for k classes. Trainings that have not learnt yet repeat this pair; the pair
    that is repeated most shows k.
    """
    if "constant_score" in table:
        return float(_of_each(table, "replicate", ["constant_score"], path).mean().iloc[0])
    if "accuracy" not in table:
        return None
    pairs = table[["accuracy", "f1_macro"]].value_counts()
    accuracy, f1_macro = np.array([*pairs.index[pairs > 1]]).reshape(-1, 2).T
    f1_of_class = 2 * accuracy / (1 + accuracy)
    for num_labels in range(2, _MOST_LABELS + 1):
        is_constant = np.abs(f1_of_class / num_labels - f1_macro) < _ROUNDING
        if is_constant[:1].any():
            return float(f1_macro[is_constant].max())
    return None
