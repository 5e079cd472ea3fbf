"""Small models of many architectures, saved as the hub has them: own vocabularies, random weights.

Vocabularies are learnt from a few made sentences: WordPiece by the rule of `training.tokenizer`,
byte-level BPE by the library `tokenizers`, unigrams by `sentencepiece`. Their files have the names
and the special tokens that the checkpoints of each architecture have, so that the code that reads
those is run; where checkpoints have no tokenizer.json, there is none here.
"""

import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    set_seed,
)

from training.tokenizer import learn_vocabulary

LABELS = ("biasa", "entheng", "abot")
POSITIONS = 40
"""Of the models that number them, in rows of any length that the model takes."""
MAX_LENGTH = 32

_WORDS = [a + b for a in ("ka", "bu", "do", "gi", "pe", "sa") for b in ("rang", "tuk", "lir", "n")]
_SIZES = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "intermediate_size": 48,
}
_RANGE = 0.3
"""Of random weights: those of fresh models, 0.02, give nearly one answer to all texts."""


def make_texts(num_texts: int) -> list[str]:
    """Texts of 1 to 12 words, some with capitals, signs, an emoji or letters of other scripts."""
    generator = random.Random(3)
    texts = []
    for number in range(num_texts):
        words = generator.choices(_WORDS, k=1 + number * 5 % 12)
        words += [generator.choice(["Kowe!", "2x", "\U0001f621", "\u02bc", "naïve"])] * (
            number % 3 == 1
        )
        texts.append(" ".join(words))
    return texts


