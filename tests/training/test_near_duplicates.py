"""Which rows are one group, and how large a group may be."""

import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.tables import WORDS, configured, fixed_table, problems_of, table_of
from training.data import prepare
from training.near_duplicates import group_texts

LONG = "saiki wong desa padha kerja bakti ngresiki kali sing kebak uwuh ing cedhak pasar gedhe"
NEAR = LONG.replace("pasar gedhe", "pasar")


def random_texts(num: int, *, seed: int, num_words: int = 12) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, num_words)) for _ in range(num)]


def jaccard(first: str, second: str) -> float:
    grams = [{f" {t} "[i : i + 3] for i in range(len(t))} for t in (first, second)]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


def test_equal_and_nearly_equal_texts_share_a_group_and_others_do_not() -> None:
    groups = group_texts([LONG, "liya banget", NEAR, LONG], threshold=0.8, seed=42)
    assert groups.dtype == np.int64
    assert groups[0] == groups[2] == groups[3] != groups[1]


def test_without_a_threshold_only_equal_texts_share_a_group() -> None:
    groups = group_texts([LONG, NEAR, LONG], threshold=None, seed=42)
    assert groups[0] == groups[2] != groups[1]


def test_rows_of_one_key_share_a_group_and_rows_without_a_key_do_not() -> None:
    groups = group_texts(["a", "b", "c", "d"], ["x", None, "x", None], threshold=0.8, seed=42)
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 3


def test_a_chain_of_keys_and_texts_is_one_group() -> None:
    groups = group_texts([LONG, NEAR, "beda"], ["x", "y", "y"], threshold=0.8, seed=42)
    assert len(set(groups.tolist())) == 1


def test_empty_folded_texts_are_never_similar() -> None:
    assert len(set(group_texts(["", "", ""], threshold=0.8, seed=42).tolist())) == 3


def test_short_texts_are_not_chained_to_one_another() -> None:
    texts = ["iya", "ora", "iyo", "iya ta", "iya to", "ora to", "ya", "yo"]
    assert len(set(group_texts(texts, threshold=0.8, seed=42).tolist())) == len(texts)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_groups_are_those_of_a_pairwise_comparison(threshold: float) -> None:
    rng = np.random.default_rng(0)
    texts = random_texts(60, seed=1)
    # Texts of every similarity: some words are replaced.
    for text in list(texts):
        words = np.array(text.split())
        words[rng.random(len(words)) < rng.choice([0.05, 0.2])] = "liya"
        texts.append(" ".join(words))
    parents = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if jaccard(texts[i], texts[j]) >= threshold:
                parents = [parents[j] if p == parents[i] else p for p in parents]
    groups = group_texts(texts, threshold=threshold, seed=42)
    pairs = {(a, b) for a, b in zip(parents, groups.tolist(), strict=True)}
    assert len(pairs) == len(set(parents)) == groups.max() + 1
    assert groups.max() + 1 < len(texts)


def test_numbers_of_groups_do_not_depend_on_the_order_of_rows() -> None:
    texts = [*random_texts(50, seed=2), "", LONG, NEAR, "", "a", "b"]
    keys: list[str | None] = [None] * 50 + ["k", None, None, None, "k", "m"]
    groups = group_texts(texts, keys, threshold=0.8, seed=42)
    order = np.random.default_rng(3).permutation(len(texts))
    shuffled = group_texts(
        [texts[index] for index in order], [keys[index] for index in order], threshold=0.8, seed=42
    )
    assert shuffled.tolist() == groups[order].tolist()


def test_thousands_of_texts_from_one_template_do_not_take_quadratic_time() -> None:
    texts = [f"{LONG} {a} {b}" for a in WORDS[:14] for b in random_texts(150, seed=4, num_words=1)]
    texts = [f"{text} {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}" for i, text in enumerate(texts)]
    start = time.process_time()
    groups = group_texts(texts, threshold=0.8, seed=42)
    assert time.process_time() - start < 5
    assert np.bincount(groups).max() > 0.9 * len(texts)


