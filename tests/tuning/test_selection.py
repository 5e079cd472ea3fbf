import math

import numpy as np
import pytest

from tests.tuning.builders import completed, trial
from tuning.confirmation import Confirmed, candidates, compare, leader, ranking, winner
from tuning.paired_comparison import paired_difference, score_correlation

DEFAULT = {"learning_rate": 1e-3}
A, B = {"learning_rate": 2e-3}, {"learning_rate": 3e-3}


def confirmed(parameters: dict[str, float], *scores: float, first: int = 1) -> Confirmed:
    return Confirmed(parameters=parameters, scores=dict(enumerate(scores, start=first)))


def test_only_trials_at_the_full_budget_are_ranked_best_first() -> None:
    trials = [
        completed(0, 0.5),
        trial(1, (500, 0.9), status="stopped"),
        completed(2, 0.7),
        trial(3, (3000, 0.9), status="collapsed"),
        trial(4, (3000, 0.9), status="diverged"),
        trial(5, (500, 0.9)),
    ]
    assert [t.trial_id for t in ranking(trials)] == ["t0002", "t0000"]


def test_of_equal_scores_the_older_trial_comes_first() -> None:
    trials = [completed(number, 0.5) for number in (10_000, 9_999, 3)]
    assert [t.trial_id for t in ranking(trials)] == ["t0003", "t9999", "t10000"]


def test_a_peak_before_the_end_does_not_rank() -> None:
    peaked = trial(1, (1500, 0.9), (3000, 0.4), status="completed")
    assert ranking([peaked, completed(0, 0.5)])[0].trial_id == "t0000"


def test_the_default_is_confirmed_however_it_fared() -> None:
    trials = [
        trial(0, status="failed", parameters=DEFAULT),
        completed(1, 0.6, parameters=A),
        completed(2, 0.7, parameters=B),
    ]
    assert candidates(trials, 1) == [DEFAULT, B]
    assert candidates(trials, 5) == [DEFAULT, B, A]


def test_a_configuration_drawn_twice_is_confirmed_once() -> None:
    trials = [
        completed(0, 0.5, parameters=DEFAULT),
        *(completed(number, 0.7, parameters=A) for number in (1, 2)),
        completed(3, 0.6, parameters=B),
        completed(4, 0.9, parameters=dict(DEFAULT)),
    ]
    assert candidates(trials, 2) == [DEFAULT, A, B]


def test_only_replicates_that_both_have_are_compared() -> None:
    default = Confirmed(parameters=DEFAULT, scores={1: 0.5, 2: 0.9, 3: 0.6})
    challenger = Confirmed(parameters=A, scores={1: 0.6, 3: 0.8, 4: 0.1})
    found = compare([default, challenger], validation_share=0.25)
    assert found is not None
    assert found.shared == [1, 3]
    assert found.means == pytest.approx((0.7, 0.55))
    assert found.paired.difference == pytest.approx(0.15)
    assert found.paired.degrees_of_freedom == 1


def test_one_shared_replicate_is_too_few_to_compare() -> None:
    one = Confirmed(parameters=A, scores={1: 0.9})
    assert compare([confirmed(DEFAULT, 0.5, 0.5), one], validation_share=0.25) is None


def test_the_default_stays_while_the_lead_is_not_clear() -> None:
    default = confirmed(DEFAULT, 0.50, 0.60, 0.70)
    noisy = confirmed(A, 0.60, 0.55, 0.83)  # differences 0.1, -0.05, 0.13: mean 0.06
    found = compare([default, noisy], validation_share=0.05)
    assert found is not None
    assert found.paired.standard_error < found.paired.difference < found.paired.needed
    assert winner([default, noisy], validation_share=0.05) is default


def test_the_leader_wins_by_a_clear_lead() -> None:
    default = confirmed(DEFAULT, 0.50, 0.60, 0.70)
    better = confirmed(A, 0.53, 0.64, 0.75)
    assert winner([default, better], validation_share=0.25) is better


def test_the_fewer_the_draws_the_more_standard_errors_a_lead_must_have() -> None:
    default, better = confirmed(DEFAULT, 0.5, 0.6, 0.7), confirmed(A, 0.53, 0.64, 0.75)
    two = [confirmed(DEFAULT, 0.5, 0.6), confirmed(A, 0.53, 0.64)]
    needed = []
    for candidates_ in (two, [default, better], [default, better, confirmed(B, 0.5, 0.5, 0.5)]):
        found = compare(candidates_, validation_share=0.25)
        assert found is not None
        needed.append(found.paired.needed / found.paired.standard_error)
    assert needed == pytest.approx([3.895, 2.189, 1.723], abs=1e-3)  # Student's t at 0.92


def test_a_lucky_agreement_of_three_draws_is_tempered_by_the_other_challengers() -> None:
    default = confirmed(DEFAULT, 0.50, 0.60, 0.70)
    even = confirmed(A, 0.51, 0.61, 0.71)  # differences that agree to the digit
    assert winner([default, even], validation_share=0.25) is even
    noisy = confirmed(B, 0.45, 0.64, 0.67)  # differences -0.05, 0.04, -0.03
    assert winner([default, even, noisy], validation_share=0.25) is default