def _wordpiece(
    directory: Path, special: Sequence[str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
) -> None:
    tokens = [token for token in learn_vocabulary(make_texts(200), size=300) if token[0] != "["]
    (directory / "vocab.txt").write_text("\n".join([*special, *tokens]) + "\n", "utf-8")


def _byte_bpe(directory: Path, special: Sequence[str] = ("<s>", "<pad>", "</s>", "<unk>")) -> None:
    tokenizer = _learn_byte_bpe([*special, "<mask>"])
    tokenizer.model.save(str(directory))


def _learn_byte_bpe(special: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=list(special),
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(make_texts(200), trainer)
    return tokenizer


def _sentencepiece(directory: Path, file: str, **options: Any) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(make_texts(200)),
        model_writer=model,
        model_type="unigram",
        vocab_size=140,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    (directory / file).write_bytes(model.getvalue())


def _slow_bpe(directory: Path) -> None:
    """Files of BERTweet and PhoBERT: tokens with counts, merges with counts, `@@` within words."""
    counts: dict[str, int] = {}
    merges: dict[tuple[str, str], int] = {}
    words = sorted({word for text in make_texts(200) for word in text.split()})
    for word in words:
        symbols = [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            counts.update({_written(symbol): 1 for symbol in symbols})
            merges[symbols[0], symbols[1]] = 1
            symbols[:2] = [symbols[0] + symbols[1]]
        counts[_written(symbols[0])] = 1
    _write_lines(directory / "vocab.txt", [f"{token} {n}" for token, n in counts.items()])
    _write_lines(directory / "bpe.codes", [f"{a} {b} {n}" for (a, b), n in merges.items()])


def _written(symbol: str) -> str:
    return symbol.removesuffix("</w>") if symbol.endswith("</w>") else f"{symbol}@@"


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _luke(directory: Path) -> None:
    _byte_bpe(directory)
    entities = {"[PAD]": 0, "[UNK]": 1, "[MASK]": 2, "[MASK2]": 3}
    (directory / "entity_vocab.json").write_text(json.dumps(entities))


def _tokenizer_json(directory: Path) -> None:
    """As ModernBERT's: byte-level BPE in a tokenizer.json alone."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = _learn_byte_bpe(special)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        **dict(zip(names, special, strict=True)),
    ).save_pretrained(directory)


def _nothing(directory: Path) -> None:
    """Characters are the vocabulary."""


_ALBERT: dict[str, Any] = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1}
_BRACKETS = ["[CLS]", "[SEP]", "[MASK]"]


def _spiece(file: str, **options: Any) -> Callable[[Path], None]:
    return lambda directory: _sentencepiece(directory, file, **options)


_FAIRSEQ = _spiece("sentencepiece.bpe.model")
_FUNNEL = ("<pad>", "<unk>", "<cls>", "<sep>", "<mask>")
_MPNET = ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")


_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS}
_REMBERT = {"input_embedding_size": 16, "output_embedding_size": 32} | {
    "bos_token_id": 2,
    "eos_token_id": 3,
}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How a model of one kind is made small."""

    kind: str
    """`model_type` of its configuration."""
    vocabulary: Callable[[Path], None]
    """Writes the tokenizer's files into a directory."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of its configuration, over the common sizes."""
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    """tokenizer_config.json; empty: there is none."""
    is_resaved: bool = False
    """Whether transformers has read the vocabulary once and replaced it by its own files."""


ARCHITECTURES: dict[str, Architecture] = {
    "BERT": Architecture(kind="bert", vocabulary=_wordpiece),
    "DistilBERT": Architecture(
        kind="distilbert",
        vocabulary=_wordpiece,
        settings={"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
    ),
    "ELECTRA": Architecture(kind="electra", vocabulary=_wordpiece, settings={"embedding_size": 16}),
    "MobileBERT": Architecture(
        kind="mobilebert",
        vocabulary=_wordpiece,
        settings={
            **{"embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
            "initializer_range": 0.1,  # its layers have no norms that would hold larger ones
        },
    ),
    "SqueezeBERT": Architecture(
        kind="squeezebert", vocabulary=_wordpiece, settings={"embedding_size": 32}
    ),
    "ConvBERT": Architecture(
        kind="convbert",
        vocabulary=_wordpiece,
        settings={"embedding_size": 16, "head_ratio": 1, "conv_kernel_size": 3},
    ),
    "ERNIE": Architecture(kind="ernie", vocabulary=_wordpiece),
    "MPNet": Architecture(
        kind="mpnet",
        vocabulary=lambda directory: _wordpiece(directory, _MPNET),
        settings={"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    ),
    "Funnel": Architecture(
        kind="funnel",
        vocabulary=lambda directory: _wordpiece(directory, _FUNNEL),
        settings={
            **{"block_sizes": [1, 1], "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 48},
            **{"num_decoder_layers": 1, "num_hidden_layers": None},
        },
    ),
    "RoBERTa": Architecture(kind="roberta", vocabulary=_byte_bpe),
    "RoBERTa-PreLayerNorm": Architecture(kind="roberta-prelayernorm", vocabulary=_byte_bpe),
    "data2vec-text": Architecture(kind="data2vec-text", vocabulary=_byte_bpe),
    "I-BERT": Architecture(kind="ibert", vocabulary=_byte_bpe),
    "Longformer": Architecture(
        kind="longformer", vocabulary=_byte_bpe, settings={"attention_window": 8}
    ),
    "LUKE": Architecture(
        kind="luke",
        vocabulary=_luke,
        settings={"entity_vocab_size": 4, "entity_emb_size": 16},
    ),
    "GPT-2": Architecture(
        kind="gpt2",
        vocabulary=lambda directory: _byte_bpe(directory, ("<|endoftext|>",)),
        settings=_GPT2,
    ),
    "GPT-2 with a padding token": Architecture(
        kind="gpt2",
        vocabulary=lambda directory: _byte_bpe(directory, ("<|endoftext|>",)),
        settings=_GPT2,
        tokenizer={"pad_token": "<|endoftext|>", "tokenizer_class": "GPT2Tokenizer"},
    ),
    "ModernBERT": Architecture(
        kind="modernbert",
        vocabulary=_tokenizer_json,
        settings={
            "local_attention": 8,
            "pad_token_id": 0,
            **{"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3},
        },
    ),
    "XLM-R": Architecture(kind="xlm-roberta", vocabulary=_FAIRSEQ),
    "CamemBERT": Architecture(kind="camembert", vocabulary=_FAIRSEQ),
    "ALBERT": Architecture(
        kind="albert",
        vocabulary=_spiece("spiece.model", control_symbols=_BRACKETS, **_ALBERT),
        settings={"embedding_size": 16},
    ),
    "XLNet": Architecture(
        kind="xlnet",
        vocabulary=_spiece(
            "spiece.model",
            control_symbols=["<cls>", "<sep>", "<mask>", "<eod>", "<eop>"],
            pad_id=5,
        ),
        settings={"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48}
        | {"max_position_embeddings": None},
    ),
    "DeBERTa-v2": Architecture(
        kind="deberta-v2",
        vocabulary=_spiece(
            "spm.model",
            **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3},
            **{"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"},
            unk_piece="[UNK]",
        ),
        settings={
            **{"relative_attention": True, "max_relative_positions": -1, "position_buckets": 8},
            **{"pos_att_type": "p2c|c2p", "position_biased_input": False, "share_att_key": True},
            **{"norm_rel_ebd": "layer_norm", "type_vocab_size": 0},
        },
    ),
    "RemBERT": Architecture(
        kind="rembert",
        vocabulary=_spiece("sentencepiece.model", control_symbols=_BRACKETS, **_ALBERT),
        settings=_REMBERT,
        is_resaved=True,
    ),
    "RemBERT without tokenizer.json": Architecture(
        kind="rembert",
        vocabulary=_spiece("sentencepiece.model", control_symbols=_BRACKETS, **_ALBERT),
        settings=_REMBERT,
    ),
    "FNet": Architecture(
        kind="fnet",
        vocabulary=_spiece("spiece.model", control_symbols=_BRACKETS, pad_id=3),
        is_resaved=True,
    ),
    "BigBird": Architecture(
        kind="big_bird",
        vocabulary=_spiece(
            "spiece.model",
            control_symbols=_BRACKETS,
            **{"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3},
        ),
        settings={"block_size": 4, "num_random_blocks": 1},
    ),
    "Nyströmformer": Architecture(
        kind="nystromformer",
        vocabulary=_tokenizer_json,
        settings={"num_landmarks": 4, "segment_means_seq_len": 32},
    ),
    "YOSO": Architecture(
        kind="yoso",
        vocabulary=_spiece("spiece.model", control_symbols=_BRACKETS, **_ALBERT),
        settings={"use_expectation": True},
    ),
    "CANINE": Architecture(
        kind="canine",
        vocabulary=_nothing,
        settings={
            **{"pad_token_id": 0, "bos_token_id": 0xE000, "eos_token_id": 0xE001},
            **{"local_transformer_stride": 8, "num_hash_buckets": 64},
            "vocab_size": None,
        },
        tokenizer={"tokenizer_class": "CanineTokenizer"},
    ),
    "BERTweet": Architecture(
        kind="roberta",
        vocabulary=_slow_bpe,
        tokenizer={"tokenizer_class": "BertweetTokenizer"},
    ),
    "PhoBERT": Architecture(
        kind="roberta",
        vocabulary=_slow_bpe,
        tokenizer={"tokenizer_class": "PhobertTokenizer"},
    ),
}


def save_architecture(name: str, directory: Path) -> Path:
    """Write one of `ARCHITECTURES` as a pretrained checkpoint without a head of these labels."""
    made = ARCHITECTURES[name]
    directory.mkdir(parents=True, exist_ok=True)
    made.vocabulary(directory)
    if made.tokenizer:
        (directory / "tokenizer_config.json").write_text(json.dumps(made.tokenizer))
    settings = _SIZES | {"initializer_range": _RANGE} | dict(made.settings)
    offset = 2 if made.vocabulary in (_byte_bpe, _slow_bpe, _FAIRSEQ, _luke) else 0
    settings.setdefault("max_position_embeddings", POSITIONS + offset)
    (directory / "config.json").write_text(json.dumps({"model_type": made.kind}))
    tokenizer = AutoTokenizer.from_pretrained(directory)
    if made.is_resaved:
        for file in tokenizer.vocab_files_names.values():
            (directory / file).unlink(missing_ok=True)
        tokenizer.save_pretrained(directory)
    settings = {"vocab_size": len(tokenizer)} | settings
    given = {name: value for name, value in settings.items() if value is not None}
    set_seed(0)
    AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        AutoConfig.for_model(made.kind, **given)
    ).save_pretrained(directory)
    return directory
