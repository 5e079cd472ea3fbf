"""Which cells name a label, and the errors about unknown labels and classes without rows."""

from pathlib import Path

from tests.training.tables import LABELS, configured, problems_of, table_of
from training.data import prepare


def test_white_space_around_labels_and_columns_is_removed_and_reported(tmp_path: Path) -> None:
    table = table_of().rename(columns={"final_label": " final_label "})
    table.loc[0, " final_label "] = " biasa\t"
    table.loc[9, " final_label "] = "abot "
    summary = prepare(configured(tmp_path, table)).summary
    assert summary.kept == 120
    _, column, labels = summary.notes
    assert column == "column ' final_label ' is read as 'final_label'"
    assert labels.startswith("2 labels have another spelling, such as ' biasa\\t' for 'biasa'")


def test_numeric_labels_are_equal_however_the_number_is_written(tmp_path: Path) -> None:
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
    assert "such as '0.0' for '0'" in prepared.summary.notes[1]


def test_case_is_never_folded_and_words_beside_numbers_stay_words(tmp_path: Path) -> None:
    table = table_of()
    table.loc[0, "final_label"] = "Biasa"
    (line,) = problems_of(configured(tmp_path, table))
    assert "did you mean biasa?" in line
    numbers = dict(zip(LABELS, ("0", "1", "two"), strict=True))
    table = table_of()
    table["final_label"] = [numbers[label] for label in table["final_label"]]
    table.loc[0, "final_label"] = "0.0"
    config = configured(tmp_path, table).model_copy(update={"labels": ("0", "1", "two")})
    (line,) = problems_of(config)
    assert "'0.0' in 1 row (row 0)" in line


def test_a_label_outside_the_list_is_an_error_that_lists_its_first_rows(tmp_path: Path) -> None:
    table = table_of()
    table.loc[5:13, "final_label"] = "abott"
    table.loc[50, "final_label"] = "xyz"
    first, second = problems_of(configured(tmp_path, table))
    assert "'abott' in 9 rows (rows 5, 6, 7, 8, 9, ...)" in first
    assert "did you mean abot?" in first
    assert "'xyz' in 1 row (row 50)" in second
    assert "'biasa', 'entheng', 'abot'" in second


def test_labels_of_another_table_are_listed(tmp_path: Path) -> None:
    table = table_of()
    config = configured(tmp_path, table).model_copy(update={"labels": ("yes", "no")})
    (line,) = problems_of(config)
    assert "column 'final_label' holds abot, biasa, entheng, but none of them is in" in line
    assert "--data.labels '[abot, biasa, entheng]'" in line
    table["final_label"] = table["text"]
    table.to_csv(config.path, index=False)
    (line,) = problems_of(config)
    assert "(120 values)" in line
    assert "data.label_column to another column" in line


def test_a_class_that_some_split_gets_no_row_of_is_an_error(tmp_path: Path) -> None:
    table = table_of().query("final_label != 'abot'").reset_index(drop=True)
    table.loc[[0, 1], "final_label"] = "abot"
    (line,) = problems_of(configured(tmp_path, table))
    assert (
        "class 'abot' has no row in train (rows kept: train 0, validation 1, test 1)" in line
        or (
            "class 'abot' has no row in validation (rows kept: train 1, validation 0, test 1)"
            in line
        )
    )


def test_a_class_without_rows_is_an_error(tmp_path: Path) -> None:
    table = table_of().query("final_label != 'abot'")
    (line,) = problems_of(configured(tmp_path, table))
    assert "no kept row has the label 'abot' of data.labels; spell it as column" in line
