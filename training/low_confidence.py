"""Which rows of low confidence the test part would hold if confidence were not asked for."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.config import DataConfig
from training.folding import drop_key
from training.groups import group_texts
from training.splits import draw_split
from training.texts import Row

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_PURPOSE = "low confidence"


def beside_test(
    low: Sequence[Row],
    kept: Sequence[Row],
    groups: Indices,
    is_test: Mask,
    config: DataConfig,
) -> tuple[list[Row], Indices]:
    """Choose the rows of low confidence to test apart, as the test itself was chosen.

    Rows are grouped anew, those of low confidence among the kept ones; the split of the kept rows
    stands as it is. A row of low confidence whose group holds a row of train or validation is left
    out, since the model learnt from its like; one whose group holds test rows alone comes with
    them; of the others whole groups are drawn as the test was, with the same share and seed. Where
    the file fixes the split, only rows that it gives to the test come, save those with a like in
    train or validation.

    Args:
        low: rows dropped for low confidence alone (an empty confidence counts as low) whose label
            is known; no two of one drop key where the split is drawn.
        kept: rows of train, validation and test.
        groups: int64 [kept], the groups that the split kept whole.
        is_test: bool [kept].
        config: of the split.

    Returns:
        The rows, in the order of `low`, and their groups, int64 [rows]: that of the test rows
        beside them, else a number that no kept row has.
    """
    if not low:
        return [], np.zeros(0, dtype=np.int64)
    rows = [*kept, *low]
    # A text without letters is held to be like another by its own characters.
    component = group_texts(
        [row.folded or drop_key(row.text) for row in rows],
        [row.key for row in rows],
        threshold=config.near_duplicate_threshold,
        seed=config.split_seed,
    )
    of_kept, of_low = component[: len(kept)], component[len(kept) :]
    learnt = np.isin(of_low, of_kept[~is_test])
    if config.split_column is not None:
        wanted = np.array([row.split == "test" for row in low])
    else:
        wanted = np.isin(of_low, of_kept)
        free = np.flatnonzero(~wanted)
        wanted[free] = _draw([low[place] for place in free.tolist()], of_low[free], config)
    chosen = np.flatnonzero(wanted & ~learnt)
    number = groups.max() + 1 + np.arange(component.max() + 1)
    np.minimum.at(number, of_kept, groups)
    return [low[place] for place in chosen.tolist()], number[of_low[chosen]]


def _draw(rows: Sequence[Row], groups: Indices, config: DataConfig) -> Mask:
    return draw_split(
        [row.identity for row in rows],
        groups,
        np.array([row.label for row in rows], dtype=np.int64),
        share=config.test_size,
        seed=config.split_seed,
        purpose=_PURPOSE,
    )
