from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.training.tables import LABELS, configured, fixed_table, messy_table, table_of
from training.config import DataConfig
from training.data import PreparedData, prepare, read_test_rows, texts_of_splits
from training.errors import InputError
from training.folding import drop_key
from training.split_texts import SplitTexts, read_split_texts, write_split_texts
from training.splits import choose_held_out


def texts_of(prepared: PreparedData, table: pd.DataFrame, *splits: str) -> set[str]:
    """Return the drop keys of the texts in some splits."""
    rows = prepared.assignment[prepared.assignment["split"].isin(splits)]["row"]
    return {drop_key(text) for text in table["text"].iloc[rows]}


def grow(folder: Path, table: pd.DataFrame, more: pd.DataFrame) -> tuple[pd.DataFrame, DataConfig]:
    """Return a table with more rows, shuffled, and its configuration."""
    grown = pd.concat([table, more], ignore_index=True).sample(frac=1, random_state=3)
    folder.mkdir()
    return grown.reset_index(drop=True), configured(folder, grown)


def test_the_same_table_is_split_as_without_an_earlier_run(tmp_path: Path) -> None:
    config = configured(tmp_path, messy_table())
    plain = prepare(config)
    again = prepare(config, held_out=plain.split_texts)
    pd.testing.assert_frame_equal(again.assignment, plain.assignment)
    assert len(again.split_texts.test) == len(plain.test_rows)
    assert plain.split_texts.num_searched_shared(again.split_texts) == len(
        [*plain.train.texts, *plain.validation.texts]
    )


@pytest.fixture
def old(tmp_path: Path) -> tuple[pd.DataFrame, PreparedData]:
    table = table_of(200)
    return table, prepare(configured(tmp_path, table))


def test_in_a_grown_table_old_texts_stay_on_their_side_and_the_test_keeps_its_share(
    old: tuple[pd.DataFrame, PreparedData], tmp_path: Path
) -> None:
    table, before = old
    grown, config = grow(tmp_path / "grown", table, table_of(300, seed=5))
    after = prepare(config, held_out=before.split_texts)
    assert texts_of(before, table, "test") <= texts_of(after, grown, "test")
    assert not texts_of(before, table, "train", "validation") & texts_of(after, grown, "test")
    for label in LABELS:
        counts = [after.summary.class_counts[split][label] for split in after.summary.class_counts]
        assert abs(after.summary.class_counts["test"][label] / sum(counts) - 0.2) < 0.02
    new_tests = texts_of(after, grown, "test") - texts_of(before, table, "test")
    assert len(new_tests) == pytest.approx(60, abs=5)


def test_the_usual_split_of_a_grown_table_would_have_moved_texts(
    old: tuple[pd.DataFrame, PreparedData], tmp_path: Path
) -> None:
    table, before = old
    grown, config = grow(tmp_path / "grown", table, table_of(300, seed=5))
    usual = texts_of(prepare(config), grown, "test")
    assert usual & texts_of(before, table, "train", "validation")


def test_a_run_on_a_grown_table_is_split_alike_by_the_texts_that_it_keeps(
    old: tuple[pd.DataFrame, PreparedData], tmp_path: Path
) -> None:
    table, before = old
    _, config = grow(tmp_path / "grown", table, messy_table().iloc[150:])
    first = prepare(config, held_out=before.split_texts)
    kept = first.split_texts.merge(before.split_texts)
    again = prepare(config, held_out=kept)
    pd.testing.assert_frame_equal(again.assignment, first.assignment)
    tested = read_test_rows(config, sha256=first.summary.sha256, held_out=kept)
    assert tested.test.rows.tolist() == first.test_rows.tolist()


def test_a_searched_text_whose_group_has_an_old_test_text_is_dropped_and_counted(
    old: tuple[pd.DataFrame, PreparedData], tmp_path: Path
) -> None:
    table, before = old
    splits = before.assignment["split"]
    test, train = (table.index[splits == split][0] for split in ("test", "train"))
    more = table_of(60, seed=5).assign(author=[f"new{n}" for n in range(60)])
    table = table.assign(author=[f"a{n}" for n in table.index])
    table.loc[[test, train], "author"] = "both"
    folder = tmp_path / "grown"
    folder.mkdir()
    grown = pd.concat([table, more], ignore_index=True)
    config = configured(folder, grown, group_column="author")
    after = prepare(config, held_out=before.split_texts)
    row = after.assignment.iloc[train]
    assert (row["split"], row["reason"]) == ("dropped", "in a group of an earlier test")
    assert after.assignment["split"].iloc[test] == "test"
    summary = after.summary
    assert summary.dropped["in a group of an earlier test"] == 1
    assert summary.kept + sum(summary.dropped.values()) == summary.rows == len(grown)


