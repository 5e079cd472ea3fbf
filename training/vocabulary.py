"""The WordPiece vocabulary of the `tiny` model, learnt by a rule that repeats to the last piece.

The trainer of the library `tokenizers` gives another vocabulary in every process, so pieces are
chosen here by count, ties broken by the text itself. Encoding is the library's (longest match
first, as in Devlin et al. 2019, BERT, section 3).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

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
