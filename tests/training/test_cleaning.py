from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tables import LABELS, SHARED, configured, fixed_table, problems_of, table_of
from training.cleaning import without_duplicates
from training.config import DataConfig
from training.data import prepare, read_test_rows
from training.folding import drop_key, fold, identity
from training.texts import Row

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


def test_of_equal_texts_the_one_with_the_highest_confidence_is_kept(tmp_path: Path) -> None:
    table = table_of()
    for row, confidence in ((20, "0.8"), (21, "0.95"), (22, "0.9")):
        text = "Sepi tenan" + " " * row + "@budi"
        table.loc[row, ["text", "final_label", "confidence_score"]] = [text, "abot", confidence]
    prepared = prepare(configured(tmp_path, table))
    assert prepared.assignment["reason"][20:23].tolist() == ["duplicate", "", "duplicate"]


def test_an_unknown_split_is_an_error_that_lists_its_rows(tmp_path: Path) -> None:
    table = fixed_table()
    table.loc[[3, 4], "part"] = ["hold-out", ""]
    first, second = problems_of(configured(tmp_path, table, split_column="part"))
    assert "'hold-out' in 1 row (row 3)" in first
    assert "'' in 1 row (row 4)" in second


def test_missing_columns_are_reported_at_once_with_the_nearest_names(tmp_path: Path) -> None:
    table = table_of().rename(
        columns={"text": "Texts", "final_label": "finallabel", "confidence_score": "confidence"}
    )
    lines = problems_of(
        configured(
            tmp_path,
            table,
            text_column="text",
            label_column="final_label",
            confidence_column="confidence_score",
            group_column="author",
            split_column="splits",
        )
    )
    assert len(lines) == 5
    assert "no column 'text' (data.text_column)" in lines[0]
    assert "did you mean Texts?" in lines[0]
    assert "did you mean finallabel?" in lines[1]
    assert "did you mean confidence?" in lines[2]
    assert "no column 'author' (data.group_column)" in lines[3]
    assert "no column 'splits' (data.split_column)" in lines[4]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_separator_of_a_table_is_found_and_reported(tmp_path: Path, separator: str) -> None:
    table = table_of()
    path = tmp_path / "data.csv"
    table.to_csv(path, index=False, sep=separator)
    summary = prepare(DataConfig(path=str(path), labels=LABELS)).summary
    assert (summary.kept, summary.format) == (120, f"CSV separated by {separator!r}")


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


def test_dropping_every_row_is_an_error_with_the_counts(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("column", "value", "advice"),
    [
        ("text", "", "check the names in data.text_column and data.label_column"),
        ("error", "none", "set data.error_column to null"),
        ("confidence_score", "0.1", "lower data.min_confidence"),
    ],
)
def test_where_no_row_is_left_the_advice_is_about_what_dropped_them(
    tmp_path: Path, column: str, value: str, advice: str
) -> None:
    (line,) = problems_of(configured(tmp_path, table_of().assign(**{column: value})))
    assert advice in line
    assert ("min_confidence" in line) == (column == "confidence_score")


def test_no_advice_names_a_filter_that_is_off(tmp_path: Path) -> None:
    table = table_of().drop(columns=["confidence_score", "error"])
    table = table[(table["final_label"] != "abot") | (table.index == 9)]
    lines = problems_of(configured(tmp_path, table, confidence_column=None))
    assert any("class 'abot' has no row" in line for line in lines)
    assert not any("min_confidence" in line for line in lines)


def test_texts_that_differ_in_digits_emoji_or_signs_are_all_kept_in_one_split(
    tmp_path: Path,
) -> None:
    table = table_of()
    base = table.loc[0, "text"]
    texts = [f"{base} 5/5", f"{base} 1/5", f"{base} 😂", f"{base} 😢", f"RT {base}!", f"({base})"]
    labels = ["biasa", "abot", "entheng", "abot", "biasa", "entheng"]
    table.loc[100:105, "text"], table.loc[100:105, "final_label"] = texts, labels
    prepared = prepare(configured(tmp_path, table))
    assert sum(prepared.summary.dropped.values()) == 0
    assert prepared.summary.label_noise is None
    assert prepared.assignment["split"][[0, *range(100, 106)]].nunique() == 1


@pytest.mark.parametrize(
    ("consonants", "signs"),
    [
        ("कखगघचछजझटठडढ", ["", "ा", "ि", "ी", "ु", "ू", "े", "ो", "्"]),  # Hindi
        ("กขคงจฉชซดตถท", ["", "ะ", "ั", "ิ", "ี", "ุ", "ู", "็"]),  # Thai
        ("ကခဂဃငစဆဇညတထဒ", ["", "ာ", "ိ", "ီ", "ု", "ူ", "ေ", "ဲ"]),  # Burmese
        ("بتثجحخدذرزسش", ["", "\u064e", "\u064f", "\u0650", "\u0651"]),  # Arabic
        ("ꦏꦒꦔꦕꦗꦚꦛꦝꦤꦠꦢꦥ", ["", "ꦴ", "ꦶ", "ꦷ", "ꦸ", "ꦺ", "ꦼ", "ꦀ"]),  # Javanese
        ("ᄀᄂᄃᄅᄆᄇᄉᄋᄌᄎ", ["ᅡ", "ᅥ", "ᅩ", "ᅮ", "ᅵ"]),  # Korean, not composed
    ],
)
def test_words_that_differ_in_vowel_signs_alone_are_different_texts(
    tmp_path: Path, consonants: str, signs: list[str]
) -> None:
    syllables = [f"{letter}{sign}" for letter in consonants for sign in signs]
    rng = np.random.default_rng(0)
    texts = {"".join(rng.choice(syllables, 4)) for _ in range(120)}
    table = pd.DataFrame({"text": sorted(texts)})
    table["final_label"] = [LABELS[row % 3] for row in range(len(table))]
    config = configured(tmp_path, table, confidence_column=None, near_duplicate_threshold=None)
    summary = prepare(config).summary
    assert (summary.kept, summary.duplicate_groups) == (len(table), 0)


