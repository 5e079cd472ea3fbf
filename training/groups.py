"""Groups of rows that must share a split: equal, nearly equal, or of one author or thread."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from datasketch import MinHash
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from training.config import DataConfig
from training.texts import Row

Indices = npt.NDArray[np.int64]

_PERMUTATIONS = 128
_RECALL = 0.99
_PAIRS_AT_ONCE = 20_000
_ODD_64_BIT = np.uint64(0x9E3779B97F4A7C15)


def group_texts(
    folded: Sequence[str],
    *keys: Sequence[str | None],
    threshold: float | None,
    seed: int,
) -> Indices:
    """Number the group of every row.

    Rows are in one group when a chain of links joins them; a link is an equal non-empty folded
    text, an equal key (None: no key), or a Jaccard similarity of the sets of character
    3-grams of at least `threshold`. Candidates for the last come from MinHash signatures cut in
    bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4), which find a
    pair at the threshold with a probability of at least 0.99 and a more similar one more surely;
    each is then verified exactly. Numbers go by the smallest folded text of a group, so the order
    of the rows changes none.

    Args:
        folded: folded text of each of n rows; an empty one is never like another.
        keys: of each row a key; keys of different kinds, each n long, are no link to one another.
        threshold: above 0 and at most 1; None: only equal texts and keys make links.
        seed: of the MinHash permutations.

    Returns:
        int64 [n], the group of each row, numbered from 0.
    """
    texts = sorted({text for text in folded if text})
    # One graph over rows, distinct texts and distinct keys, in this order.
    num_nodes, edges = len(folded), np.empty((0, 2), dtype=np.int64)
    for names in (folded, *keys):
        distinct = sorted({name for name in names if name})
        node = {name: num_nodes + place for place, name in enumerate(distinct)}
        links = [(row, node[name]) for row, name in enumerate(names) if name]
        edges = np.concatenate([edges, np.array(links, dtype=np.int64).reshape(-1, 2)])
        num_nodes += len(distinct)
    if threshold is not None and len(texts) > 1:
        edges = np.concatenate([edges, len(folded) + _similar(texts, threshold, seed)])
    component = _components(edges, num_nodes)[: len(folded)]
    return _renumber(component, list(zip(folded, *keys, strict=True)))


def group_rows(rows: Sequence[Row], config: DataConfig) -> Indices:
    """Number the group of every row, int64 [n]."""
    # A text without letters is like those of its drop key alone.
    alike = [None if row.folded else row.identity.hex() for row in rows]
    return group_texts(
        [row.folded for row in rows],
        [row.key for row in rows],
        alike,
        threshold=config.near_duplicate_threshold,
        seed=config.split_seed,
    )


def _components(links: Indices, num_nodes: int) -> Indices:
    graph = coo_array(
        (np.ones(len(links), dtype=np.int8), (links[:, 0], links[:, 1])),
        shape=(num_nodes, num_nodes),
    )
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _renumber(component: Indices, told: Sequence[tuple[str | None, ...]]) -> Indices:
    """Number groups by the smallest of their members, a folded text and keys each."""
    # No two components share their smallest member, save rows without a text or a key.
    smallest: dict[int, tuple[str, ...]] = {}
    for number, parts in zip(component.tolist(), told, strict=True):
        member = tuple(part or "" for part in parts)
        smallest[number] = min(smallest.get(number, member), member)
    ranks = {number: rank for rank, number in enumerate(sorted(smallest, key=smallest.__getitem__))}
    return np.array([ranks[number] for number in component.tolist()], dtype=np.int64)


def _similar(texts: Sequence[str], threshold: float, seed: int) -> Indices:
    """Verified pairs, int64 [p, 2], enough to join every component, of distinct texts."""
    grams, codes = character_ngrams(texts)
    signatures = _signatures(grams, codes, seed)
    num_bands, num_rows = _banding(threshold)
    links = np.empty((0, 2), dtype=np.int64)
    component = np.arange(len(texts))
    for band in range(num_bands):
        buckets = _buckets(signatures[:, band * num_rows : (band + 1) * num_rows])
        # The first of a bucket against the others joins most; only what that leaves apart is
        # compared each with each, so that thousands of like texts do not cost their square.
        for candidates in (_with_first(buckets), _each_with_each(buckets)):
            for pairs in _chunks(candidates, component):
                alike = _jaccard(grams, pairs) >= threshold
                links = np.concatenate([links, pairs[alike]])
            component = _components(links, len(texts))
    return links


def character_ngrams(texts: Sequence[str]) -> tuple[csr_array, Indices]:
    """Sets of character 3-grams of " text ": what near-duplicates are found by.

    Args:
        texts: folded; an empty one has no 3-gram.

    Returns:
        int32 [texts, grams] of zeros and ones, and the code of each 3-gram, int64 [grams].
    """
    padded = [f" {text} " for text in texts]
    joined = "".join(padded).encode("utf-32-le", "surrogatepass")
    points = np.frombuffer(joined, dtype=np.uint32).astype(np.int64)
    text_of = np.repeat(np.arange(len(texts)), [len(text) for text in padded])
    # A code point has 21 bits, so three fit in an int64 without collisions.
    codes = points[:-2] | points[1:-1] << 21 | points[2:] << 42
    inside = text_of[:-2] == text_of[2:]
    vocabulary, gram = np.unique(codes[inside], return_inverse=True)
    matrix = csr_array(
        (np.ones(len(gram), dtype=np.int32), (text_of[:-2][inside], gram)),
        shape=(len(texts), len(vocabulary)),
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix, vocabulary


def _signatures(grams: csr_array, codes: Indices, seed: int) -> npt.NDArray[np.uint64]:
    """MinHash signatures, uint64 [texts, permutations]."""
    hashes = (codes.astype(np.uint64) * _ODD_64_BIT >> np.uint64(32)).tolist()
    tokens = (
        [hashes[gram] for gram in grams.indices[start:stop]]
        for start, stop in zip(grams.indptr[:-1], grams.indptr[1:], strict=True)
    )
    sketches = MinHash.generator(tokens, num_perm=_PERMUTATIONS, seed=seed, hashfunc=int)
    return np.stack([sketch.hashvalues for sketch in sketches]).astype(np.uint64)


def _banding(threshold: float) -> tuple[int, int]:
    """Bands and rows a band: the longest bands that keep the recall at the threshold."""
    for num_rows in range(_PERMUTATIONS, 1, -1):
        num_bands = _PERMUTATIONS // num_rows
        if 1 - (1 - threshold**num_rows) ** num_bands >= _RECALL:
            return num_bands, num_rows
    return _PERMUTATIONS, 1


def _buckets(band: npt.NDArray[np.uint64]) -> list[Indices]:
    """Rows whose values in the band are equal, where there are at least two."""
    factors = _ODD_64_BIT ** np.arange(1, band.shape[1] + 1, dtype=np.uint64)
    # A collision of these sums only adds a candidate, which is then verified.
    key = (band * factors).sum(axis=1, dtype=np.uint64)
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order])) + 1
    return [bucket for bucket in np.split(order, starts) if len(bucket) > 1]


def _with_first(buckets: Sequence[Indices]) -> Iterator[Indices]:
    for bucket in buckets:
        yield _pairs(bucket[0], bucket[1:])


def _each_with_each(buckets: Sequence[Indices]) -> Iterator[Indices]:
    for bucket in buckets:
        for place in range(1, len(bucket) - 1):
            yield _pairs(bucket[place], bucket[place + 1 :])


def _pairs(row: np.int64, others: Indices) -> Indices:
    return np.column_stack([np.full(len(others), row), others])


def _chunks(candidates: Iterator[Indices], component: Indices) -> Iterator[Indices]:
    """Those candidates that are not joined yet, many at a time."""
    waiting: list[Indices] = []
    num_waiting = 0
    for pairs in candidates:
        apart = pairs[component[pairs[:, 0]] != component[pairs[:, 1]]]
        waiting.append(apart)
        num_waiting += len(apart)
        if num_waiting >= _PAIRS_AT_ONCE:
            yield np.concatenate(waiting)
            waiting, num_waiting = [], 0
    if num_waiting:
        yield np.concatenate(waiting)


def _jaccard(grams: csr_array, pairs: Indices) -> npt.NDArray[np.float64]:
    left, right = grams[pairs[:, 0]], grams[pairs[:, 1]]
    shared = left.multiply(right).sum(axis=1)
    sizes = np.diff(grams.indptr)
    union = sizes[pairs[:, 0]] + sizes[pairs[:, 1]] - shared
    return np.asarray(shared / union, dtype=np.float64)
