"""Similarity of each test text to the nearest training text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from training.folding import fold
from training.near_duplicates import character_ngrams

PAIRS_AT_ONCE = 4 * 2**20
"""Pairs of texts that are in memory at a time, 30 to 50 bytes each."""


def nearest_similarity(
    train_texts: Sequence[str], test_texts: Sequence[str], *, pairs_at_once: int = PAIRS_AT_ONCE
) -> NDArray[np.float64]:
    """Compute the similarity of each test text to the nearest training text.

    It is the Jaccard similarity of the sets of character 3-grams of folded texts, as in the search
    for near-duplicates. Every pair is compared, so the result is exact.

    Args:
        train_texts: texts as they are in the file; may be empty.
        test_texts: [n], texts as they are in the file.
        pairs_at_once: pairs compared at a time, which limits the memory and changes no result.

    Returns:
        float64 [n], 0 to 1; 0 for a text that is empty after folding.
    """
    num_train = len(train_texts)
    nearest = np.zeros(len(test_texts), dtype=np.float64)
    if not num_train:
        return nearest
    grams, _ = character_ngrams([fold(text) for text in (*train_texts, *test_texts)])
    sizes = np.diff(grams.indptr).astype(np.int64)
    # Counts of shared 3-grams stay far below 2**24, so float32 holds them exactly.
    grams = grams.astype(np.float32)
    train_by_gram = grams[:num_train].T.tocsr()
    size = max(1, pairs_at_once // num_train)
    for start in range(0, len(test_texts), size):
        rows = slice(num_train + start, min(num_train + start + size, len(sizes)))
        shared = grams[rows] @ train_by_gram
        nearest[start : start + size] = _highest(shared, sizes[rows], sizes[:num_train])
    return nearest


def _highest(
    shared: csr_array, sizes: NDArray[np.int64], train_sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the highest Jaccard similarity in each row: float64 [rows].

    Args:
        shared: [rows, train], number of 3-grams in common.
        sizes: int64 [rows], number of 3-grams of each row.
        train_sizes: int64 [train], number of 3-grams of each training text.
    """
    counts = np.diff(shared.indptr)
    union = np.repeat(sizes, counts) + train_sizes[shared.indices] - shared.data
    filled = np.flatnonzero(counts)
    highest = np.zeros(len(sizes), dtype=np.float64)
    if len(filled):
        highest[filled] = np.maximum.reduceat(shared.data / union, shared.indptr[filled])
    return highest
