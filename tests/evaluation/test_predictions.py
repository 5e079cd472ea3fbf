import numpy as np
import pytest

from evaluation.predictions import nearest_similarity
from training.folding import fold

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
