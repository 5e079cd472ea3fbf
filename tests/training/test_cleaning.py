from pathlib import Path

import pandas as pd
import pytest

from tests.training.tables import LABELS, SHARED, configured, fixed_table, problems_of, table_of
from training.config import DataConfig
from training.data import prepare

EXCERPT = SHARED / "hasil-labeling-excerpt.csv"


def test_rows_are_dropped_in_order_and_counted_under_the_first_reason(tmp_path: Path) -> None:
    table = table_of()
    table.loc[0, ["text", "error", "confidence_score"]] = ["  ", "timeout", "0.1"]
    table.loc[1, "final_label"] = ""
    table.loc[2, ["error", "confidence_score", "final_label"]] = ["timeout", "junk", "junk"]
    table.loc[3, ["confidence_score", "final_label"]] = ["0.6999999", "junk"]
    table.loc[4, "confidence_score"] = ""
    table.loc[5, "text"] = table.loc[10, "text"].upper() + " @budi https://a.b"
    table.loc[6, ["text", "final_label"]] = [table.loc[11, "text"], "abot"]
    prepared = prepare(configured(tmp_path, table))
    assert prepared.summary.dropped == {
        "no text or label": 2,
        "error": 1,
        "low confidence": 2,
        "duplicate": 1,
        "conflicting labels": 2,
    }
    reasons = prepared.assignment.set_index("row")["reason"]
    assert reasons[[0, 1, 2, 3, 4, 6, 11]].tolist() == [
        "no text or label",
        "no text or label",
        "error",
        "low confidence",
        "low confidence",
        "conflicting labels",
        "conflicting labels",
    ]
    assert sorted([reasons[5], reasons[10]]) == ["", "duplicate"]
    assert prepared.summary.label_noise == 0.5
    assert prepared.summary.kept == 112 == (prepared.assignment["split"] != "dropped").sum()


def test_a_confidence_of_exactly_the_bound_is_kept(tmp_path: Path) -> None:
    table = table_of().assign(confidence_score=["0.7", "0.70"] * 60)
    assert prepare(configured(tmp_path, table)).summary.dropped["low confidence"] == 0


def test_a_filter_whose_column_is_null_is_off_and_a_missing_error_column_is_no_error(
    tmp_path: Path,
) -> None:
    table = table_of().drop(columns=["confidence_score", "error"])
    assert prepare(configured(tmp_path, table, confidence_column=None)).summary.kept == 120


def test_of_equal_texts_the_one_of_the_highest_confidence_is_kept(tmp_path: Path) -> None:
    table = table_of()
    for row, confidence in ((20, "0.8"), (21, "0.95"), (22, "0.9")):
        text = "Sepi tenan" + "!" * row
        table.loc[row, ["text", "final_label", "confidence_score"]] = [text, "abot", confidence]
    prepared = prepare(configured(tmp_path, table))
    assert prepared.assignment["reason"][20:23].tolist() == ["duplicate", "", "duplicate"]


def test_an_unknown_split_is_an_error_that_shows_its_rows(tmp_path: Path) -> None:
    table = fixed_table()
    table.loc[[3, 4], "part"] = ["hold-out", ""]
    first, second = problems_of(configured(tmp_path, table, split_column="part"))
    assert "'hold-out' in 1 row (row 3)" in first
    assert "'' in 1 row (row 4)" in second


def test_missing_columns_are_reported_at_once_with_the_nearest_names(tmp_path: Path) -> None:
    table = table_of().rename(
        columns={"text": "Texts", "final_label": "finallabel", "confidence_score": "confidence"}
    )
    lines = problems_of(configured(tmp_path, table, group_column="author", split_column="splits"))
    assert len(lines) == 5
    assert "no column 'text' (data.text_column)" in lines[0]
    assert "did you mean 'Texts'?" in lines[0]
    assert "did you mean 'finallabel'?" in lines[1]
    assert "did you mean 'confidence'?" in lines[2]
    assert "no column 'author' (data.group_column)" in lines[3]
    assert "no column 'splits' (data.split_column)" in lines[4]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_separator_of_a_table_is_found_and_told(tmp_path: Path, separator: str) -> None:
    table = table_of()
    path = tmp_path / "data.csv"
    table.to_csv(path, index=False, sep=separator)
    summary = prepare(DataConfig(path=str(path), labels=LABELS)).summary
    assert (summary.kept, summary.format) == (120, f"CSV separated by {separator!r}")


def test_white_space_around_labels_and_columns_is_taken_off_and_told(tmp_path: Path) -> None:
    table = table_of().rename(columns={"final_label": " final_label "})
    table.loc[0, " final_label "] = " biasa\t"
    table.loc[9, " final_label "] = "abot "
    summary = prepare(configured(tmp_path, table)).summary
    assert summary.kept == 120
    column, labels = summary.notes
    assert column == "column ' final_label ' is read as 'final_label'"
    assert labels.startswith("2 labels are spelt otherwise, such as ' biasa\\t' for 'biasa'")