def broken(parameters: dict[str, float], on: int, *scores: float) -> Confirmed:
    """A candidate that collapsed on replicate `on`."""
    scored = confirmed(parameters, *scores)
    return Confirmed(parameters=parameters, scores=scored.scores, broken=frozenset({on}))


def test_a_challenger_that_collapsed_on_a_draw_neither_wins_nor_hides_a_clear_lead() -> None:
    default, better = confirmed(DEFAULT, 0.50, 0.60, 0.70), confirmed(A, 0.53, 0.64, 0.75)
    wild = broken(B, 2, 0.72, 0.16, 0.91)
    assert winner([default, better, wild], validation_share=0.25) is better
    assert winner([default, wild], validation_share=0.25) is default


def test_a_default_that_collapsed_on_a_draw_gives_way_to_one_that_did_not() -> None:
    default, steady = broken(DEFAULT, 2, 0.70, 0.16, 0.70), confirmed(A, 0.71, 0.72, 0.71)
    assert winner([default, steady], validation_share=0.25) is steady
    diverged = Confirmed(parameters=DEFAULT, scores={1: 0.7}, broken=frozenset({2, 3}))
    assert winner([diverged, steady], validation_share=0.25) is steady


def test_a_default_that_collapsed_on_a_draw_stays_before_one_that_is_clearly_worse() -> None:
    default, worse = broken(DEFAULT, 2, 0.70, 0.16, 0.70), confirmed(A, 0.50, 0.51, 0.50)
    assert winner([default, worse], validation_share=0.25) is default


def test_a_leader_equal_to_the_default_does_not_win() -> None:
    default = confirmed(DEFAULT, 0.5, 0.5)
    assert winner([default, confirmed(A, 0.5, 0.5)], validation_share=0.25) is default


def test_without_scores_of_the_default_the_best_challenger_wins() -> None:
    default = Confirmed(parameters=DEFAULT, scores={})
    best = confirmed(B, 0.6, 0.6)
    assert winner([default, confirmed(A, 0.5, 0.5), best], validation_share=0.25) is best


def test_without_a_challenger_the_default_wins() -> None:
    default = confirmed(DEFAULT, 0.5, 0.5)
    lost = Confirmed(parameters=A, scores={})
    assert winner([default, lost], validation_share=0.25) is default


def test_a_harder_replicate_that_only_some_have_seen_does_not_change_the_leader() -> None:
    default = confirmed(DEFAULT, 0.50, 0.50, 0.30)
    ahead = confirmed(A, 0.60, 0.60, 0.40)  # leads by 0.10 on each; mean 0.533
    behind = confirmed(B, 0.55, 0.55)  # leads by 0.05; mean 0.55
    assert leader([default, ahead, behind]) is ahead


def test_the_standard_error_of_one_replicate_is_unknown() -> None:
    assert confirmed(A, 0.5).standard_error is None
    assert confirmed(A, 0.4, 0.6).standard_error == pytest.approx(0.1)


def test_one_draw_that_did_not_fail_does_not_lead_a_challenger_with_all_of_them() -> None:
    default = confirmed(DEFAULT, 0.5, 0.5, 0.5)
    lucky, steady = confirmed(A, 0.7), confirmed(B, 0.6, 0.61, 0.6)
    assert leader([default, lucky, steady]) is steady
    assert winner([default, lucky, steady], validation_share=0.25) is steady


def test_the_standard_error_counts_the_rows_that_draws_share() -> None:
    # Differences 0.02, 0.04, 0.06: mean 0.04, variance 0.0004; Nadeau and Bengio with k = 3 and
    # n_validation / n_train = 0.25 give 0.0004 (1/3 + 1/4).
    paired = paired_difference([0.52, 0.64, 0.76], [0.50, 0.60, 0.70], validation_share=0.25)
    assert paired.difference == pytest.approx(0.04)
    assert paired.standard_error == pytest.approx(math.sqrt(0.0004 * (1 / 3 + 0.25)))
    # t = 0.04 / 0.015275 = 2.6186 with two degrees of freedom.
    assert paired.probability_of_lead == pytest.approx(0.93995, abs=1e-4)
    assert not paired.is_distinguishable


def test_a_lead_is_told_apart_at_95_percent() -> None:
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


def test_the_smallest_detectable_difference_is_told_apart_four_times_in_five() -> None:
    generator = np.random.default_rng(0)
    paired = paired_difference([0.5, 0.52], [0.5, 0.5], validation_share=0.0)
    scale = paired.smallest_detectable / paired.standard_error
    assert scale == pytest.approx(6.314 + 1.376, abs=1e-3)  # Student's t, one degree of freedom
    # With many degrees of freedom it is the power calculation of a z test.
    many = paired_difference(generator.normal(0, 1, 2000), [0.0] * 2000, validation_share=0.0)
    drawn = generator.normal(many.smallest_detectable, many.standard_error, 20_000)
    told_apart = np.mean(drawn / many.standard_error > 1.645)
    assert told_apart == pytest.approx(0.8, abs=0.01)


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
