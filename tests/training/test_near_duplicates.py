import time

import numpy as np
import pytest

from training.near_duplicates import group_texts

LONG = "saiki wong desa padha kerja bakti ngresiki kali sing kebak uwuh ing cedhak pasar gedhe"
NEAR = LONG.replace("pasar gedhe", "pasar")
WORD_LIST = "aku kowe dheweke pasar sawah kali gunung segara wengi awan mangan turu mlaku mlayu"
WORDS = np.array(WORD_LIST.split())


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
    texts = [f"{LONG} {a} {b}" for a in WORDS for b in random_texts(150, seed=4, num_words=1)]
    texts = [f"{text} {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}" for i, text in enumerate(texts)]
    start = time.perf_counter()
    groups = group_texts(texts, threshold=0.8, seed=42)
    assert time.perf_counter() - start < 5
    assert np.bincount(groups).max() > 0.9 * len(texts)