def test_a_large_group_of_similar_texts_is_an_error_that_names_a_threshold_that_works(
    tmp_path: Path,
) -> None:
    table = table_of(200)
    base = "saiki wong desa padha kerja bakti ngresiki kali sing kebak uwuh ing cedhak pasar "
    table.loc[range(0, 90, 10), "text"] = [base + word for word in WORDS[:9]]
    (line,) = problems_of(configured(tmp_path, table))
    assert "9 of 200 kept rows are one group" in line
    assert "saiki wong desa" in line
    assert "similar at data.near_duplicate_threshold 0.8: try 0." in line
    tried = float(line.rsplit("try ", 1)[1])
    prepared = prepare(configured(tmp_path, table, near_duplicate_threshold=tried))
    assert prepared.summary.kept == 200


def test_similar_texts_that_no_threshold_divides_are_divided_by_null(tmp_path: Path) -> None:
    table = table_of(200)
    table.loc[range(0, 90, 10), "text"] = ["haha" + "ha" * times for times in range(9)]
    (line,) = problems_of(configured(tmp_path, table))
    assert line.endswith("try null (only equal texts)")
    assert prepare(configured(tmp_path, table, near_duplicate_threshold=None)).summary.kept == 200


def test_a_large_group_of_one_author_is_an_error_that_names_the_author(tmp_path: Path) -> None:
    table = table_of(200).assign(author=["budi"] * 30 + [""] * 170)
    (line,) = problems_of(configured(tmp_path, table, group_column="author"))
    assert "30 of them have author = 'budi'" in line


def test_a_short_text_with_many_endings_is_no_group_too_large(tmp_path: Path) -> None:
    table = table_of(200)
    table.loc[range(0, 160, 10), "text"] = ["oke" + "!" * times for times in range(16)]
    prepared = prepare(configured(tmp_path, table))
    assert prepared.summary.kept == 200
    assert prepared.assignment["split"][range(0, 160, 10)].nunique() == 1


@pytest.mark.parametrize("threshold", [0.8, None])
def test_too_many_rows_that_differ_only_in_digits_are_an_error_that_explains_it(
    tmp_path: Path, threshold: float | None
) -> None:
    table = table_of(200)
    table.loc[range(0, 42, 2), "text"] = [f"tak wenehi {n}/20" for n in range(21)]
    (line,) = problems_of(configured(tmp_path, table, near_duplicate_threshold=threshold))
    assert "21 of 200 kept rows are one group, such as row " in line
    assert "must stay within 20 rows (10 %, at least 5)" in line
    assert "21 differ only in digits, emoji or signs, which do not distinguish texts of" in line
    assert "threshold" not in line
    table.loc[40, "text"] = "liya maneh"
    assert prepare(configured(tmp_path, table)).summary.kept == 200


def test_authors_and_equal_texts_that_form_a_chain_are_an_error_that_explains_it(
    tmp_path: Path,
) -> None:
    table = table_of(200)
    table["author"] = [f"a{row // 4}" if row < 40 else "" for row in range(200)]
    table.loc[range(0, 40, 4), "text"] = [f"oke {n}" for n in range(10)]
    (line,) = problems_of(configured(tmp_path, table, group_column="author"))
    assert "40 of 200 kept rows are one group" in line
    assert line.endswith(
        "rows of equal texts and rows of one author form a chain: drop the texts that many of"
        " them share, or name another data.group_column"
    )


def test_a_group_of_a_fixed_test_may_be_of_any_size(tmp_path: Path) -> None:
    table = fixed_table()
    table.loc[70:99, "text"] = [f"tak wenehi {n}/30" for n in range(30)]
    prepared = prepare(configured(tmp_path, table, split_column="part"))
    assert set(range(70, 100)) <= set(prepared.test_rows.tolist())
    table["part"] = table["part"].replace("Test", "train").where(table.index < 100, "test")
    (line,) = problems_of(configured(tmp_path, table, split_column="part"))
    assert "30 of 100 kept rows are one group" in line
