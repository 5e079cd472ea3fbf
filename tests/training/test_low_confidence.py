"""The low-confidence rows that `read_test_rows` returns beside the test set."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.training.tables import (
    LABELS,
    SHARED,
    configured,
    fixed_table,
    messy_table,
    table_of,
)
from training.config import DataConfig
from training.data import PreparedData, prepare, read_test_rows
from training.folding import fold
from training.near_duplicates import group_texts
from training.texts import HeldOutTexts

TWEETS = SHARED / "severity_tweets.csv"


def held_out(config: DataConfig) -> HeldOutTexts:
    return read_test_rows(config, sha256=prepare(config).summary.sha256)


def low_table(num_rows: int = 100) -> pd.DataFrame:
    """Make low-confidence rows, similar to no row of `table_of` and `messy_table`."""
    return table_of(num_rows, seed=1).assign(
        confidence_score=[f"{0.1 + 0.005 * row:.3f}" for row in range(num_rows)]
    )


def with_low(table: pd.DataFrame, low: pd.DataFrame) -> pd.DataFrame:
    """Join both, with low-confidence rows before and after the others."""
    return pd.concat([low.iloc[::2], table, low.iloc[1::2]], ignore_index=True)


def parts(prepared: PreparedData, config: DataConfig) -> list[tuple[Any, ...]]:
    splits = [
        prepared.train,
        prepared.validation,
        read_test_rows(config, sha256=prepared.summary.sha256).test,
    ]
    return [(part.texts, part.labels.tolist(), part.groups.tolist()) for part in splits]


def test_rows_of_low_confidence_change_no_split_no_group_and_no_count(tmp_path: Path) -> None:
    table = messy_table()
    config = configured(tmp_path, table)
    before, parts_before = prepare(config), parts(prepare(config), config)
    low = low_table()
    # Some are equal to kept rows and some nearly equal.
    low.loc[0:49, "text"] = [text.upper() + "!" for text in table["text"][0:50]]
    low.loc[50:79, "text"] = [f"{text} ya" for text in table["text"][60:90]]
    config = configured(tmp_path, with_low(table, low))
    after = prepare(config)
    assert parts(after, config) == parts_before
    assert after.summary.class_counts == before.summary.class_counts
    assert after.summary.duplicate_groups == before.summary.duplicate_groups
    assert after.summary.dropped == {**before.summary.dropped, "low confidence": 100}
    assert len(held_out(config).low_confidence.texts) > 0


def test_without_rows_of_low_confidence_there_are_none(tmp_path: Path) -> None:
    low = held_out(configured(tmp_path, table_of()))
    assert low.low_confidence.texts == []
    assert low.low_confidence.groups.dtype == np.int64
    assert len(low.low_confidences) == 0


def test_they_have_the_test_share_of_each_class_and_their_own_confidences(
    tmp_path: Path,
) -> None:
    table = with_low(table_of(), low_table())
    found = held_out(configured(tmp_path, table))
    low = found.low_confidence
    assert np.bincount(low.labels).tolist() == [12, 6, 2]
    in_table = table.iloc[low.rows]
    assert low.texts == in_table["text"].tolist()
    assert found.low_confidences.tolist() == in_table["confidence_score"].astype(float).tolist()
    assert found.confidences.tolist() == [0.9] * len(found.test.rows)
    assert [LABELS[label] for label in low.labels] == in_table["final_label"].tolist()


def test_the_order_of_the_file_does_not_choose_them(tmp_path: Path) -> None:
    table = with_low(table_of(), low_table())
    before = held_out(configured(tmp_path, table)).low_confidence
    after = held_out(configured(tmp_path, table.sample(frac=1, random_state=2))).low_confidence
    assert after.texts == before.texts
    assert after.groups.tolist() == before.groups.tolist()
    other = held_out(configured(tmp_path, table, split_seed=7)).low_confidence
    assert set(other.texts) != set(before.texts)


def test_rows_similar_to_train_or_validation_are_left_out_and_those_similar_to_test_are_kept(
    tmp_path: Path,
) -> None:
    table = table_of()
    plain = configured(tmp_path, table)
    first, test = prepare(plain), held_out(plain).test
    learnt = [*first.train.texts, *first.validation.texts]
    similar = [f"RT {text.upper()}" for text in learnt[:20]] + [
        f"{text} ya" for text in learnt[20:]
    ]
    near_test = [f"{text} ya" for text in test.texts]
    low = low_table(len(similar) + len(near_test)).assign(text=similar + near_test)
    found = held_out(configured(tmp_path, with_low(table, low))).low_confidence
    assert sorted(found.texts) == sorted(near_test)
    group_of = dict(zip(test.texts, test.groups.tolist(), strict=True))
    assert found.groups.tolist() == [group_of[text.removesuffix(" ya")] for text in found.texts]


def test_a_row_between_a_test_row_and_a_train_row_is_left_out(tmp_path: Path) -> None:
    table = table_of(200)
    base = table.loc[0, "text"]
    chain = [base] + [f"{base} {'siji loro telu papat'[:end]}" for end in (9, 19)]
    table.loc[[0, 1], "text"] = [chain[0], chain[2]]
    links = group_texts([fold(text) for text in chain], threshold=0.8, seed=42)
    assert len(set(links.tolist())) == 1, "the middle links the ends"
    low = low_table(1).assign(text=chain[1], final_label=LABELS[0])
    for seed in range(40):
        config = configured(tmp_path, with_low(table, low), split_seed=seed)
        splits = prepare(config).assignment.set_index("row")["split"]
        if {splits[1], splits[2]} == {"test", "train"}:
            break
    else:
        pytest.fail("no seed separates the two ends")
    assert held_out(config).low_confidence.texts == []


def test_rows_of_an_author_in_train_are_left_out(tmp_path: Path) -> None:
    table, low = table_of(), low_table(40)
    table["author"] = [f"a{row // 2}" for row in range(120)]
    first = prepare(configured(tmp_path, table, group_column="author"))
    splits = first.assignment["split"]
    author_of = {split: table["author"][splits == split].iloc[0] for split in set(splits)}
    low["author"] = [author_of[("train", "validation", "test")[row % 3]] for row in range(40)]
    config = configured(tmp_path, with_low(table, low), group_column="author")
    found = held_out(config).low_confidence
    assert set(found.texts) == set(low.query("author == @author_of['test']")["text"])
    assert len(set(found.groups.tolist())) == 1


def test_a_text_without_letters_that_is_in_train_is_left_out(tmp_path: Path) -> None:
    table = table_of()
    emoji = ["😂", "😢😢", "123", "??", "😡 😡", "❤", "😐", "!!!", "😶", "🙏"]
    table.loc[range(0, 100, 10), "text"] = emoji
    low = low_table(10).assign(text=emoji, final_label=LABELS[0])
    config = configured(tmp_path, with_low(table, low))
    found = held_out(config)
    assert set(found.low_confidence.texts) == set(found.test.texts) & set(emoji)


def test_an_empty_confidence_is_low_and_rows_that_another_filter_drops_are_left_out(
    tmp_path: Path,
) -> None:
    table, low = table_of(), low_table(12)
    # One thread, which is chosen or left out as a whole; a test row of it decides.
    table["thread"], low["thread"] = "", "one"
    plain = prepare(configured(tmp_path, table, group_column="thread"))
    table.loc[plain.test_rows[0], "thread"] = "one"
    low.loc[0, "confidence_score"] = ""
    low.loc[1, "confidence_score"] = "0.6999999"
    low.loc[2, "final_label"] = "unknown"
    low.loc[3, "final_label"] = ""
    low.loc[4, "error"] = "timeout"
    low.loc[5, "text"] = " "
    # Of equal texts the row with the highest confidence is kept, and none where labels disagree.
    low.loc[[6, 7], "text"] = ["Sepi tenan", "sepi TENAN  @budi"]
    low.loc[[6, 7], "confidence_score"] = ["", "0.3"]
    low.loc[[8, 9], "text"] = "rame banget"
    low.loc[[8, 9], "final_label"] = LABELS[:2]
    low.loc[[6, 7], "final_label"] = LABELS[0]
    joined = pd.concat([table, low], ignore_index=True)
    found = held_out(configured(tmp_path, joined, group_column="thread"))
    confidence_of = dict(
        zip(found.low_confidence.rows - 120, found.low_confidences.tolist(), strict=True)
    )
    assert set(confidence_of) == {0, 1, 7, 10, 11}
    assert np.isnan(confidence_of[0])
    assert (confidence_of[1], confidence_of[7]) == (0.6999999, 0.3)


def test_without_a_confidence_column_no_confidence_is_known(tmp_path: Path) -> None:
    table = table_of().drop(columns="confidence_score")
    found = held_out(configured(tmp_path, table, confidence_column=None))
    assert len(found.confidences) == len(found.test.rows)
    assert np.isnan(found.confidences).all()
    assert found.low_confidence.texts == []


def test_under_a_fixed_split_they_are_those_that_the_file_assigns_to_the_test(
    tmp_path: Path,
) -> None:
    table = fixed_table()
    low = low_table(60).assign(part=["test", "train", "val", "TEST ", "", "elsewhere"] * 10)
    low.loc[0, "text"] = table.loc[0, "text"]  # a train row's
    low.loc[6, "text"] = table.loc[70, "text"] + " ya"  # a test row's
    config = configured(tmp_path, with_low(table, low), split_column="part")
    found = held_out(config).low_confidence
    wanted = low[low["part"].isin(["test", "TEST "])].drop(index=0)
    assert sorted(found.texts) == sorted(wanted["text"])
    untouched = configured(tmp_path, table, split_column="part")
    assert held_out(untouched).test.texts == held_out(config).test.texts


@pytest.mark.skipif(not TWEETS.exists(), reason="the shared tweets are not beside the checkout")
def test_real_low_confidence_tweets_are_similar_to_none_in_train(tmp_path: Path) -> None:
    table = pd.read_csv(TWEETS, dtype=str, keep_default_na=False)
    chosen = np.random.default_rng(0).random(len(table)) < 0.2
    table.loc[chosen, "confidence_score"] = "0.5"
    path = tmp_path / "tweets.csv"
    table.to_csv(path, index=False)
    config = DataConfig(path=str(path))
    prepared = prepare(config)
    low = held_out(config).low_confidence
    assert 0.15 * chosen.sum() < len(low.texts) < 0.22 * chosen.sum()
    learnt = [*prepared.train.texts, *prepared.validation.texts]
    assert not {fold(text) for text in learnt} & {fold(text) for text in low.texts}
    texts = [fold(text) or text for text in [*learnt, *low.texts]]
    groups = group_texts(texts, threshold=0.8, seed=42)
    assert not set(groups[: len(learnt)].tolist()) & set(groups[len(learnt) :].tolist())
