"""Which candidates are confirmed, which one leads, and which one wins."""

import pytest

from tests.tuning.builders import completed, trial
from tuning.confirmation import Confirmed, candidates, compare, leader, ranking, winner

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


def test_the_default_is_confirmed_whatever_its_score() -> None:
    trials = [
        trial(0, status="failed", parameters=DEFAULT),
        completed(1, 0.6, parameters=A),
        completed(2, 0.7, parameters=B),
    ]
    assert candidates(trials, 1) == [DEFAULT, B]
    assert candidates(trials, 5) == [DEFAULT, B, A]


def test_a_configuration_sampled_twice_is_confirmed_once() -> None:
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


def test_the_fewer_the_replicates_the_more_standard_errors_a_lead_must_have() -> None:
    default, better = confirmed(DEFAULT, 0.5, 0.6, 0.7), confirmed(A, 0.53, 0.64, 0.75)
    two = [confirmed(DEFAULT, 0.5, 0.6), confirmed(A, 0.53, 0.64)]
    needed = []
    for candidates_ in (two, [default, better], [default, better, confirmed(B, 0.5, 0.5, 0.5)]):
        found = compare(candidates_, validation_share=0.25)
        assert found is not None
        needed.append(found.paired.needed / found.paired.standard_error)
    assert needed == pytest.approx([3.895, 2.189, 1.723], abs=1e-3)  # Student's t at 0.92


def test_a_lucky_agreement_of_three_replicates_is_tempered_by_the_other_challengers() -> None:
    default = confirmed(DEFAULT, 0.50, 0.60, 0.70)
    even = confirmed(A, 0.51, 0.61, 0.71)  # differences that agree to the digit
    assert winner([default, even], validation_share=0.25) is even
    noisy = confirmed(B, 0.45, 0.64, 0.67)  # differences -0.05, 0.04, -0.03
    assert winner([default, even, noisy], validation_share=0.25) is default


def broken(parameters: dict[str, float], on: int, *scores: float) -> Confirmed:
    """A candidate that collapsed on replicate `on`."""
    scored = confirmed(parameters, *scores)
    return Confirmed(parameters=parameters, scores=scored.scores, broken=frozenset({on}))


def test_a_challenger_that_collapsed_on_a_replicate_neither_wins_nor_hides_a_clear_lead() -> None:
    default, better = confirmed(DEFAULT, 0.50, 0.60, 0.70), confirmed(A, 0.53, 0.64, 0.75)
    wild = broken(B, 2, 0.72, 0.16, 0.91)
    assert winner([default, better, wild], validation_share=0.25) is better
    assert winner([default, wild], validation_share=0.25) is default


def test_a_default_that_collapsed_on_a_replicate_gives_way_to_one_that_did_not() -> None:
    default, steady = broken(DEFAULT, 2, 0.70, 0.16, 0.70), confirmed(A, 0.71, 0.72, 0.71)
    assert winner([default, steady], validation_share=0.25) is steady
    diverged = Confirmed(parameters=DEFAULT, scores={1: 0.7}, broken=frozenset({2, 3}))
    assert winner([diverged, steady], validation_share=0.25) is steady


def test_a_default_that_collapsed_on_a_replicate_stays_before_one_that_is_clearly_worse() -> None:
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


def test_one_replicate_that_did_not_fail_does_not_beat_a_challenger_with_all_of_them() -> None:
    default = confirmed(DEFAULT, 0.5, 0.5, 0.5)
    lucky, steady = confirmed(A, 0.7), confirmed(B, 0.6, 0.61, 0.6)
    assert leader([default, lucky, steady]) is steady
    assert winner([default, lucky, steady], validation_share=0.25) is steady
