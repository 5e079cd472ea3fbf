"""Saved tokenizers encode as before, missing libraries are named, a vocabulary is learnt."""

import json
import os
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    PreTrainedTokenizerBase,
)

from tests.training.architectures import MAX_LENGTH, make_texts, save_architecture
from tests.training.models import NOWHERE, configured, edit
from training.config import DataConfig, TrainingConfig, WinningConfiguration
from training.errors import InputError, OnnxExportError
from training.model import facts_of, load_tokenizer
from training.model_files import write_model
from training.tokenizer import (
    SPECIAL_TOKENS,
    check_tokenizer,
    learn_vocabulary,
    save_tokenizer,
    save_tokenizer_files,
    vocabulary_files,
)
from training.tokens import describe_tokens, encode

ROOT = Path(__file__).parents[2]


def _load(directory: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(configured(directory, max_length=MAX_LENGTH), tiny=NOWHERE)


def _check(directory: Path) -> None:
    config = AutoConfig.from_pretrained(directory)
    check_tokenizer(_load(directory), config, make_texts(40), max_length=MAX_LENGTH)


def _problem(directory: Path) -> str:
    with pytest.raises(InputError) as caught:
        _check(directory)
    (line,) = caught.value.problems
    assert line.startswith("model.name: the tokenizer of ")
    assert str(directory) in line
    return line


def _set(directory: Path, **changes: Any) -> None:
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(settings | changes), "utf-8")


@pytest.mark.parametrize("name", ["BERTweet", "PhoBERT"])
def test_a_tokenizer_in_python_encodes_the_same_once_it_is_saved(name: str, tmp_path: Path) -> None:
    source = save_architecture(name, tmp_path / "source")
    _check(source)
    tokenizer, saved = _load(source), tmp_path / "saved"
    saved.mkdir()
    save_tokenizer_files(tokenizer, saved, max_length=16, input_names=["input_ids"])
    (saved / "config.json").write_bytes((source / "config.json").read_bytes())
    assert vocabulary_files(saved) == ("vocab.txt", "bpe.codes")
    again = AutoTokenizer.from_pretrained(saved)
    assert again.model_max_length == 16
    assert again.model_input_names == ["input_ids"]
    assert tokenizer.model_input_names == ["input_ids", "attention_mask"]
    texts = make_texts(60)
    assert encode(again, texts, max_length=16).ids.tolist() == (
        encode(tokenizer, texts, max_length=16).ids.tolist()
    )


def test_the_kind_of_tokenizer_decides_which_files_hold_a_vocabulary(bert: Path) -> None:
    assert vocabulary_files(bert) == ("tokenizer.json",)
    for kind, names in (
        ("CanineTokenizer", ()),
        ("PhobertTokenizer", ("vocab.txt", "bpe.codes")),
        ("BertJapaneseTokenizer", ("vocab.txt",)),  # another file is for some of its settings
        ("PLBartTokenizer", ("sentencepiece.bpe.model",)),
        ("BertTokenizer", ("tokenizer.json",)),
        ("NoSuchTokenizer", ("tokenizer.json",)),
        (7, ("tokenizer.json",)),
    ):
        _set(bert, tokenizer_class=kind)
        assert vocabulary_files(bert) == names
    (bert / "tokenizer_config.json").write_text("[]")
    assert vocabulary_files(bert) == ("tokenizer.json",)
    (bert / "tokenizer_config.json").unlink()
    assert vocabulary_files(bert) == ("tokenizer.json",)


def test_a_tokenizer_that_encodes_otherwise_once_saved_is_refused_and_the_advice_works(
    tmp_path: Path,
) -> None:
    directory = save_architecture("RemBERT without tokenizer.json", tmp_path)
    assert "gives other tokens once it is saved" in _problem(directory)
    AutoTokenizer.from_pretrained(directory).save_pretrained(directory)
    _check(directory)