def test_a_new_row_follows_the_group_of_an_old_test_text_or_of_a_searched_one(
    old: tuple[pd.DataFrame, PreparedData], tmp_path: Path
) -> None:
    table, before = old
    splits = before.assignment["split"]
    chosen = [table.index[splits == split][0] for split in ("test", "train", "validation")]
    near = table.loc[chosen].assign(text=[f"{text} ya" for text in table["text"].loc[chosen]])
    folder = tmp_path / "grown"
    folder.mkdir()
    grown = pd.concat([table, near, table_of(30, seed=5)], ignore_index=True)
    after = prepare(configured(folder, grown), held_out=before.split_texts)
    found = after.assignment["split"].iloc[len(table) : len(table) + 3].tolist()
    assert found[0] == "test"
    assert "test" not in found[1:]


def test_a_fixed_split_that_moves_texts_is_refused_in_a_line(tmp_path: Path) -> None:
    table = fixed_table()
    before = prepare(configured(tmp_path, table, split_column="part"))
    config = configured(tmp_path, table.iloc[::-1], split_column="part")
    prepare(config, held_out=before.split_texts)
    parts = table["part"].tolist()
    moved = configured(tmp_path, table.assign(part=parts[1:] + parts[:1]), split_column="part")
    with pytest.raises(InputError) as caught:
        prepare(moved, held_out=before.split_texts)
    (line,) = caught.value.problems
    assert "data.split_column 'part' puts" in line
    assert "leave the run out of search.warm_start" in line


def test_the_file_is_read_back_and_a_damaged_one_is_refused(
    old: tuple[pd.DataFrame, PreparedData], tmp_path: Path
) -> None:
    path, texts = tmp_path / "split_texts.bin", old[1].split_texts
    assert read_split_texts(path) is None
    write_split_texts(path, texts)
    found = read_split_texts(path)
    assert found is not None
    assert found.test.tolist() == texts.test.tolist()
    assert found.searched.tolist() == texts.searched.tolist()
    content = path.read_bytes()
    for damaged in (content[:-1], content[:-8], content[8:], b"", content[:16]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged"):
            read_split_texts(path)


def test_no_text_can_be_read_in_the_file(
    old: tuple[pd.DataFrame, PreparedData], tmp_path: Path
) -> None:
    table, prepared = old
    write_split_texts(tmp_path / "file", prepared.split_texts)
    content = (tmp_path / "file").read_bytes()
    assert len(content) == 24 + 8 * prepared.summary.kept
    assert not any(text[:8].encode() in content for text in table["text"])


def test_the_texts_of_an_older_run_come_from_its_table_and_split(
    old: tuple[pd.DataFrame, PreparedData],
) -> None:
    prepared = old[1]
    pairs = zip(prepared.assignment["row"], prepared.assignment["split"], strict=True)
    assignment = {int(row): str(split) for row, split in pairs}
    sha256 = prepared.summary.sha256
    found = texts_of_splits(prepared.config, assignment, sha256=sha256)
    assert found is not None
    assert found.test.tolist() == prepared.split_texts.test.tolist()
    assert found.searched.tolist() == prepared.split_texts.searched.tolist()
    assert texts_of_splits(prepared.config, assignment, sha256="0" * 64) is None
    gone = prepared.config.model_copy(update={"path": "gone.csv"})
    assert texts_of_splits(gone, assignment, sha256=sha256) is None


def test_texts_that_one_run_tested_and_another_searched_on_are_counted() -> None:
    one = SplitTexts.of(["a b", "c d", "e f"], np.array([True, False, False]))
    other = SplitTexts.of(["c d", "a b"], np.array([True, False]))
    assert one.num_contradicting == 0
    assert one.merge(other).num_contradicting == 2
    assert one.num_tests_shared(one) == 1


def test_all_rows_may_be_decided_before() -> None:
    sides = np.array([1, -1, 1, -1])
    names = [bytes([number]) * 16 for number in range(4)]
    zeros = np.zeros(4, dtype=np.int64)
    held = choose_held_out(names, np.arange(4), zeros, share=0.9, seed=1, sides=sides)
    assert held.tolist() == [True, False, True, False]
