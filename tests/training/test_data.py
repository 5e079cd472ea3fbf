from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.training.tables import (
    LABELS,
    SHARED,
    configured,
    fixed_table,
    messy_table,
    problems_of,
    table_of,
)
from training.config import SAMPLE, DataConfig
from training.data import DataSummary, PreparedData, prepare, read_test_rows
from training.folding import fold

TWEETS = SHARED / "severity_tweets.csv"


def split_of_text(table: pd.DataFrame, prepared: PreparedData) -> dict[str, str]:
    """Return the split of each kept text."""
    kept = prepared.assignment[prepared.assignment["split"] != "dropped"]
    return dict(zip(table["text"].iloc[kept["row"]], kept["split"], strict=True))


def test_shuffling_the_file_leaves_every_text_in_its_split(tmp_path: Path) -> None:
    table = messy_table()
    config = configured(tmp_path, table)
    prepared = prepare(config)
    shuffled_table = table.sample(frac=1, random_state=1).reset_index(drop=True)
    shuffled = prepare(configured(tmp_path, shuffled_table))
    assert split_of_text(shuffled_table, shuffled) == split_of_text(table, prepared)
    for name in ("train", "validation"):
        before, after = getattr(prepared, name), getattr(shuffled, name)
        assert before.texts == after.texts
        assert before.labels.tolist() == after.labels.tolist()
        assert before.groups.tolist() == after.groups.tolist()
    assert shuffled.summary.class_counts == prepared.summary.class_counts
    assert shuffled.summary.dropped == prepared.summary.dropped
    assert [part.texts for part in shuffled.resplit(1)] == [
        part.texts for part in prepared.resplit(1)
    ]


def test_no_group_and_no_folded_text_is_in_two_splits(tmp_path: Path) -> None:
    table = messy_table()
    # Threads of four rows, away from the near-duplicates: both in one would chain them.
    table["thread"] = [
        f"t{row // 5}" if 100 <= row < 200 and row % 5 else "" for row in table.index
    ]
    config = configured(tmp_path, table, group_column="thread")
    prepared = prepare(config)
    test = read_test_rows(config, sha256=prepared.summary.sha256).test
    parts = [prepared.train, prepared.validation, test]
    for first in range(3):
        for second in range(first):
            a, b = parts[first], parts[second]
            assert not set(a.groups.tolist()) & set(b.groups.tolist())
            assert not {fold(text) for text in a.texts} & {fold(text) for text in b.texts} - {""}
    threads = prepared.assignment.assign(thread=table["thread"]).query(
        "split != 'dropped' and thread != ''"
    )
    assert threads.groupby("thread")["split"].nunique().max() == 1
    assert prepared.summary.duplicate_groups > 0


def test_texts_and_labels_belong_to_their_row_numbers(tmp_path: Path) -> None:
    table = messy_table()
    config = configured(tmp_path, table)
    prepared = prepare(config)
    test = read_test_rows(config, sha256=prepared.summary.sha256).test
    for part in (prepared.train, prepared.validation, test):
        assert part.texts == table["text"].iloc[part.rows].tolist()
        assert [LABELS[label] for label in part.labels] == table["final_label"].iloc[
            part.rows
        ].tolist()
    assert test.rows.tolist() == prepared.test_rows.tolist()
    assert prepared.assignment["row"].tolist() == list(range(len(table)))


def test_the_result_holds_no_test_text(tmp_path: Path) -> None:
    config = configured(tmp_path, messy_table())
    strings: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, str):
            strings.add(value)
        elif is_dataclass(value):
            for field in fields(value):
                walk(getattr(value, field.name))
        elif isinstance(value, pd.DataFrame):
            for name in value:
                walk(value[name].tolist())
        elif isinstance(value, dict):
            walk([*value.keys(), *value.values()])
        elif isinstance(value, list | tuple):
            for item in value:
                walk(item)
        else:
            assert isinstance(value, np.ndarray | float | int | None | DataConfig), type(value)
            assert not isinstance(value, np.ndarray) or value.dtype in (np.int64, np.uint64)

    prepared = prepare(config)
    test = read_test_rows(config, sha256=prepared.summary.sha256).test
    walk(prepared)
    assert set(prepared.train.texts) <= strings
    assert not strings & set(test.texts)
    assert set(vars(prepared)) == {field.name for field in fields(prepared)}


def test_a_resplit_keeps_the_test_and_whole_groups_and_is_another_split(tmp_path: Path) -> None:
    prepared = prepare(configured(tmp_path, messy_table()))
    rest = {*prepared.train.rows.tolist(), *prepared.validation.rows.tolist()}
    train, validation = prepared.resplit(43)
    assert set(validation.rows.tolist()) != set(prepared.validation.rows.tolist())
    assert {*train.rows.tolist(), *validation.rows.tolist()} == rest
    assert not set(train.groups.tolist()) & set(validation.groups.tolist())
    assert not set(prepared.test_rows.tolist()) & rest
    assert abs(len(validation.rows) - len(prepared.validation.rows)) <= 3


