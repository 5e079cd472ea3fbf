import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, BertConfig

from training.tokenizer import SPECIAL_TOKENS, learn_vocabulary, save_tokenizer

_ROOT = Path(__file__).parents[2]
_SYLLABLES = (
    *("ka", "ra", "ma", "nga", "ba", "tha", "wé", "bo", "dho"),
    *("su", "nung", "pa", "sar", "ß", "ø"),
)
_LEARN = """
import hashlib, json, sys
from training.tokenizer import learn_vocabulary
pieces = learn_vocabulary(json.load(sys.stdin), size=300)
print(hashlib.sha256("\\n".join(pieces).encode()).hexdigest())
"""


def _texts(num: int = 400) -> list[str]:
    draws = np.random.default_rng(3)
    words = ["".join(draws.choice(_SYLLABLES, draws.integers(1, 5))) for _ in range(300)]
    marks = ["!", "?", " 😂", " #tag", " @user", "...", " Ē", "\n", ""]
    return [
        " ".join(draws.choice(words, draws.integers(1, 12))).capitalize() + str(draws.choice(marks))
        for _ in range(num)
    ]


def _digest_in_a_fresh_process(texts: list[str], hash_seed: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", _LEARN],
        cwd=_ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(texts))
    process.stdin.close()
    process.stdin = None  # so that `communicate` leaves it alone
    return process


def test_two_fresh_processes_learn_the_same_pieces_in_the_same_order() -> None:
    started = [_digest_in_a_fresh_process(_texts(), seed) for seed in ("1", "2")]
    digests = [process.communicate(timeout=60)[0] for process in started]
    assert len(digests[0]) == 65
    assert digests[0] == digests[1]


def test_the_order_of_the_texts_changes_nothing() -> None:
    texts = _texts()
    shuffled = random.Random(0).sample(texts, len(texts))
    assert texts != shuffled
    assert learn_vocabulary(texts, size=300) == learn_vocabulary(shuffled, size=300)


def test_other_texts_give_other_pieces() -> None:
    assert learn_vocabulary(_texts(400)) != learn_vocabulary(_texts(200))


def test_pieces_stand_once_special_ones_first_and_keep_to_the_size() -> None:
    pieces = learn_vocabulary(_texts(), size=150)
    assert tuple(pieces[:5]) == SPECIAL_TOKENS
    assert len(pieces) == len(set(pieces)) == 150
    assert len(learn_vocabulary(_texts(), size=8)) == 8


def test_a_frequent_word_is_one_piece_and_a_word_seen_once_is_none() -> None:
    pieces = learn_vocabulary(["bodho bodho pinter"])
    assert "bodho" in pieces
    assert "pinter" not in pieces


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_tokenizer(learn_vocabulary(_texts()), tmp_path, max_length=24)
    return tmp_path


def test_a_saved_tokenizer_comes_back_with_the_same_ids(saved: Path) -> None:
    pieces = learn_vocabulary(_texts())
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert len(tokenizer) == len(pieces)
    assert tokenizer.convert_ids_to_tokens(list(range(len(pieces)))) == pieces
    assert tokenizer.model_max_length == 24
    again = saved / "again"
    tokenizer.save_pretrained(again)
    twice = AutoTokenizer.from_pretrained(again)
    assert twice(_texts())["input_ids"] == tokenizer(_texts())["input_ids"]


def test_a_bert_configuration_beside_it_does_not_change_the_ids(saved: Path) -> None:
    alone = AutoTokenizer.from_pretrained(saved)(_texts())["input_ids"]
    BertConfig(vocab_size=8000).save_pretrained(saved)
    assert AutoTokenizer.from_pretrained(saved)(_texts())["input_ids"] == alone


def test_nothing_in_the_training_texts_is_unknown(saved: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved)
    ids = [number for row in tokenizer(_texts())["input_ids"] for number in row]
    assert len(ids) > 2000
    assert tokenizer.unk_token_id not in ids


def test_special_tokens_have_their_ids_and_stand_at_both_ends(saved: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved)
    names = ("pad", "unk", "cls", "sep", "mask")
    assert [getattr(tokenizer, f"{name}_token_id") for name in names] == [0, 1, 2, 3, 4]
    encoded = tokenizer("kara 一")["input_ids"]
    assert (encoded[0], encoded[-2], encoded[-1]) == (2, 1, 3)


def test_case_is_folded_and_accents_are_kept(saved: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert tokenizer("WÉKA")["input_ids"] == tokenizer("wéka")["input_ids"]
    assert tokenizer("wéka")["input_ids"] != tokenizer("weka")["input_ids"]
