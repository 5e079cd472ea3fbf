"""Near-duplicates: the rule that groups rows which must share a split, and limits on group size."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from datasketch import MinHash
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from training.cli import excerpt
from training.config import DataConfig
from training.errors import InputError
from training.texts import Indices, Row

_PERMUTATIONS = 128
_RECALL = 0.99
_PAIRS_PER_CHUNK = 20_000
_ODD_64_BIT = np.uint64(0x9E3779B97F4A7C15)

_LARGEST_SHARE_OF_TEXTS = 0.02
_LARGEST_SHARE_OF_ROWS = 0.1
_LARGEST_OF_FEW = 5
_THRESHOLD_STEPS = 20


def group_texts(
    folded: Sequence[str],
    *keys: Sequence[str | None],
    threshold: float | None,
    seed: int,
) -> Indices:
    """Number the group of every row.

    Rows are in one group if a chain of links connects them. A link is an equal non-empty folded
    text, an equal key (None: no key), or a Jaccard similarity of the sets of character 3-grams of
    at least `threshold`. Candidates for the last come from banded MinHash signatures (Leskovec,
    Rajaraman and Ullman, Mining of Massive Datasets, section 3.4), which find a pair at the
    threshold with a probability of at least 0.99 and a more similar pair with a higher one; each
    candidate is then verified exactly. Groups are numbered by their smallest folded text, whatever
    the order of the rows.

    Args:
        folded: folded text of each of n rows; an empty one is similar to no other.
        keys: one key per row; each sequence, n long, is a kind of keys of its own.
        threshold: above 0 and at most 1; None: only equal texts and keys are links.
        seed: of the MinHash permutations.

    Returns:
        int64 [n], the group of each row, numbered from 0.
    """
    texts = sorted({text for text in folded if text})
    # The nodes of the graph are rows, distinct texts and distinct keys, in this order.
    num_nodes, edges = len(folded), np.empty((0, 2), dtype=np.int64)
    for names in (folded, *keys):
        distinct = sorted({name for name in names if name})
        node = {name: num_nodes + index for index, name in enumerate(distinct)}
        links = [(row, node[name]) for row, name in enumerate(names) if name]
        edges = np.concatenate([edges, np.array(links, dtype=np.int64).reshape(-1, 2)])
        num_nodes += len(distinct)
    if threshold is not None and len(texts) > 1:
        edges = np.concatenate([edges, len(folded) + _similar(texts, threshold, seed)])
    component = _components(edges, num_nodes)[: len(folded)]
    return _renumber(component, list(zip(folded, *keys, strict=True)))


def group_rows(rows: Sequence[Row], config: DataConfig) -> Indices:
    """Number the group of every row, int64 [n], as `config` defines groups."""
    # A text without letters is similar only to texts with the same drop key.
    drop_keys = [None if row.folded else row.identity.hex() for row in rows]
    return group_texts(
        [row.folded for row in rows],
        [row.key for row in rows],
        drop_keys,
        threshold=config.near_duplicate_threshold,
        seed=config.split_seed,
    )


def character_ngrams(texts: Sequence[str]) -> tuple[csr_array, Indices]:
    """Return the sets of character 3-grams of " text ", by which near-duplicates are found.

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


def check_group_sizes(rows: Sequence[Row], groups: Indices, config: DataConfig) -> None:
    """Refuse a group that is too large for one side of a split.

    Such a group would distort the class shares. Texts count once, however many rows differ only in
    digits, emoji or signs, since real tables have short texts with many endings ("ok", "ok!!").
    Rows have a separate limit, which allows about two such groups in test and in validation.

    Args:
        rows: the rows to split.
        groups: int64 [n].
        config: names the columns and the threshold.

    Raises:
        InputError: a group holds more than 2 % of the rows (and more than 5) in texts that differ
            in letters, or more than 10 % of the rows (and more than 5).
    """
    limits = _Limits.of(len(rows))
    too_large = limits.exceeded(rows, groups)
    if not len(too_large):
        return
    sizes = np.bincount(groups)
    largest = too_large[sizes[too_large].argmax()]
    members = [rows[index] for index in np.flatnonzero(groups == largest).tolist()]
    of_large_groups = [rows[index] for index in np.flatnonzero(np.isin(groups, too_large)).tolist()]
    too_many_texts = len({_letters_of(row) for row in members}) > limits.texts
    limit = (
        f"{limits.texts} texts (2 %, at least {_LARGEST_OF_FEW})"
        if too_many_texts
        else f"{limits.rows} rows (10 %, at least {_LARGEST_OF_FEW})"
    )
    raise InputError(
        f"{config.path}: {len(members)} of {len(rows)} kept rows are one group, such as row"
        f" {members[0].row} '{excerpt(members[0].text)}', but a group must stay within {limit} to"
        f" fit in one split; {_how_to_divide(members, of_large_groups, limits, config)}"
    )


