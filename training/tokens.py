"""Token ids of texts: tokenised once, flattened in one array and read without a copy."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from training.errors import panics_are_errors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


Ids = npt.NDArray[np.int32]
Integers = npt.NDArray[np.int64]

_CHUNK = 4096


@dataclass(frozen=True, kw_only=True)
class TokenTable:
    """Rows of token ids of any length, end to end in one array.

    Attributes:
        ids: int32 [total], special tokens included.
        offsets: int64 [rows]; row i is ids[offsets[i]:offsets[i] + lengths[i]].
        lengths: int64 [rows], tokens per row.
    """

    ids: Ids
    offsets: Integers
    lengths: Integers

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    def row(self, index: int) -> Ids:
        """Return the ids of one row, int32 [length], a view."""
        start = self.offsets[index]
        return self.ids[start : start + self.lengths[index]]

    def take(self, indices: Integers) -> "TokenTable":
        """Return the rows at `indices` (int64 [n]); the ids are shared, not copied."""
        return TokenTable(
            ids=self.ids, offsets=self.offsets[indices], lengths=self.lengths[indices]
        )


@dataclass(frozen=True, kw_only=True)
class LabelledTokens:
    """Tokenised rows and their labels: `labels` is int64 [rows]."""

    tokens: TokenTable
    labels: Integers

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def take(self, indices: Integers) -> "LabelledTokens":
        """Return the rows at `indices` (int64 [n]); the ids are shared, not copied."""
        return LabelledTokens(tokens=self.tokens.take(indices), labels=self.labels[indices])


@dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """How well a tokenizer fits some texts; all shares are between 0 and 1."""

    unknown_share: float
    """Share of unknown tokens among all tokens that are not special."""
    tokens_per_word: float
    """Tokens per word; words are separated by white space."""
    truncated_share: float
    """Share of the rows that are longer than `max_length` and so are cut."""


def from_rows(rows: Sequence[Ids]) -> TokenTable:
    """Build a table from rows of ids (each int32 [length])."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int32)
    return TokenTable(ids=ids, offsets=np.cumsum(lengths) - lengths, lengths=lengths)


def encode(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], *, max_length: int
) -> TokenTable:
    """Tokenise texts: add special tokens and cut each row at `max_length` tokens.

    A text without any token (an empty one, where there are no special tokens) becomes one unmasked
    padding token, so that every text has a row to classify.
    """
    nothing = [tokenizer.pad_token_id or 0]
    rows: list[Ids] = []
    for start in range(0, len(texts), _CHUNK):
        chunk = [_encodable(text) for text in texts[start : start + _CHUNK]]
        with panics_are_errors():
            encoded = tokenizer(
                chunk,
                truncation=True,
                max_length=max_length,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
        rows.extend(np.asarray(ids or nothing, dtype=np.int32) for ids in encoded["input_ids"])
    return from_rows(rows)


def describe_tokens(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], *, max_length: int
) -> TokenStatistics:
    """Compute the share of unknown tokens, tokens per word and share of truncated rows."""
    with panics_are_errors():
        encoded = tokenizer(
            [_encodable(text) for text in texts], add_special_tokens=False, verbose=False
        )["input_ids"]
    num_special = tokenizer.num_special_tokens_to_add()
    num_tokens = sum(len(ids) for ids in encoded)
    num_words = sum(len(text.split()) for text in texts)
    num_unknown = sum(ids.count(tokenizer.unk_token_id) for ids in encoded)
    num_truncated = sum(len(ids) + num_special > max_length for ids in encoded)
    return TokenStatistics(
        unknown_share=num_unknown / max(num_tokens, 1),
        tokens_per_word=num_tokens / max(num_words, 1),
        truncated_share=num_truncated / max(len(texts), 1),
    )


def unknown_shares(
    tokens: TokenTable, *, unknown_id: int, special_ids: Collection[int]
) -> npt.NDArray[np.float64]:
    """Return the share of unknown tokens in each row; special tokens do not count.

    Args:
        tokens: any rows.
        unknown_id: id of the unknown token, which counts even if `special_ids` contains it.
        special_ids: ids of the tokens that represent no part of a text.

    Returns:
        float64 [rows], 0 to 1; 0 for a row without tokens of its text.
    """
    is_unknown = tokens.ids == unknown_id
    is_counted = is_unknown | ~np.isin(tokens.ids, list(special_ids))
    ends = tokens.offsets + tokens.lengths

    def count(chosen: npt.NDArray[np.bool_]) -> Integers:
        before = np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])
        return np.asarray(before[ends] - before[tokens.offsets], dtype=np.int64)

    return np.asarray(count(is_unknown) / np.maximum(count(is_counted), 1), dtype=np.float64)


def _encodable(text: str) -> str:
    # The tokenizer takes UTF-8, which cannot hold a lone surrogate.
    return text.encode("utf-8", errors="replace").decode("utf-8")