def test_rows_of_a_fixed_test_stay_and_their_texts_are_dropped_from_other_splits(
    tmp_path: Path,
) -> None:
    table = fixed_table()  # test rows are 70 to 99, validation rows 60 to 69
    table.loc[71, "text"] = table.loc[70, "text"].upper()
    table.loc[[72, 73], "text"] = "gemoyo"
    table.loc[[72, 73], "final_label"] = ["biasa", "abot"]
    table.loc[[74, 75], "text"] = "😂"
    table.loc[[0, 1], "text"] = table.loc[70, "text"]
    table.loc[2, "text"] = "Gemoyo @budi"
    table.loc[[3, 60], ["text", "final_label"]] = ["sepi tenan", "biasa"]
    table.loc[4, ["text", "final_label"]] = ["rame tenan", "biasa"]
    table.loc[61, ["text", "final_label"]] = ["rame tenan", "abot"]
    table.loc[[70, 71, 74, 75], "final_label"] = "biasa"
    table.loc[1, "final_label"] = "biasa"
    table.loc[0, "final_label"] = "biasa"
    prepared = prepare(configured(tmp_path, table, split_column="part"))
    reasons, splits = prepared.assignment["reason"], prepared.assignment["split"]
    assert splits[70:100].unique().tolist() == ["test"]
    assert reasons[[0, 1, 3]].tolist() == ["duplicate of another split"] * 3
    assert reasons[[2, 4, 61]].tolist() == ["conflicting labels"] * 3
    assert splits[60] == "validation"
    assert prepared.summary.repeated_test_rows == 3
    config = configured(tmp_path, table, split_column="part")
    test = read_test_rows(config, sha256=prepared.summary.sha256).test
    group_of = dict(zip(test.rows.tolist(), test.groups.tolist(), strict=True))
    for first, second in ((70, 71), (72, 73), (74, 75)):
        assert group_of[first] == group_of[second]
    assert len(set(group_of.values())) == len(test.rows) - 3


def test_shuffling_a_file_whose_test_repeats_texts_changes_nothing(tmp_path: Path) -> None:
    table = fixed_table()
    table.loc[70:75, "text"] = ["Gemoyo", "gemoyo @a", "gemoyo", "gemoyo", "gemoyo!", "😂"]
    table.loc[76, "text"] = "😂"
    table.loc[0:1, "text"] = ["gemoyo", "sepi"]
    config = configured(tmp_path, table, split_column="part")
    before = prepare(config)
    tested = read_test_rows(config, sha256=before.summary.sha256).test
    shuffled = configured(tmp_path, table.sample(frac=1, random_state=3), split_column="part")
    after = prepare(shuffled)
    again = read_test_rows(shuffled, sha256=after.summary.sha256).test
    assert after.train.texts == before.train.texts
    assert (again.texts, again.labels.tolist()) == (tested.texts, tested.labels.tolist())
    assert again.groups.tolist() == tested.groups.tolist()
    assert after.summary.dropped == before.summary.dropped


_WORDS = st.sampled_from(["apik", "Apik", "APIK ", "apik!", "apik 5", "@a apik", "ꦏꦶ", "😂", "@a"])
_ROWS = st.lists(
    st.tuples(_WORDS, st.integers(0, 1), st.sampled_from([None, "train", "validation", "test"])),
    max_size=8,
)


@given(_ROWS, st.booleans(), st.randoms())
def test_a_row_is_dropped_only_where_another_has_its_drop_key(
    generated: list[tuple[str, int, str | None]], fixed: bool, random: Random
) -> None:
    rows = [
        Row(
            **{"row": number, "text": text, "folded": fold(text), "identity": identity(text)},
            **{"label": label, "confidence": 1.0, "key": None},
            split=split or "train" if fixed else None,
        )
        for number, (text, label, split) in enumerate(generated)
    ]
    kept, reasons, _ = without_duplicates(rows)
    assert sorted([*(row.row for row in kept), *reasons]) == list(range(len(rows)))
    keys = [drop_key(row.text) for row in rows]
    assert all(keys.count(keys[row]) > 1 for row in reasons)
    assert {row.row for row in rows if row.split == "test"} <= {row.row for row in kept}
    others = [keys[row.row] for row in kept if row.split != "test"]
    assert len(set(others)) == len(others)
    tested = {keys[row.row] for row in kept if row.split == "test"}
    assert not tested & set(others)
    for key in set(keys) - tested:
        labels = {row.label for row in rows if keys[row.row] == key}
        assert (key in others) == (len(labels) == 1)
    expected = [(row.text, row.label) for row in kept]
    random.shuffle(rows)
    assert [(row.text, row.label) for row in without_duplicates(rows)[0]] == expected
