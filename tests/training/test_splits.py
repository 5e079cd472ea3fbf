import numpy as np
import pytest

from training.splits import choose_held_out, in_last_split


def random_rows(
    num_rows: int, num_groups: int, seed: int = 0
) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    identities = [rng.bytes(16) for _ in range(num_rows)]
    labels = rng.choice(4, num_rows, p=[0.5, 0.25, 0.15, 0.1])
    return identities, rng.integers(0, num_groups, num_rows), labels


@pytest.mark.parametrize("num_groups", [60, 400, 10**9])
@pytest.mark.parametrize("share", [0.1, 0.2])
def test_groups_stay_whole_and_each_class_is_within_a_point_of_its_share(
    num_groups: int, share: float
) -> None:
    identities, groups, labels = random_rows(2000, num_groups)
    for seed in range(10):
        held = choose_held_out(identities, groups, labels, share=share, seed=seed)
        assert all(abs(held[labels == label].mean() - share) <= 0.01 for label in range(4))
        for group in np.unique(groups):
            assert len(set(held[groups == group].tolist())) == 1


def test_neither_the_order_of_rows_nor_the_numbers_of_groups_change_a_split() -> None:
    identities, groups, labels = random_rows(600, 150)
    held = choose_held_out(identities, groups, labels, share=0.2, seed=7)
    order = np.random.default_rng(1).permutation(600)
    shuffled = choose_held_out(
        [identities[index] for index in order],
        900 - groups[order],
        labels[order],
        share=0.2,
        seed=7,
    )
    assert shuffled.tolist() == held[order].tolist()


def test_another_seed_or_purpose_is_an_independent_choice() -> None:
    identities, groups, labels = random_rows(2000, 600)
    held = choose_held_out(identities, groups, labels, share=0.2, seed=1)
    for seed, purpose in ((2, "test"), (1, "validation")):
        other = choose_held_out(identities, groups, labels, share=0.2, seed=seed, purpose=purpose)
        assert 0.12 < other[held].mean() < 0.28


def test_large_groups_are_held_out_as_often_as_small_ones() -> None:
    sizes = np.tile([2, 5, 10], 60)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(0)
    identities = [rng.bytes(16) for _ in groups]
    labels = rng.integers(0, 2, len(groups))
    times_held = np.zeros(len(sizes))
    for seed in range(60):
        held = choose_held_out(identities, groups, labels, share=0.2, seed=seed)
        times_held += np.bincount(groups, held) / sizes
    for size in (2, 5, 10):
        assert abs(times_held[sizes == size].mean() / 60 - 0.2) < 0.04


def test_a_class_of_three_rows_has_one_on_the_side_held_out() -> None:
    identities, groups, _ = random_rows(100, 10**9)
    labels = np.array([1] * 3 + [0] * 97)
    held = choose_held_out(identities, groups, labels, share=0.1, seed=42)
    assert held[labels == 1].sum() == 1


def test_of_no_rows_none_is_held_out() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert choose_held_out([], none, none, share=0.2, seed=42).tolist() == []


def test_a_group_stays_only_in_its_last_split() -> None:
    splits = ["train", "test", "train", "validation", "train"]
    stays = in_last_split(splits, np.array([0, 0, 1, 1, 2]))
    assert stays.tolist() == [False, True, False, True, True]
