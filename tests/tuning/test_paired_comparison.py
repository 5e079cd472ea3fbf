"""Paired differences of two configurations: standard error, significance and power."""

import math

import numpy as np
import pytest

from tuning.paired_comparison import paired_difference, score_correlation


def test_the_standard_error_counts_the_rows_that_splits_share() -> None:
    # Differences 0.02, 0.04, 0.06: mean 0.04, variance 0.0004; Nadeau and Bengio with k = 3 and
    # n_validation / n_train = 0.25 give 0.0004 (1/3 + 1/4).
    paired = paired_difference([0.52, 0.64, 0.76], [0.50, 0.60, 0.70], validation_share=0.25)
    assert paired.difference == pytest.approx(0.04)
    assert paired.standard_error == pytest.approx(math.sqrt(0.0004 * (1 / 3 + 0.25)))
    # t = 0.04 / 0.015275 = 2.6186 with two degrees of freedom.
    assert paired.probability_of_lead == pytest.approx(0.93995, abs=1e-4)
    assert not paired.is_distinguishable


def test_a_lead_is_significant_at_95_percent() -> None:
    far = paired_difference([0.60, 0.61, 0.62], [0.50, 0.50, 0.50], validation_share=0.25)
    assert far.is_distinguishable
    assert far.is_settled


def test_a_difference_that_is_surely_negligible_is_settled_too() -> None:
    same = paired_difference([0.5001, 0.5, 0.5, 0.5], [0.5] * 4, validation_share=0.25)
    assert not same.is_distinguishable
    assert same.excludes_a_difference
    assert same.is_settled


def test_scores_equal_to_the_digit_are_settled_and_have_no_lead() -> None:
    same = paired_difference([0.5, 0.6], [0.5, 0.6], validation_share=0.25)
    assert (same.difference, same.standard_error, same.probability_of_lead) == (0.0, 0.0, 0.5)
    assert same.is_settled


def test_a_noisy_difference_is_not_settled() -> None:
    noisy = paired_difference([0.5, 0.7], [0.55, 0.6], validation_share=0.25)
    assert not noisy.is_settled


def test_the_variance_is_steadied_by_the_other_challengers() -> None:
    # Own variance 0.0004 with two degrees of freedom, the others' mean 0.0010 counts for two.
    paired = paired_difference(
        [0.52, 0.64, 0.76],
        [0.50, 0.60, 0.70],
        validation_share=0.25,
        other_variances=[0.0008, 0.0012],
    )
    assert paired.degrees_of_freedom == 4
    assert paired.standard_error == pytest.approx(math.sqrt(0.0007 * (1 / 3 + 0.25)))


def test_the_smallest_detectable_difference_is_significant_in_80_percent_of_the_cases() -> None:
    generator = np.random.default_rng(0)
    paired = paired_difference([0.5, 0.52], [0.5, 0.5], validation_share=0.0)
    scale = paired.smallest_detectable / paired.standard_error
    assert scale == pytest.approx(6.314 + 1.376, abs=1e-3)  # Student's t, one degree of freedom
    # With many degrees of freedom it is the power calculation of a z test.
    many = paired_difference(generator.normal(0, 1, 2000), [0.0] * 2000, validation_share=0.0)
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
