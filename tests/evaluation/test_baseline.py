import numpy as np
import pytest

from evaluation.baseline import fit_predict
from evaluation.predictions import nearest_similarity
from training.folding import fold


def test_a_word_that_gives_the_label_away_is_learnt_also_by_a_rare_class():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 200, p=[0.8, 0.15, 0.05])
    words = np.array(["becik", "bodho", "ala"])
    texts = [f"kowe {words[label]} tenan {rng.integers(9)}" for label in labels]
    found = fit_predict(texts[:150], labels[:150], texts[150:], seed=0)
    assert found.dtype == np.int64
    assert found.tolist() == labels[150:].tolist()


def test_the_same_rows_give_the_same_answer():
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(["siji", "loro", "telu", "papat"], 5)) for _ in range(80)]
    labels = rng.integers(0, 4, 80)
    first = fit_predict(texts, labels, texts, seed=0)
    assert first.tolist() == fit_predict(texts, labels, texts, seed=0).tolist()


@pytest.mark.parametrize(
    "odd", ["", " ", "\x00", "\U0001f620\U0001f620", "\u202e=1+1", "a", "<script>", "\ud800"]
)
def test_odd_texts_among_the_rows_are_answered(odd):
    texts = ["apik tenan", "apik banget", "elek tenan", "elek banget", odd]
    found = fit_predict(texts, np.array([0, 0, 1, 1, 1]), [odd, "apik"], seed=0)
    assert found.shape == (2,)
    assert found[1] == 0


@pytest.mark.parametrize("texts", [["", "", ""], ["\U0001f620", "\U0001f621", ""], ["a", "b", "c"]])
def test_training_texts_without_a_shared_n_gram_give_the_most_frequent_label(texts):
    found = fit_predict(texts, np.array([2, 2, 1]), ["apa wae", ""], seed=0)
    assert found.tolist() == [2, 2]


def test_a_single_training_label_is_the_answer_and_no_test_rows_give_none():
    labels = np.array([1, 1])
    assert fit_predict(["apik apik", "apik"], labels, ["elek"], seed=0).tolist() == [1]
    assert fit_predict(["apik apik", "apik"], np.array([0, 1]), [], seed=0).shape == (0,)


WORD_LIST = "aku kowe dheweke pasar sawah kali gunung segara wengi awan mangan turu"
WORDS = np.array(WORD_LIST.split())


def _texts(num: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 9))) for _ in range(num)]


def _jaccard(first: str, second: str) -> float:
    grams = [{f" {t} "[i : i + 3] for i in range(len(t))} for t in (fold(first), fold(second))]
    return len(grams[0] & grams[1]) / max(len(grams[0] | grams[1]), 1)


@pytest.mark.parametrize("pairs_at_once", [1, 150, 10**6])
def test_the_nearest_is_that_of_comparing_each_with_each_in_chunks_of_any_size(pairs_at_once):
    train, test = [*_texts(60, 0), "😂", ""], [*_texts(30, 1), "😂", "xqz"]
    expected = [max(_jaccard(one, other) for other in train) for one in test]
    found = nearest_similarity(train, test, pairs_at_once=pairs_at_once)
    assert found.dtype == np.float64
    assert found == pytest.approx(expected, abs=1e-15)
    assert len(set(found.tolist())) > 10


def test_a_text_that_folds_to_a_training_text_has_similarity_one():
    found = nearest_similarity(["Aku mangan!", "kowe turu"], ["RT @budi AKU   mangan", "xyz"])
    assert found.tolist() == [1.0, 0.0]


def test_no_texts_on_either_side_are_no_error():
    assert nearest_similarity([], ["aku"]).tolist() == [0.0]
    assert nearest_similarity(["aku"], []).tolist() == []
    assert nearest_similarity(["😂"], ["", "😂"]).tolist() == [0.0, 0.0]
