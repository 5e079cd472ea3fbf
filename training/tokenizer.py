"""Tokenizers: their files saved whole, and the WordPiece vocabulary of the `tiny` model."""

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

from training.errors import InputError
from training.panics import panics_are_errors, silenced_panics
from training.tokens import TokenTable, encode

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
"""Packages that pip knows by another name than Python."""
_NAMED = re.compile(
    r"pip3? install ([\w-]+)|pypi\.org/project/([\w-]+)|make sure you have `?(\w+)`? installed"
    r"|requires the ([\w-]+) library"
)


def save_tokenizer_files(
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    *,
    max_length: int,
    input_names: Sequence[str],
) -> None:
    """Save a tokenizer that cuts at `max_length` tokens, and leave the given one as it is.

    Its tokenizer.json says so too, for the library `tokenizers`, which obeys it; transformers cuts
    only where it is called with `truncation=True`, whatever is saved. Vocabularies of tokenizers
    in Python are copied as they were read, since some of those write what they cannot read again
    (BERTweet loses its merges).

    Args:
        tokenizer: of any kind.
        directory: where to write; it is there.
        max_length: tokens a row.
        input_names: what it gives a model.

    Raises:
        OSError: the directory cannot be written.
    """
    shipped = copy.deepcopy(tokenizer)
    shipped.model_max_length = max_length
    if list(input_names) != tokenizer.model_input_names:
        shipped.model_input_names = list(input_names)
        shipped.init_kwargs["model_input_names"] = list(input_names)  # or it is not saved
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
    """Names of the files without which the tokenizer saved in `directory` cannot be read.

    `tokenizer.json` but for the kinds that exist in Python alone, which tokenizer_config.json
    names: BERTweet and PhoBERT have two files, CANINE has none.
    """
    try:
        settings = json.loads((directory / TOKENIZER_SETTINGS).read_text("utf-8"))
        kind: Any = tokenizer_class_from_name(settings["tokenizer_class"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        kind = None
    if kind is None or hasattr(kind, "backend_tokenizer"):
        return (TOKENIZER_FILE,)
    taken = inspect.signature(kind.__init__).parameters
    needed = {name for name, taken_as in taken.items() if taken_as.default is taken_as.empty}
    return tuple(name for key, name in kind.vocab_files_names.items() if key in needed)


def check_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    texts: Sequence[str],
    *,
    max_length: int,
) -> None:
    """Check that the model embeds every id, and that the tokenizer that ships reads texts alike.

    It is saved as it ships and loaded again, and both versions encode the texts.

    Args:
        tokenizer: that the search reads texts with.
        config: of the model beside which it is saved; it says which kind of tokenizer is loaded.
        texts: some that the model will see; texts of several scripts are added.
        max_length: tokens a row.

    Raises:
        InputError: an id is beyond the model's vocabulary, the versions differ, or what was saved
            cannot be loaded.
        OSError: there is no room for temporary files.
    """
    place = repr(tokenizer.name_or_path)
    size, largest = getattr(config, "vocab_size", None), max(tokenizer.get_vocab().values())
    if size is not None and largest >= size:
        raise InputError(
            f"model.name: the tokenizer of {place} gives ids up to {largest}, but the model embeds"
            f" {size}, from 0 to {size - 1}; take model and tokenizer from the same place"
        )
    probes = [*_PROBES, *texts]
    wanted = encode(tokenizer, probes, max_length=max_length)
    try:
        found = _once_saved(tokenizer, config, probes, max_length)
    except OSError:
        raise
    except Exception as error:  # of no common class: tokenizers, sentencepiece, libraries
        raise InputError(
            f"model.name: the tokenizer of {place} cannot be loaded again once it is saved"
            f" ({' '.join(str(error).split())[:200]}), but the model ships with it; choose an"
            f" encoder with a {TOKENIZER_FILE}"
        ) from error
    same = np.array_equal(found.lengths, wanted.lengths) and np.array_equal(found.ids, wanted.ids)
    if not same:
        raise InputError(
            f"model.name: the tokenizer of {place} gives other tokens once it is saved and loaded"
            " again, so the model that ships would not be the one that was tested; replace it by"
            " its saved self: AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)"
        )


def _once_saved(
    tokenizer: PreTrainedTokenizerBase,
    config: PreTrainedConfig,
    texts: Sequence[str],
    max_length: int,
) -> TokenTable:
    """What the tokenizer makes of texts once it is saved and loaded again."""
    with tempfile.TemporaryDirectory() as place, silenced_panics(), panics_are_errors():
        names = tokenizer.model_input_names
        save_tokenizer_files(tokenizer, Path(place), max_length=max_length, input_names=names)
        config.save_pretrained(place)
        again = AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)
        return encode(again, texts, max_length=max_length)


def missing_library(error: BaseException) -> str | None:
    """The package, by its name for pip, whose absence is why a tokenizer could not be read."""
    # transformers reads a vocabulary as tiktoken's when it cannot read it with sentencepiece.
    named = [
        _first_missing("sentencepiece", "protobuf") if n == "tiktoken" else n
        for n in _named_in(error)
    ]
    return next((name for name in named if name and not _is_there(name)), None)


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
    return next((name for name in names if not _is_there(name)), None)


def _is_there(package: str) -> bool:
    module = {name: module for module, name in _OF_MODULES.items()}.get(package, package)
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY_SIZE = 8000
_SHARE_OF_WORDS = 0.7
_LONGEST_WORD = 100
_LONGEST_AFFIX = 6


def learn_vocabulary(texts: Iterable[str], *, size: int = VOCABULARY_SIZE) -> list[str]:
    """Word pieces of `texts`: special tokens, characters, frequent words, frequent affixes.

    Every character of the texts is a piece, so nothing in them is unknown but words of more than
    100 characters, and characters if there are more than `size` holds. A pure function of the
    multiset of texts: same pieces, same order, in every process.
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
    pieces = dict.fromkeys(SPECIAL_TOKENS)
    _add_most_frequent(pieces, characters, size)
    # A word or an affix seen once teaches its embedding nothing.
    seen_twice = Counter({word: n for word, n in words.items() if n > 1})
    _add_most_frequent(pieces, seen_twice, max(len(pieces), int(size * _SHARE_OF_WORDS)))
    _add_most_frequent(pieces, Counter({a: n for a, n in affixes.items() if n > 1}), size)
    return list(pieces)


def save_tokenizer(pieces: Sequence[str], directory: Path, *, max_length: int) -> None:
    """Write a lower-casing WordPiece tokenizer that `AutoTokenizer.from_pretrained` loads."""
    ids = {piece: number for number, piece in enumerate(pieces)}
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


def _normalizer() -> BertNormalizer:
    return BertNormalizer(lowercase=True, strip_accents=False)


def _count_words(texts: Iterable[str]) -> Counter[str]:
    normalizer, splitter = _normalizer(), BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        normalised = normalizer.normalize_str(text)
        words.update(word for word, _ in splitter.pre_tokenize_str(normalised))
    return words


def _add_most_frequent(pieces: dict[str, None], counts: Counter[str], size: int) -> None:
    for piece in sorted(counts, key=lambda piece: (-counts[piece], piece)):
        if len(pieces) >= size:
            return
        pieces[piece] = None
