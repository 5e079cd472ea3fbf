"""Tokenizers that are in Python alone, need libraries, or read otherwise once they are saved."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from tests.training.architectures import MAX_LENGTH, make_texts, save_architecture
from tests.training.models import NOWHERE, configured, edit
from training.config import DataConfig, TrainingConfig, WinningConfiguration
from training.errors import InputError
from training.model import facts_of, load_tokenizer
from training.model_files import OnnxExportError, write_model
from training.tokenizer import check_tokenizer, save_tokenizer_files, vocabulary_files
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
def test_a_tokenizer_in_python_reads_the_same_once_it_is_saved(name: str, tmp_path: Path) -> None:
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


def test_which_files_hold_a_vocabulary_is_said_by_the_kind_of_tokenizer(bert: Path) -> None:
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


def test_a_tokenizer_that_reads_otherwise_once_saved_is_refused_and_the_way_out_works(
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
    vocabulary[last] = size + 40  # a hole before it, as in vocabularies that were cut
    path.write_text(json.dumps(content), "utf-8")
    assert len(AutoTokenizer.from_pretrained(bert)) == size
    assert f"gives ids up to {size + 40}, but the model embeds {size}" in _problem(bert)


def test_the_pipeline_sends_what_training_sends_whatever_the_tokenizer_says(
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
    with pytest.raises(OnnxExportError):  # XLNet's fate, not the tokenizer's
        write_model(shipped, model, _load(source), configuration, "safetensors")
    assert AutoTokenizer.from_pretrained(shipped).model_input_names == [
        "input_ids",
        "attention_mask",
    ]


def test_a_text_of_which_no_token_comes_is_a_row_all_the_same(tmp_path: Path) -> None:
    tokenizer = _load(save_architecture("GPT-2 with a padding token", tmp_path))
    table = encode(tokenizer, ["", "kalir", ""], max_length=8)
    assert table.lengths.tolist()[::2] == [1, 1]
    assert table.row(0).tolist() == [tokenizer.pad_token_id]


def test_a_tokenizer_without_an_unknown_token_is_described(tmp_path: Path) -> None:
    tokenizer = _load(save_architecture("CANINE", tmp_path))
    assert tokenizer.unk_token_id is None
    found = describe_tokens(tokenizer, ["kalir bu", "a" * 100], max_length=MAX_LENGTH)
    assert (found.unknown_share, found.truncated_share) == (0, 0.5)


def test_a_tokenizer_that_cannot_pad_says_which_token_would_do(tmp_path: Path) -> None:
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
from training.model_files import OnnxExportError
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
@pytest.mark.parametrize("name", ["ALBERT", "CamemBERT", "DeBERTa-v2", "XLM-R", "XLNet"])
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


def test_a_torn_sentencepiece_file_is_said_to_be_that(tmp_path: Path) -> None:
    directory = save_architecture("ALBERT", tmp_path)
    path = directory / "spiece.model"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="is no whole SentencePiece file; copy it again"):
        _load(directory)