def test_ids_beyond_what_the_model_embeds_are_refused_though_there_are_few_of_them(
    bert: Path,
) -> None:
    path = bert / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    vocabulary = content["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.__getitem__)
    size = len(vocabulary)
    vocabulary[last] = size + 40  # a gap before it, as in vocabularies that were cut
    path.write_text(json.dumps(content), "utf-8")
    assert len(AutoTokenizer.from_pretrained(bert)) == size
    assert f"gives ids up to {size + 40}, but the model embeds {size}" in _problem(bert)


def test_the_saved_tokenizer_returns_the_inputs_of_training_whatever_its_settings(
    tmp_path: Path,
) -> None:
    source = save_architecture("XLNet", tmp_path / "source")
    _set(source, model_input_names=["input_ids", "token_type_ids"])
    assert 2 in AutoTokenizer.from_pretrained(source)("kalir")["token_type_ids"]
    model = AutoModelForSequenceClassification.from_pretrained(source)
    configuration = WinningConfiguration(
        data=DataConfig(path="rows.csv", labels=("no", "yes")),
        model=configured(source, max_length=MAX_LENGTH),
        training=TrainingConfig(),
    )
    shipped = tmp_path / "shipped"
    with pytest.raises(OnnxExportError):  # because of XLNet, not of its tokenizer
        write_model(shipped, model, _load(source), configuration, "safetensors")
    assert AutoTokenizer.from_pretrained(shipped).model_input_names == [
        "input_ids",
        "attention_mask",
    ]


def test_a_text_without_tokens_still_becomes_a_row(tmp_path: Path) -> None:
    tokenizer = _load(save_architecture("GPT-2 with a padding token", tmp_path))
    table = encode(tokenizer, ["", "kalir", ""], max_length=8)
    assert table.lengths.tolist()[::2] == [1, 1]
    assert table.row(0).tolist() == [tokenizer.pad_token_id]


def test_a_tokenizer_without_an_unknown_token_is_described(tmp_path: Path) -> None:
    tokenizer = _load(save_architecture("CANINE", tmp_path))
    assert tokenizer.unk_token_id is None
    found = describe_tokens(tokenizer, ["kalir bu", "a" * 100], max_length=MAX_LENGTH)
    assert (found.unknown_share, found.truncated_share) == (0, 0.5)


def test_a_tokenizer_without_padding_gets_an_error_that_suggests_a_token(tmp_path: Path) -> None:
    tokenizer = _load(save_architecture("GPT-2", tmp_path))
    with pytest.raises(InputError, match=r"pad_token='<\|endoftext\|>'"):
        facts_of(tokenizer)


def _needing(library: str, directory: Path, small_bert: Path) -> None:
    """Put files of a tokenizer into `directory` that needs `library`."""
    if library == "emoji":
        save_architecture("BERTweet", directory)
        _set(directory, normalization=True)
        return
    if library == "sacremoses":
        (directory / "vocab.json").write_text(json.dumps({"<s>": 0, "a</w>": 1, "<unk>": 2}))
        (directory / "merges.txt").write_text("a b 1\n")
        kind, settings = "xlm", {}
    else:
        vocabulary = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
        (directory / "vocab.txt").write_text(vocabulary)
        kind, settings = "bert", {"word_tokenizer_type": "mecab"}
        _set(directory, tokenizer_class="BertJapaneseTokenizer", **settings)
    (directory / "config.json").write_bytes((small_bert / "config.json").read_bytes())
    edit(directory, model_type=kind)


@pytest.mark.parametrize("library", ["sacremoses", "fugashi", "emoji"])
def test_a_library_that_is_not_installed_is_named_with_the_command(
    library: str, tmp_path: Path, small_bert: Path
) -> None:
    if find_spec(library):
        pytest.skip(f"{library} is installed")
    _needing(library, tmp_path, small_bert)
    with pytest.raises(InputError, match=f"run pip install {library} ") as caught:
        _load(tmp_path)
    (line,) = caught.value.problems
    assert f"the library {library}, which is not installed" in line


_WITHOUT = """
import sys
from pathlib import Path
for name in sys.argv[1].split():
    sys.modules[name] = None
from training.config import ModelConfig
from training.config import DataConfig, TrainingConfig, WinningConfiguration
from training.errors import InputError
from training.model import facts_of, load_tokenizer
from training.model_files import write_model
from training.errors import OnnxExportError
try:
    tokenizer = load_tokenizer(ModelConfig(name=sys.argv[2]), tiny=Path("."))
    print("read", len(tokenizer))
except InputError as error:
    print(error)
"""


def _load_without(modules: str, directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, modules, str(directory)],
        **{"cwd": ROOT, "capture_output": True, "text": True, "check": True},
    )
    (line,) = done.stdout.splitlines()
    return line


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "XLM-R",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("ALBERT", "CamemBERT", "DeBERTa-v2", "XLNet")
        ),
    ],
)
def test_without_sentencepiece_it_is_named_and_not_tiktoken(name: str, tmp_path: Path) -> None:
    directory = save_architecture(name, tmp_path)
    for modules, library in (
        ("sentencepiece", "sentencepiece"),
        ("sentencepiece tiktoken", "sentencepiece"),
        ("google.protobuf", "protobuf"),
    ):
        line = _load_without(modules, directory)
        assert f"run pip install {library} " in line
        assert "tiktoken" not in line
    AutoTokenizer.from_pretrained(directory).save_pretrained(directory)
    assert _load_without("sentencepiece tiktoken", directory).startswith("read ")


