"""Near-duplicates: groups of rows that must share a split, and how large a group may be."""

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


_LARGEST_SHARE_OF_TEXTS = 0.02
_LARGEST_SHARE_OF_ROWS = 0.1
_LARGEST_OF_FEW = 5
_THRESHOLD_STEPS = 20


def check_group_sizes(rows: Sequence[Row], groups: Indices, config: DataConfig) -> None:
    """Refuse a group that cannot be put on one side of a split without bending the class shares.

    Texts that differ in letters count once each, however many rows differ from them in digits,
    emoji or signs alone: short texts stand in real tables with every ending ("ok", "ok!!"). Rows
    have a limit of their own, which leaves about two such groups to each of test and validation.

    Args:
        rows: from which a split is drawn.
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
    members = [rows[place] for place in np.flatnonzero(groups == largest).tolist()]
    crowded = [rows[place] for place in np.flatnonzero(np.isin(groups, too_large)).tolist()]
    texts_alone = len({_told_by(row) for row in members}) > limits.texts
    limit = (
        f"{limits.texts} texts (2 %, at least {_LARGEST_OF_FEW})"
        if texts_alone
        else f"{limits.rows} rows (10 %, at least {_LARGEST_OF_FEW})"
    )
    raise InputError(
        f"{config.path}: {len(members)} of {len(rows)} kept rows are one group, such as row"
        f" {members[0].row} '{excerpt(members[0].text)}', but a group must stay within {limit} to"
        f" fit in one split; {_what_would_part(members, crowded, limits, config)}"
    )


@dataclass(frozen=True)
class _Limits:
    """How large a group may be."""

    texts: int
    """That differ in letters."""
    rows: int

    @classmethod
    def of(cls, num_rows: int) -> "_Limits":
        shares = (_LARGEST_SHARE_OF_TEXTS, _LARGEST_SHARE_OF_ROWS)
        return cls(*(max(_LARGEST_OF_FEW, int(share * num_rows)) for share in shares))

    def exceeded(self, rows: Sequence[Row], groups: Indices) -> Indices:
        """The groups that are too large, int64."""
        if not rows:
            return np.zeros(0, dtype=np.int64)
        texts = {(group, _told_by(row)) for group, row in zip(groups.tolist(), rows, strict=True)}
        num_texts = np.bincount([group for group, _ in texts])
        return np.flatnonzero((num_texts > self.texts) | (np.bincount(groups) > self.rows))


def _told_by(row: Row) -> str | bytes:
    """What makes a row's text another than that of the rows in its group."""
    return row.folded or row.identity


def _what_would_part(
    members: Sequence[Row], crowded: Sequence[Row], limits: _Limits, config: DataConfig
) -> str:
    """What holds the largest group together, and what parts all those too large."""
    for key, count in Counter(row.key for row in members if row.key).most_common(1):
        of_key = [row for row in members if row.key == key]
        if len(limits.exceeded(of_key, np.zeros(count, dtype=np.int64))):
            return (
                f"{count} of them have {config.group_column} = '{excerpt(key)}': drop some, or"
                " name another data.group_column"
            )
    for tried in _stricter(config.near_duplicate_threshold):
        # A stricter threshold joins nothing new, so only the rows of groups too large matter.
        changed = config.model_copy(update={"near_duplicate_threshold": tried})
        if not len(limits.exceeded(crowded, group_rows(crowded, changed))):
            return (
                "their texts are alike at data.near_duplicate_threshold"
                f" {config.near_duplicate_threshold:g}: try"
                f" {'null (only equal texts)' if tried is None else format(tried, 'g')}"
            )
    folds = Counter(row.folded for row in crowded if row.folded)
    count = max(folds.values(), default=0)
    if count > limits.rows:
        return (
            f"{count} differ only in digits, emoji or signs, which do not tell texts apart when"
            " splits are drawn: keep fewer of them, or write what tells them apart in letters"
        )
    return (
        f"rows of equal texts and rows of one {config.group_column} make a chain: drop the texts"
        " that many of them share, or name another data.group_column"
    )


def _stricter(threshold: float | None) -> list[float | None]:
    """The thresholds to try, the mildest first; none where near-duplicates make no link."""
    if threshold is None:
        return []
    first = int(threshold * _THRESHOLD_STEPS + 1e-9) + 1
    return [*(step / _THRESHOLD_STEPS for step in range(first, _THRESHOLD_STEPS + 1)), None]
