from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.recorded import DATA, RecordedGrid, read_grid
from training.errors import InputError

SHIPPED = ("replay-sample-tiny.csv", "replay-tweets-tiny.csv")
CONFIGURATIONS, REPLICATES, EPOCHS, PER_EPOCH = 3, 2, 3, 2
ROWS = {1: 100, 2: 104}


def table(**changes: object) -> pd.DataFrame:
    """Return a grid: batches of 8, 32 and 64 rows, replicates of 100 and 104 rows."""
    rows = [
        {
            **{"configuration": c, "replicate": k, "learning_rate": 0.001 * (c + 1)},
            **{"batch_size": (8, 32, 64)[c], "train_rows": ROWS[k], "validation_rows": 20 + 5 * k},
            "constant_score": 0.1 * k,
            "examples": seen(ROWS[k], (8, 32, 64)[c], number),
            "f1_macro": c / 10 + k / 100 + number / 1000,
            **{"accuracy": 0.5, "train_loss": np.nan},
        }
        for k in range(1, REPLICATES + 1)
        for c in range(CONFIGURATIONS)
        for number in range(1, EPOCHS * PER_EPOCH + 1)
    ]
    return pd.DataFrame(rows).assign(**changes)


def seen(num_rows: int, batch_size: int, number: int) -> int:
    epochs, half = divmod(number, PER_EPOCH)
    steps = -(-half * num_rows // PER_EPOCH // batch_size)
    return epochs * num_rows + min(steps * batch_size, num_rows - 1)


def read(tmp_path: Path, frame: pd.DataFrame) -> RecordedGrid:
    path = tmp_path / "some.csv"
    frame.to_csv(path, index=False)
    return read_grid(path)


def test_a_grid_has_parameters_scores_and_points(tmp_path: Path) -> None:
    grid = read(tmp_path, table())
    assert grid.name == "some"
    assert [dict(p) for p in grid.parameters] == [
        {"learning_rate": 0.001, "batch_size": 8},
        {"learning_rate": 0.002, "batch_size": 32},
        {"learning_rate": 0.003, "batch_size": 64},
    ]
    assert grid.scores.shape == (CONFIGURATIONS, REPLICATES, EPOCHS * PER_EPOCH)
    assert grid.scores.dtype == np.float64
    assert grid.scores[2, 1, 3] == pytest.approx(0.2 + 0.02 + 0.004)
    assert (grid.num_rows, grid.epochs) == (102, 3)
    assert grid.points == (51, 102, 153, 204, 255, 306)
    assert grid.validation_share == (25 + 30) / (100 + 104)
    assert grid.constant_score == pytest.approx(0.15)


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    found = read(tmp_path, table().sample(frac=1, random_state=0))
    assert np.array_equal(found.scores, read(tmp_path, table()).scores)


def test_without_validation_rows_a_quarter_of_the_training_rows_is_assumed(tmp_path: Path) -> None:
    assert read(tmp_path, table().drop(columns="validation_rows")).validation_share == 0.25


def test_without_its_column_the_constant_score_is_found_among_repeated_evaluations(
    tmp_path: Path,
) -> None:
    frame = table().drop(columns="constant_score")
    share = 0.6
    frame.loc[:4, ["accuracy", "f1_macro"]] = 0.25, round(2 * 0.25 / 1.25 / 3, 5)
    frame.loc[5:8, ["accuracy", "f1_macro"]] = share, round(2 * share / (1 + share) / 3, 5)
    frame.loc[9:, "accuracy"] = np.linspace(0.3, 0.7, len(frame) - 9)
    assert read(tmp_path, frame).constant_score == 0.25  # three classes, 60 % in the largest


@pytest.mark.parametrize("dropped", [["accuracy"], []])
def test_a_constant_score_that_no_evaluation_shows_is_unknown(
    tmp_path: Path, dropped: list[str]
) -> None:
    frame = table().drop(columns=["constant_score", *dropped])
    assert read(tmp_path, frame).constant_score is None


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (table().drop(columns="f1_macro"), "'f1_macro' is missing"),
        (table()[:0], "has no row"),
        (table(f1_macro="high"), "line 2: f1_macro is high, but must be a number"),
        (table(f1_macro=np.inf), "f1_macro is inf, but must be a number"),
        (table()[1:], "configuration 0 on replicate 1 has 5 evaluations, but must have 6"),
        (
            table().query("configuration != 1 or replicate != 2"),
            "configuration 1 on replicate 2 has 0 evaluations",
        ),
        (table().query("configuration != 1"), "configuration 1 on replicate 1 has 0"),
        (table(learning_rate=np.arange(36)), "differ within one configuration"),
        (table(train_rows=np.arange(36)), "train_rows differ within one replicate"),
        (table(validation_rows=np.arange(36)), "differ within one replicate"),
        (table(examples=range(36)), "not at equal distances"),
        (table(train_rows=90), "not at equal distances"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error(
    tmp_path: Path, frame: pd.DataFrame, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, frame)


def test_a_file_that_is_missing_or_no_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_grid(tmp_path / "none.csv")
    for content in (b"", b"\xff\xfe\x00a,b", b'a,b\n1,2,3\n"'):
        (tmp_path / "bad.csv").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.csv"):
            read_grid(tmp_path / "bad.csv")
    with pytest.raises(InputError, match="is no CSV"):
        read_grid(tmp_path)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_grid_is_40_configurations_on_12_replicates_twice_an_epoch(name: str) -> None:
    grid = read_grid(DATA / name)
    assert grid.scores.shape == (40, 12, 12)
    assert grid.epochs == 6
    assert dict(grid.parameters[0]) == {
        **{"learning_rate": 0.0005, "batch_size": 32, "warmup_steps": 0.1}
    }
    assert grid.validation_share == pytest.approx(0.25, abs=0.005)
    assert grid.constant_score is not None
    assert (grid.scores[..., -1].max(axis=0) > grid.constant_score + 0.05).all()


def test_the_shipped_grids_are_small_and_hold_numbers_alone() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 1_000_000
    for name in SHIPPED:
        assert all(kind.kind in "if" for kind in pd.read_csv(DATA / name).dtypes)


def test_the_constant_score_of_the_tweets_is_that_of_their_largest_class() -> None:
    assert read_grid(DATA / "replay-tweets-tiny.csv").constant_score == 0.18358