def test_a_truncated_sentencepiece_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    directory = save_architecture("ALBERT", tmp_path)
    path = directory / "spiece.model"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="is not a complete SentencePiece file; copy it again"):
        _load(directory)


_SYLLABLES = (
    *("ka", "ra", "ma", "nga", "ba", "tha", "wé", "bo", "dho"),
    *("su", "nung", "pa", "sar", "ß", "ø"),
)
_LEARN = """
import hashlib, json, sys
from training.tokenizer import learn_vocabulary
vocabulary = learn_vocabulary(json.load(sys.stdin), size=300)
print(hashlib.sha256("\\n".join(vocabulary).encode()).hexdigest())
"""


def _texts(num: int = 400) -> list[str]:
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(_SYLLABLES, rng.integers(1, 5))) for _ in range(300)]
    marks = ["!", "?", " 😂", " #tag", " @user", "...", " Ē", "\n", ""]
    return [
        " ".join(rng.choice(words, rng.integers(1, 12))).capitalize() + str(rng.choice(marks))
        for _ in range(num)
    ]


def _digest_in_a_fresh_process(texts: list[str], hash_seed: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", _LEARN],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(texts))
    process.stdin.close()
    process.stdin = None  # so that `communicate` leaves it alone
    return process


def test_two_fresh_processes_learn_the_same_tokens_in_the_same_order() -> None:
    started = [_digest_in_a_fresh_process(_texts(), seed) for seed in ("1", "2")]
    digests = [process.communicate(timeout=60)[0] for process in started]
    assert len(digests[0]) == 65
    assert digests[0] == digests[1]


def test_the_order_of_the_texts_changes_nothing() -> None:
    texts = _texts()
    shuffled = random.Random(0).sample(texts, len(texts))
    assert texts != shuffled
    assert learn_vocabulary(texts, size=300) == learn_vocabulary(shuffled, size=300)


def test_other_texts_give_other_tokens() -> None:
    assert learn_vocabulary(_texts(400)) != learn_vocabulary(_texts(200))


def test_tokens_are_distinct_special_ones_first_and_keep_to_the_size() -> None:
    vocabulary = learn_vocabulary(_texts(), size=150)
    assert tuple(vocabulary[:5]) == SPECIAL_TOKENS
    assert len(vocabulary) == len(set(vocabulary)) == 150
    assert len(learn_vocabulary(_texts(), size=8)) == 8


def test_a_frequent_word_is_one_token_and_a_word_that_occurs_once_is_none() -> None:
    vocabulary = learn_vocabulary(["bodho bodho pinter"])
    assert "bodho" in vocabulary
    assert "pinter" not in vocabulary


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_tokenizer(learn_vocabulary(_texts()), tmp_path, max_length=24)
    return tmp_path


def test_a_saved_tokenizer_comes_back_with_the_same_ids(saved: Path) -> None:
    vocabulary = learn_vocabulary(_texts())
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert len(tokenizer) == len(vocabulary)
    assert tokenizer.convert_ids_to_tokens(list(range(len(vocabulary)))) == vocabulary
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
