"""Tables in memory become Arrow columns that Parquet holds, or one error names what cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from training.columns import read_columns, sha256_of
from training.errors import InputError
from training.frames import holds_frame, read_frame, write_frame

ROWS = {"text": ["apik", "ala", None], "label": ["good", "bad", "good"]}


@dataclass
class FakeTable:
    """An object of a library that converts itself to pandas."""

    frame: Any
    features: Mapping[str, Any] = field(default_factory=dict)

    def to_pandas(self) -> Any:
        if isinstance(self.frame, Exception):
            raise self.frame
        return self.frame


@dataclass
class FakeClassLabel:
    """A feature of a `datasets.Dataset` that is stored as codes."""

    names: list[str]


class FakeLazyFrame:
    """A frame that must be computed first."""

    def collect(self) -> None:
        raise AssertionError


def refused(data: object) -> list[str]:
    with pytest.raises(InputError) as error:
        read_frame(data)
    assert all(line.startswith("data") for line in error.value.problems)
    return list(error.value.problems)


@pytest.mark.parametrize(
    "same",
    [
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS, dtype=object),
        pd.DataFrame(ROWS).astype("category"),
        pd.DataFrame(ROWS).astype("string[python]"),
        pd.DataFrame(ROWS, index=[7, 3, 3]),
        pa.table(ROWS),
        pa.table({name: pa.array(cells).dictionary_encode() for name, cells in ROWS.items()}),
        pa.concat_tables([pa.table(ROWS).slice(0, 1), pa.table(ROWS).slice(1)]),
        FakeTable(pd.DataFrame(ROWS)),
        FakeTable(
            pd.DataFrame({**ROWS, "label": [1, 0, 1]}),
            {"text": "string", "label": FakeClassLabel(["bad", "good"])},
        ),
    ],
)
def test_the_same_rows_give_the_same_file_whatever_holds_them(same: Any, tmp_path: Path) -> None:
    first, other = tmp_path / "first.parquet", tmp_path / "other.parquet"
    write_frame(read_frame(pd.DataFrame(ROWS)), first)
    write_frame(read_frame(same), other)
    assert sha256_of(first) == sha256_of(other)
    assert holds_frame(first, read_frame(same))
    assert not holds_frame(first, read_frame(pd.DataFrame(ROWS).iloc[::-1]))
    cells = read_columns(other, {"text": "", "label": ""}).cells
    assert cells == {"text": ["apik", "ala", ""], "label": ["good", "bad", "good"]}


def test_a_named_index_becomes_columns_and_the_frame_is_not_changed() -> None:
    frame = pd.DataFrame(ROWS).set_index(["label", pd.Index([1, 2, 3], name="thread")])
    before = frame.copy()
    assert read_frame(frame).column_names == ["label", "thread", "text"]
    pd.testing.assert_frame_equal(frame, before)


def test_values_keep_their_types_and_missing_ones_are_null() -> None:
    table = read_frame(
        pd.DataFrame(
            {
                "share": [0.5, np.nan],
                "count": pd.array([1, None], dtype="Int64"),
                "day": pd.to_datetime(["2026-01-01", None]),
                "class": pd.Categorical([2, None]),
                3: [True, False],
            }
        )
    )
    assert table.column_names == ["share", "count", "day", "class", "3"]
    assert [table[name].null_count for name in table.column_names] == [1, 1, 1, 1, 0]
    assert table["class"].to_pylist() == [2, None]


def test_a_class_code_without_a_name_is_no_label() -> None:
    unlabelled = FakeTable(pd.DataFrame({"label": [0, -1]}), {"label": FakeClassLabel(["bad"])})
    assert read_frame(unlabelled)["label"].to_pylist() == ["bad", None]


@pytest.mark.parametrize(
    "cells",
    [
        ["a", 1],
        [1, True],
        ["a", b"a"],
        [{"a": 1}, 1],
        [{}, {}],
        [2**70, 1],
        [1j, 2j],
        ["\ud800", "a"],
        pd.Categorical(["a", 1]),
    ],
)
def test_a_column_that_parquet_cannot_hold_is_named(cells: Any) -> None:
    odd = cells if isinstance(cells, pd.Categorical) else pd.Series(cells, dtype=object)
    frame = pd.DataFrame({"text": ["a", "b"], "odd": odd})
    (problem,) = refused(frame)
    assert "column 'odd'" in problem
    assert "drop(columns=['odd'])" in problem


def test_all_such_columns_are_named_at_once() -> None:
    frame = pd.DataFrame({"odd": ["a", 1], "text": ["a", "b"], "also": [1, True]}, dtype=object)
    first, second = refused(frame)
    assert "'odd' holds int and str" in first
    assert "'also' holds bool and int" in second


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), "2 columns are named 'text'"),
        (pd.DataFrame([["a", "b"]], columns=["1", 1]), "2 columns are named '1'"),
        (pd.DataFrame(ROWS).set_index("text", drop=False), r"call reset_index(drop=True)"),
        (pd.DataFrame(ROWS)[:0], "has no rows"),
        (pd.DataFrame(), "has no columns"),
        (pd.DataFrame({("a", "b"): [1]}), "2 levels"),
    ],
)
def test_a_frame_that_is_no_table_of_rows_is_refused(frame: pd.DataFrame, named: str) -> None:
    (problem,) = refused(frame)
    assert named in problem


@pytest.mark.parametrize(
    ("data", "step"),
    [
        (None, "give pandas.DataFrame(data)"),
        (7, "data is 7"),
        ([{"text": "a"}], "give pandas.DataFrame(data)"),
        ({"train": pd.DataFrame(ROWS), "test": pa.table(ROWS)}, "the parts 'train', 'test'"),
        (FakeLazyFrame(), "call data.collect() before"),
        (pd.Series(["a"], name="text"), "give the frame"),
        (pa.array(["a"]), "returned a pandas Series"),
        (FakeTable(ImportError("pyarrow is not installed")), "pyarrow is not installed"),
        (FakeTable([1]), "returned a list"),
    ],
)
def test_what_is_no_table_is_refused_with_the_next_step(data: object, step: str) -> None:
    (problem,) = refused(data)
    assert step in problem


def test_a_damaged_file_is_an_error_and_not_another_table(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read"):
        holds_frame(tmp_path / "data.parquet", pa.table(ROWS))