def test_a_resplit_with_the_configured_seed_is_the_existing_split(tmp_path: Path) -> None:
    prepared = prepare(configured(tmp_path, messy_table(), split_seed=5))
    train, validation = prepared.resplit(5)
    assert train.texts == prepared.train.texts
    assert validation.rows.tolist() == prepared.validation.rows.tolist()


def test_validation_is_a_fifth_of_little_data_unless_configured_otherwise(tmp_path: Path) -> None:
    table = table_of(500)
    assert prepare(configured(tmp_path, table)).validation_share == 0.2
    prepared = prepare(configured(tmp_path, table, validation_size=0.3))
    assert len(prepared.validation.rows) == pytest.approx(0.3 * 400, abs=2)


def test_a_fixed_split_is_kept_and_what_it_leaks_is_dropped_from_train_first(
    tmp_path: Path,
) -> None:
    table = fixed_table()
    # Row 70 is a test row, 60 a validation row and 0 to 2 are train rows, all of one class.
    table.loc[0, "text"] = table.loc[70, "text"].upper()
    table.loc[1, "text"] = table.loc[60, "text"] + " @budi"
    table.loc[2, "text"] = table.loc[71, "text"] + "!"
    table.loc[3, "text"] = table.loc[72, "text"] + " ya"
    config = configured(tmp_path, table, split_column="part")
    prepared = prepare(config)
    splits, reasons = prepared.assignment["split"], prepared.assignment["reason"]
    assert reasons[[0, 1]].tolist() == ["duplicate of another split"] * 2
    assert reasons[[2, 3]].tolist() == ["in a group of another split"] * 2
    assert prepared.summary.dropped["duplicate of another split"] == 2
    assert prepared.summary.dropped["in a group of another split"] == 2
    assert splits[4:60].unique().tolist() == ["train"]
    assert splits[60:70].unique().tolist() == ["validation"]
    assert splits[70:100].unique().tolist() == ["test"]
    train, validation = prepared.resplit(1)
    assert len(validation.rows) == pytest.approx(len(prepared.validation.rows), abs=2)
    assert not {*train.rows.tolist(), *validation.rows.tolist()} & set(prepared.test_rows.tolist())


def test_a_fixed_split_without_validation_takes_it_from_train(tmp_path: Path) -> None:
    table = fixed_table()
    table["part"] = table["part"].replace(" VAL ", "train")
    prepared = prepare(configured(tmp_path, table, split_column="part"))
    assert len(prepared.test_rows) == (table["part"] == "Test").sum()
    assert prepared.validation_share == 0.2
    assert len(prepared.validation.rows) == pytest.approx(0.2 * 105, abs=2)


def test_a_fixed_split_without_a_test_is_an_error(tmp_path: Path) -> None:
    table = fixed_table().assign(part="train")
    (line,) = problems_of(configured(tmp_path, table, split_column="part"))
    assert "no kept row is in test" in line
    assert "give it some in data.split_column" in line


def test_too_few_rows_to_split_are_an_error_that_asks_for_more(
    tmp_path: Path,
) -> None:
    table = table_of().groupby("final_label").head(1).reset_index(drop=True)
    *lines, last = problems_of(configured(tmp_path, table))
    assert all("label more rows" in line for line in (*lines, last))


def test_the_record_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    record = prepare(configured(tmp_path, messy_table())).summary.as_record()
    assert set(record) == {field.name for field in fields(DataSummary)}
    assert set(record["class_counts"]) == {"train", "validation", "test"}
    counts = [sum(split.values()) for split in record["class_counts"].values()]
    assert sum(counts) == record["kept"] == record["rows"] - sum(record["dropped"].values())


def test_the_bundled_sample_can_be_prepared() -> None:
    summary = prepare(DataConfig(path=SAMPLE)).summary
    assert summary.path == "sample"
    assert min(min(counts.values()) for counts in summary.class_counts.values()) > 0


@pytest.mark.skipif(not TWEETS.exists(), reason="the shared tweets are not beside the checkout")
def test_class_shares_of_real_tweets_are_within_a_point_and_no_text_leaks() -> None:
    config = DataConfig(path=str(TWEETS))
    prepared = prepare(config)
    test = read_test_rows(config, sha256=prepared.summary.sha256).test
    counts = {
        split: np.array(list(labels.values()))
        for split, labels in prepared.summary.class_counts.items()
    }
    total = counts["train"] + counts["validation"] + counts["test"]
    assert np.abs(counts["test"] / total - 0.2).max() <= 0.01
    assert np.abs(counts["validation"] / (total - counts["test"]) - 0.2).max() <= 0.01
    seen = {fold(text) for text in prepared.train.texts + prepared.validation.texts} - {""}
    assert not seen & {fold(text) for text in test.texts}
