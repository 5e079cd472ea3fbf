"""Tokenizers: learn the vocabulary of the `tiny` model, save a tokenizer and check the copy."""

import copy
import inspect
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from training.errors import InputError, panics_are_errors, silenced_panics
from training.tokens import TokenTable, encode

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_VOCABULARY_SIZE = 8000
_SHARE_OF_WORDS = 0.7
_LONGEST_WORD = 100
_LONGEST_AFFIX = 6

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_SETTINGS = "tokenizer_config.json"

_PROBES = (
    "",
    "a",
    "Aku  KOWE naïve, x2 #a @b",
    "\u0915\u093f \U0001f621\u200d\U0001f525 \u4f60",
    "1e5\n",
)
_OF_MODULES = {"google": "protobuf", "google.protobuf": "protobuf"}
"""Modules that pip knows by another name: {module: package}."""
_NAMED = re.compile(
    r"pip3? install ([\w-]+)|pypi\.org/project/([\w-]+)|make sure you have `?(\w+)`? installed"
    r"|requires the ([\w-]+) library"
)


def learn_vocabulary(texts: Iterable[str], *, size: int = _VOCABULARY_SIZE) -> list[str]:
    """Learn a WordPiece vocabulary: special tokens, characters, frequent words, frequent affixes.

    Every character of the texts is a token, so that only words of more than 100 characters are
    unknown, and characters beyond the `size` of the vocabulary. The result depends on the multiset
    of texts alone: the same tokens in the same order, in every process.
    """
    words = _count_words(texts)
    characters: Counter[str] = Counter()
    affixes: Counter[str] = Counter()
    for word, count in words.items():
        for position, character in enumerate(word):
            characters[character if position == 0 else f"##{character}"] += count
        for length in range(2, min(_LONGEST_AFFIX, len(word) - 1) + 1):
            affixes[word[:length]] += count
            affixes[f"##{word[-length:]}"] += count
    vocabulary = dict.fromkeys(SPECIAL_TOKENS)
    _add_most_frequent(vocabulary, characters, size)
    # A word or an affix that occurs once is not enough to train its embedding.
    repeated = Counter({word: n for word, n in words.items() if n > 1})
    _add_most_frequent(vocabulary, repeated, max(len(vocabulary), int(size * _SHARE_OF_WORDS)))
    _add_most_frequent(vocabulary, Counter({a: n for a, n in affixes.items() if n > 1}), size)
    return list(vocabulary)


def save_tokenizer(vocabulary: Sequence[str], directory: Path, *, max_length: int) -> None:
    """Write a lower-casing WordPiece tokenizer that `AutoTokenizer.from_pretrained` loads."""
    ids = {token: number for number, token in enumerate(vocabulary)}
    model = WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORD)
    backend = Tokenizer(model)
    backend.normalizer = _normalizer()
    backend.pre_tokenizer = BertPreTokenizer()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers' own
        tokenizer_object=backend,
        model_max_length=max_length,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    tokenizer.save_pretrained(directory)


def save_tokenizer_files(
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    *,
    max_length: int,
    input_names: Sequence[str],
) -> None:
    """Save a copy of a tokenizer that cuts at `max_length` tokens.

    The saved tokenizer.json also cuts, for the library `tokenizers`; transformers cuts only if it
    is called with `truncation=True`, whatever is saved. The vocabulary files of tokenizers in
    Python are copied, since some of these write files that they cannot read (BERTweet loses its
    merges).

    Args:
        tokenizer: of any kind; it is not changed.
        directory: where to write; it exists.
        max_length: tokens per row.
        input_names: the model inputs that the saved tokenizer returns.

    Raises:
        OSError: the directory cannot be written.
    """
    shipped = copy.deepcopy(tokenizer)
    shipped.model_max_length = max_length
    if list(input_names) != tokenizer.model_input_names:
        shipped.model_input_names = list(input_names)
        shipped.init_kwargs["model_input_names"] = list(input_names)  # otherwise it is not saved
    backend = getattr(shipped, "backend_tokenizer", None)
    if backend is not None:
        backend.no_padding()
        backend.enable_truncation(max_length)
    shipped.save_pretrained(directory)
    if backend is None:
        for key, name in tokenizer.vocab_files_names.items():
            read = getattr(tokenizer, key, None)
            if isinstance(read, str) and Path(read).is_file():
                shutil.copyfile(read, directory / name)