def _components(links: Indices, num_nodes: int) -> Indices:
    graph = coo_array(
        (np.ones(len(links), dtype=np.int8), (links[:, 0], links[:, 1])),
        shape=(num_nodes, num_nodes),
    )
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _renumber(component: Indices, members: Sequence[tuple[str | None, ...]]) -> Indices:
    """Number groups by their smallest member: a folded text with its keys."""
    # Components differ in their smallest members, except rows without a text or a key.
    smallest: dict[int, tuple[str, ...]] = {}
    for number, parts in zip(component.tolist(), members, strict=True):
        member = tuple(part or "" for part in parts)
        smallest[number] = min(smallest.get(number, member), member)
    ranks = {number: rank for rank, number in enumerate(sorted(smallest, key=smallest.__getitem__))}
    return np.array([ranks[number] for number in component.tolist()], dtype=np.int64)


def _similar(texts: Sequence[str], threshold: float, seed: int) -> Indices:
    """Find similar pairs of distinct texts, int64 [p, 2], enough to connect every component."""
    grams, codes = character_ngrams(texts)
    signatures = _signatures(grams, codes, seed)
    num_bands, num_rows = _banding(threshold)
    links = np.empty((0, 2), dtype=np.int64)
    component = np.arange(len(texts))
    for band in range(num_bands):
        buckets = _buckets(signatures[:, band * num_rows : (band + 1) * num_rows])
        # The first text of a bucket against the others connects most of them. Only the rest is
        # compared pairwise, so that the time for thousands of similar texts is not quadratic.
        for candidates in (_with_first(buckets), _pairwise(buckets)):
            for pairs in _chunks(candidates, component):
                similar = _jaccard(grams, pairs) >= threshold
                links = np.concatenate([links, pairs[similar]])
            component = _components(links, len(texts))
    return links


def _signatures(grams: csr_array, codes: Indices, seed: int) -> npt.NDArray[np.uint64]:
    """Compute MinHash signatures, uint64 [texts, permutations]."""
    hashes = (codes.astype(np.uint64) * _ODD_64_BIT >> np.uint64(32)).tolist()
    tokens = (
        [hashes[gram] for gram in grams.indices[start:stop]]
        for start, stop in zip(grams.indptr[:-1], grams.indptr[1:], strict=True)
    )
    sketches = MinHash.generator(tokens, num_perm=_PERMUTATIONS, seed=seed, hashfunc=int)
    return np.stack([sketch.hashvalues for sketch in sketches]).astype(np.uint64)


def _banding(threshold: float) -> tuple[int, int]:
    """Choose bands and rows per band: the longest bands that keep the recall."""
    for num_rows in range(_PERMUTATIONS, 1, -1):
        num_bands = _PERMUTATIONS // num_rows
        if 1 - (1 - threshold**num_rows) ** num_bands >= _RECALL:
            return num_bands, num_rows
    return _PERMUTATIONS, 1


def _buckets(band: npt.NDArray[np.uint64]) -> list[Indices]:
    """Group rows with equal values in the band, at least two each."""
    factors = _ODD_64_BIT ** np.arange(1, band.shape[1] + 1, dtype=np.uint64)
    # A collision of these sums only adds a candidate, which is verified later.
    key = (band * factors).sum(axis=1, dtype=np.uint64)
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order])) + 1
    return [bucket for bucket in np.split(order, starts) if len(bucket) > 1]