def test_numeric_labels_are_one_however_the_number_is_written(tmp_path: Path) -> None:
    table = table_of()
    numbers = dict(zip(LABELS, ("0", "1.0", " 2"), strict=True))
    table["final_label"] = [numbers[label] for label in table["final_label"]]
    table.loc[0, "final_label"] = "0.0"
    config = configured(tmp_path, table).model_copy(update={"labels": ("0", "1", "2")})
    prepared = prepare(config)
    assert prepared.summary.kept == 120
    assert {part: sorted(n) for part, n in prepared.summary.class_counts.items()}["test"] == [
        *("0", "1", "2")
    ]
    assert "such as '0.0' for '0'" in prepared.summary.notes[0]


def test_case_is_never_folded_and_words_beside_numbers_stay_words(tmp_path: Path) -> None:
    table = table_of()
    table.loc[0, "final_label"] = "Biasa"
    (line,) = problems_of(configured(tmp_path, table))
    assert "did you mean 'biasa'?" in line
    numbers = dict(zip(LABELS, ("0", "1", "two"), strict=True))
    table = table_of()
    table["final_label"] = [numbers[label] for label in table["final_label"]]
    table.loc[0, "final_label"] = "0.0"
    config = configured(tmp_path, table).model_copy(update={"labels": ("0", "1", "two")})
    (line,) = problems_of(config)
    assert "'0.0' in 1 row (row 0)" in line


def test_a_label_outside_the_list_is_an_error_that_shows_its_first_rows(tmp_path: Path) -> None:
    table = table_of()
    table.loc[5:13, "final_label"] = "abott"
    table.loc[50, "final_label"] = "xyz"
    first, second = problems_of(configured(tmp_path, table))
    assert "'abott' in 9 rows (rows 5, 6, 7, 8, 9, ...)" in first
    assert "did you mean 'abot'?" in first
    assert "'xyz' in 1 row (row 50)" in second
    assert "'biasa', 'entheng', 'abot'" in second


def test_many_wrong_values_take_few_lines(tmp_path: Path) -> None:
    lines = problems_of(configured(tmp_path, table_of().assign(confidence_score=range(2, 122))))
    assert len(lines) == 6
    assert "115 other wrong values in 115 more rows" in lines[-1]


@pytest.mark.parametrize("value", ["high", "0,8", "1.01", "-0.1", "nan", "inf", "0_1"])
def test_a_confidence_that_is_no_number_from_0_to_1_is_an_error(tmp_path: Path, value: str) -> None:
    table = table_of()
    table.loc[[7, 9], "confidence_score"] = value
    (line,) = problems_of(configured(tmp_path, table))
    assert f"'confidence_score' is '{value}' in 2 rows (rows 7, 9)" in line


def test_independent_problems_are_reported_at_once(tmp_path: Path) -> None:
    table = table_of().drop(columns="text")
    table.loc[3, ["confidence_score", "final_label"]] = ["high", "abott"]
    lines = problems_of(configured(tmp_path, table))
    expected = ("'text'", "'high'", "'abott'")
    assert all(part in line for line, part in zip(lines, expected, strict=True))


def test_nothing_left_is_an_error_with_the_counts(tmp_path: Path) -> None:
    table = table_of().assign(confidence_score="0.5")
    table.loc[0, "text"] = ""
    (line,) = problems_of(configured(tmp_path, table))
    assert "no row is left of 120" in line
    assert "no text or label: 1, low confidence: 119" in line


@pytest.mark.skipif(not EXCERPT.exists(), reason="the shared excerpt is not beside the checkout")
def test_the_rows_of_confidence_exactly_0_7_of_the_real_excerpt_are_kept() -> None:
    config = DataConfig(path=str(EXCERPT), near_duplicate_threshold=None)
    summary = prepare(config).summary
    assert (pd.read_csv(EXCERPT)["confidence_score"] == 0.7).sum() == 16
    assert summary.dropped["low confidence"] == 3


def test_labels_of_another_table_are_shown_and_those_of_the_study_are_not(tmp_path: Path) -> None:
    table = table_of().rename(columns={"final_label": "tone"})
    path = tmp_path / "data.csv"
    table.to_csv(path, index=False)
    (line,) = problems_of(DataConfig(path=str(path), label_column="tone"))
    assert "column 'tone' holds abot, biasa, entheng, but none of them is in data.labels" in line
    assert "--data.labels '[abot, biasa, entheng]'" in line
    assert "Bukan" not in line
    table["tone"] = table["text"]
    table.to_csv(path, index=False)
    (line,) = problems_of(DataConfig(path=str(path), label_column="tone"))
    assert "(120 values)" in line
    assert "data.label_column to another column" in line


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("text", "", "data.text_column and data.label_column"),
        ("error", "none", "set data.error_column to null"),
        ("confidence_score", "0.1", "lower data.min_confidence"),
    ],
)
def test_where_no_row_is_left_the_advice_is_about_what_dropped_them(
    tmp_path: Path, column: str, value: str, told: str
) -> None:
    (line,) = problems_of(configured(tmp_path, table_of().assign(**{column: value})))
    assert told in line
    assert ("min_confidence" in line) == (column == "confidence_score")


def test_no_advice_names_a_filter_that_is_off(tmp_path: Path) -> None:
    table = table_of().drop(columns=["confidence_score", "error"])
    table = table[(table["final_label"] != "abot") | (table.index == 9)]
    lines = problems_of(configured(tmp_path, table, confidence_column=None))
    assert any("class 'abot' has no row" in line for line in lines)
    assert not any("min_confidence" in line for line in lines)
