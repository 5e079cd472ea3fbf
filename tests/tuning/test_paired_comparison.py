"""Paired differences of two configurations: standard error, significance and power."""

import math

import numpy as np
import pytest

from tuning.paired_comparison import paired_difference, score_correlation


def test_the_standard_error_counts_the_rows_that_splits_share() -> None:
    # Differences 0.02, 0.04, 0.06: mean 0.04, variance 0.0004; Nadeau and Bengio with k = 3 and
    # n_validation / n_train = 0.25 give 0.0004 (1/3 + 1/4).
    paired = paired_difference(
        [0.52, 0.64, 0.76], [0.50, 0.60, 0.70], validation_share=0.25, required=0.92
    )
    assert paired.difference == pytest.approx(0.04)
    assert paired.standard_error == pytest.approx(math.sqrt(0.0004 * (1 / 3 + 0.25)))
    # The quantile of Student's t with two degrees of freedom at 97.5 % is 4.30265.
    half_width = 4.30265 * paired.standard_error
    assert paired.interval == pytest.approx((0.04 - half_width, 0.04 + half_width), abs=1e-6)
    # t = 0.04 / 0.015275 = 2.6186 with two degrees of freedom.
    assert paired.probability_of_lead == pytest.approx(0.93995, abs=1e-4)
    assert not paired.is_distinguishable


def varying(variance: float) -> list[float]:
    """Return three differences with a mean of 0."""
    return [-math.sqrt(variance), 0.0, math.sqrt(variance)]


def test_a_lead_is_significant_at_95_percent() -> None:
    far = paired_difference(
        [0.60, 0.61, 0.62], [0.50, 0.50, 0.50], validation_share=0.25, required=0.92
    )
    assert far.is_distinguishable


def test_a_difference_can_be_surely_negligible() -> None:
    same = paired_difference(
        [0.5001, 0.5, 0.5, 0.5], [0.5] * 4, validation_share=0.25, required=0.92
    )
    assert not same.is_distinguishable
    assert same.excludes_a_difference


def test_scores_equal_to_the_digit_have_no_lead() -> None:
    same = paired_difference([0.5, 0.6], [0.5, 0.6], validation_share=0.25, required=0.92)
    assert (same.difference, same.standard_error, same.probability_of_lead) == (0.0, 0.0, 0.5)
    assert same.excludes_a_difference
    assert not same.is_clear


def test_a_noisy_difference_is_neither_significant_nor_negligible() -> None:
    noisy = paired_difference([0.5, 0.7], [0.55, 0.6], validation_share=0.25, required=0.92)
    assert not noisy.is_distinguishable
    assert not noisy.excludes_a_difference


def test_the_variance_is_steadied_by_the_other_challengers() -> None:
    # Own variance 0.0004 with two degrees of freedom, the others' mean 0.0010 counts for two.
    paired = paired_difference(
        [0.52, 0.64, 0.76],
        [0.50, 0.60, 0.70],
        validation_share=0.25,
        required=0.92,
        others=[varying(0.0008), varying(0.0012)],
    )
    assert paired.degrees_of_freedom == 4
    assert paired.standard_error == pytest.approx(math.sqrt(0.0007 * (1 / 3 + 0.25)))


def test_the_others_count_for_no_more_freedom_than_they_have() -> None:
    own, default = [0.52, 0.64, 0.76], [0.50, 0.60, 0.70]
    # One difference has no variance; two have one degree of freedom; four more count for two.
    for others, freedom, variance in (
        ([[0.1]], 2, 0.0004),
        ([[0.0, 0.04]], 3, (2 * 0.0004 + 0.0008) / 3),
        ([[0.0, 0.04], varying(0.0014)], 4, (2 * 0.0004 + 2 * 0.0012) / 4),
        ([varying(0.0014)] * 5, 4, 0.0009),
    ):
        paired = paired_difference(
            own, default, others=others, validation_share=0.25, required=0.92
        )
        assert paired.degrees_of_freedom == freedom
        assert paired.variance == pytest.approx(variance)


def test_a_lead_is_clear_above_the_required_probability_alone() -> None:
    own, default = [0.52, 0.64, 0.76], [0.50, 0.60, 0.70]  # a lead with probability 0.93995
    for required, is_clear in ((0.93, True), (0.95, False), (None, False)):
        paired = paired_difference(own, default, validation_share=0.25, required=required)
        assert paired.is_clear is is_clear
        assert (paired.needed is None) is (required is None)


def test_who_is_as_far_behind_as_a_winner_must_be_ahead_is_clearly_worse() -> None:
    ahead, behind = [0.52, 0.64, 0.76], [0.50, 0.60, 0.70]
    for required, is_worse in ((0.93, True), (0.95, False), (None, False)):
        paired = paired_difference(behind, ahead, validation_share=0.25, required=required)
        assert paired.is_clearly_worse is is_worse


def test_the_smallest_detectable_difference_is_significant_in_80_percent_of_the_cases() -> None:
    generator = np.random.default_rng(0)
    paired = paired_difference([0.5, 0.52], [0.5, 0.5], validation_share=0.0, required=0.92)
    scale = paired.smallest_detectable / paired.standard_error
    assert scale == pytest.approx(6.314 + 1.376, abs=1e-3)  # Student's t, one degree of freedom
    # With many degrees of freedom it is the power calculation of a z test.
    many = paired_difference(
        generator.normal(0, 1, 2000), [0.0] * 2000, validation_share=0.0, required=0.92
    )
    measured = generator.normal(many.smallest_detectable, many.standard_error, 20_000)
    significant = np.mean(measured / many.standard_error > 1.645)
    assert significant == pytest.approx(0.8, abs=0.01)


def test_scores_that_rise_and_fall_together_correlate_fully() -> None:
    assert score_correlation([[0.5, 0.6], [0.7, 0.8], [0.4, 0.5]]) == pytest.approx(1.0)


def test_the_correlation_of_the_textbook_example_is_found_again() -> None:
    # Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(3,1) is 0.71.
    ratings = [
        *([9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]),
    ]
    assert score_correlation(ratings) == pytest.approx(0.7148, abs=1e-4)


EQUAL = [[[v] * c] * r for v in (0.61, 0.7, 0.1) for c in (2, 3, 7) for r in (2, 3, 5)]


@pytest.mark.parametrize("scores", [[], [[0.5, 0.6]], [[0.5], [0.6]], *EQUAL])
def test_too_few_scores_or_equal_ones_have_no_correlation(scores: list[list[float]]) -> None:
    assert score_correlation(scores) is None