def _with_first(buckets: Sequence[Indices]) -> Iterator[Indices]:
    for bucket in buckets:
        yield _pairs(bucket[0], bucket[1:])


def _pairwise(buckets: Sequence[Indices]) -> Iterator[Indices]:
    for bucket in buckets:
        for index in range(1, len(bucket) - 1):
            yield _pairs(bucket[index], bucket[index + 1 :])


def _pairs(row: np.int64, others: Indices) -> Indices:
    return np.column_stack([np.full(len(others), row), others])


def _chunks(candidates: Iterator[Indices], component: Indices) -> Iterator[Indices]:
    """Yield the candidates that are not connected yet, in chunks."""
    waiting: list[Indices] = []
    num_waiting = 0
    for pairs in candidates:
        apart = pairs[component[pairs[:, 0]] != component[pairs[:, 1]]]
        waiting.append(apart)
        num_waiting += len(apart)
        if num_waiting >= _PAIRS_PER_CHUNK:
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


@dataclass(frozen=True)
class _Limits:
    """How large a group may be."""

    texts: int
    """Texts that differ in letters."""
    rows: int

    @classmethod
    def of(cls, num_rows: int) -> "_Limits":
        shares = (_LARGEST_SHARE_OF_TEXTS, _LARGEST_SHARE_OF_ROWS)
        return cls(*(max(_LARGEST_OF_FEW, int(share * num_rows)) for share in shares))

    def exceeded(self, rows: Sequence[Row], groups: Indices) -> Indices:
        """Return the groups that are too large, int64."""
        if not rows:
            return np.zeros(0, dtype=np.int64)
        texts = {
            (group, _letters_of(row)) for group, row in zip(groups.tolist(), rows, strict=True)
        }
        num_texts = np.bincount([group for group, _ in texts])
        return np.flatnonzero((num_texts > self.texts) | (np.bincount(groups) > self.rows))


def _letters_of(row: Row) -> str | bytes:
    """Return what distinguishes a row from the rows of its group: the letters of its text."""
    return row.folded or row.identity


def _how_to_divide(
    members: Sequence[Row], of_large_groups: Sequence[Row], limits: _Limits, config: DataConfig
) -> str:
    """Explain what connects the largest group, and what divides all groups that are too large."""
    for key, count in Counter(row.key for row in members if row.key).most_common(1):
        of_key = [row for row in members if row.key == key]
        if len(limits.exceeded(of_key, np.zeros(count, dtype=np.int64))):
            return (
                f"{count} of them have {config.group_column} = '{excerpt(key)}': drop some, or"
                " name another data.group_column"
            )
    for threshold in _stricter(config.near_duplicate_threshold):
        # A stricter threshold adds no links, so only the rows of the too large groups matter.
        changed = config.model_copy(update={"near_duplicate_threshold": threshold})
        if not len(limits.exceeded(of_large_groups, group_rows(of_large_groups, changed))):
            return (
                "their texts are similar at data.near_duplicate_threshold"
                f" {config.near_duplicate_threshold:g}: try"
                f" {'null (only equal texts)' if threshold is None else format(threshold, 'g')}"
            )
    folds = Counter(row.folded for row in of_large_groups if row.folded)
    count = max(folds.values(), default=0)
    if count > limits.rows:
        return (
            f"{count} differ only in digits, emoji or signs, which do not distinguish texts of"
            " different splits: keep fewer of them, or write the difference in letters"
        )
    return (
        f"rows of equal texts and rows of one {config.group_column} form a chain: drop the texts"
        " that many of them share, or name another data.group_column"
    )


def _stricter(threshold: float | None) -> list[float | None]:
    """Return stricter thresholds, in ascending order; none if near-duplicates are no links."""
    if threshold is None:
        return []
    first = int(threshold * _THRESHOLD_STEPS + 1e-9) + 1
    return [*(step / _THRESHOLD_STEPS for step in range(first, _THRESHOLD_STEPS + 1)), None]