def vocabulary_files(directory: Path) -> tuple[str, ...]:
    """Return the names of the files that the tokenizer saved in `directory` needs.

    This is `tokenizer.json`, except for the kinds that are written in Python alone, which
    tokenizer_config.json names: BERTweet and PhoBERT need two files, CANINE none.
    """
    try:
        settings = json.loads((directory / TOKENIZER_SETTINGS).read_text("utf-8"))
        kind: Any = tokenizer_class_from_name(settings["tokenizer_class"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        kind = None
    if kind is None or hasattr(kind, "backend_tokenizer"):
        return (TOKENIZER_FILE,)
    parameters = inspect.signature(kind.__init__).parameters
    needed = {name for name, found in parameters.items() if found.default is found.empty}
    return tuple(name for key, name in kind.vocab_files_names.items() if key in needed)


def check_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    texts: Sequence[str],
    *,
    max_length: int,
) -> None:
    """Check that the model embeds every id, and that the saved tokenizer encodes the same.

    Save the tokenizer as it ships, load it again and encode the texts with both.

    Args:
        tokenizer: the one that the search uses.
        config: of the model; it decides which kind of tokenizer is loaded.
        texts: some training texts; texts of several scripts are added.
        max_length: tokens per row.

    Raises:
        InputError: an id is beyond the model's vocabulary, the versions differ, or what was saved
            cannot be loaded.
        OSError: there is no free space for temporary files.
    """
    source = repr(tokenizer.name_or_path)
    size, largest = getattr(config, "vocab_size", None), max(tokenizer.get_vocab().values())
    if size is not None and largest >= size:
        raise InputError(
            f"model.name: the tokenizer of {source} gives ids up to {largest}, but the model embeds"
            f" {size}, from 0 to {size - 1}; use the model and the tokenizer of one checkpoint"
        )
    probes = [*_PROBES, *texts]
    expected = encode(tokenizer, probes, max_length=max_length)
    try:
        found = _encode_with_saved(tokenizer, config, probes, max_length)
    except OSError:
        raise
    except Exception as error:  # tokenizers, sentencepiece and others have no common class
        raise InputError(
            f"model.name: the tokenizer of {source} cannot be loaded again once it is saved"
            f" ({' '.join(str(error).split())[:200]}), but the model ships with it; choose an"
            f" encoder with a {TOKENIZER_FILE}"
        ) from error
    same = np.array_equal(found.lengths, expected.lengths) and np.array_equal(
        found.ids, expected.ids
    )
    if not same:
        raise InputError(
            f"model.name: the tokenizer of {source} gives other tokens once it is saved and loaded"
            " again, so the saved model would not be the evaluated one; replace it by its saved"
            " version: AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)"
        )


def missing_library(error: BaseException) -> str | None:
    """Return the missing package (pip's name) because of which a tokenizer could not be loaded."""
    # If transformers cannot read a vocabulary with sentencepiece, it asks for tiktoken.
    named = [
        _first_missing("sentencepiece", "protobuf") if n == "tiktoken" else n
        for n in _named_in(error)
    ]
    return next((name for name in named if name and not _is_installed(name)), None)


def _normalizer() -> BertNormalizer:
    return BertNormalizer(lowercase=True, strip_accents=False)


def _count_words(texts: Iterable[str]) -> Counter[str]:
    normalizer, splitter = _normalizer(), BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        normalised = normalizer.normalize_str(text)
        words.update(word for word, _ in splitter.pre_tokenize_str(normalised))
    return words


def _add_most_frequent(vocabulary: dict[str, None], counts: Counter[str], size: int) -> None:
    for token in sorted(counts, key=lambda token: (-counts[token], token)):
        if len(vocabulary) >= size:
            return
        vocabulary[token] = None


def _encode_with_saved(
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    texts: Sequence[str],
    max_length: int,
) -> TokenTable:
    """Encode texts with the tokenizer once it is saved and loaded again."""
    with tempfile.TemporaryDirectory() as directory, silenced_panics(), panics_are_errors():
        names = tokenizer.model_input_names
        save_tokenizer_files(tokenizer, Path(directory), max_length=max_length, input_names=names)
        config.save_pretrained(directory)
        again = AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
        return encode(again, texts, max_length=max_length)


def _named_in(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        if isinstance(error, ImportError) and error.name:
            yield _OF_MODULES.get(error.name, error.name.partition(".")[0])
        for groups in _NAMED.findall(str(error)):
            yield next(filter(None, groups)).lower()
        if "sentencepiece or tiktoken" in str(error):
            yield "sentencepiece"
        error = error.__cause__ or error.__context__


def _first_missing(*names: str) -> str | None:
    return next((name for name in names if not _is_installed(name)), None)


def _is_installed(package: str) -> bool:
    module = {name: module for module, name in _OF_MODULES.items()}.get(package, package)
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
