"""Who leads, who stays in the confirmation, and who wins, from the scores so far."""

from collections.abc import Sequence

import pytest
from scipy import stats

from tests.tuning.builders import configuration
from tuning.confirmation_rule import required_probability, rule_of
from tuning.standing import Confirmed, Standing

DEFAULT = {"learning_rate": 1e-3}
A, B, C = {"learning_rate": 2e-3}, {"learning_rate": 3e-3}, {"learning_rate": 4e-3}


def standing(
    default: Confirmed,
    *challengers: Confirmed,
    dropped: Sequence[Confirmed] = (),
    share: float = 0.25,
    **search: int,
) -> Standing:
    """Return the standing under the second rule, with at least two replicates for a win."""
    fields = {"confirm_replicates": 2, "confirm_top": 3} | search
    return Standing(
        default=default,
        challengers=challengers,
        dropped=dropped,
        rule=rule_of(configuration(search=fields).search),
        validation_share=share,
    )


def confirmed(parameters: dict[str, float], *scores: float, first: int = 1) -> Confirmed:
    return Confirmed(parameters=parameters, scores=dict(enumerate(scores, start=first)))


def test_only_replicates_that_both_have_are_compared() -> None:
    default = Confirmed(parameters=DEFAULT, scores={1: 0.5, 2: 0.9, 3: 0.6})
    challenger = Confirmed(parameters=A, scores={1: 0.6, 3: 0.8, 4: 0.1})
    found = standing(default, challenger).compare()
    assert found is not None
    assert found.shared == [1, 3]
    assert found.means == pytest.approx((0.7, 0.55))
    assert found.paired.difference == pytest.approx(0.15)
    assert found.paired.degrees_of_freedom == 1


def test_one_shared_replicate_is_too_few_to_compare() -> None:
    one = Confirmed(parameters=A, scores={1: 0.9})
    assert standing(confirmed(DEFAULT, 0.5, 0.5), one).compare() is None


def test_the_default_stays_while_the_lead_is_not_clear() -> None:
    default = confirmed(DEFAULT, 0.50, 0.60, 0.70)
    noisy = confirmed(A, 0.60, 0.55, 0.83)  # differences 0.1, -0.05, 0.13: mean 0.06
    compared = standing(default, noisy, share=0.05)
    found = compared.compare()
    assert found is not None
    assert found.paired.needed is not None
    assert found.paired.standard_error < found.paired.difference < found.paired.needed
    assert compared.winner() is default


def test_the_leader_wins_by_a_clear_lead() -> None:
    default = confirmed(DEFAULT, 0.50, 0.60, 0.70)
    better = confirmed(A, 0.53, 0.64, 0.75)
    assert standing(default, better).winner() is better


def needed_errors(compared: Standing) -> float:
    """Return how many standard errors a lead must have."""
    found = compared.compare()
    assert found is not None
    assert found.paired.needed is not None
    return found.paired.needed / found.paired.standard_error


def test_the_fewer_the_replicates_the_more_standard_errors_a_lead_must_have() -> None:
    default, better = confirmed(DEFAULT, 0.5, 0.6, 0.7), confirmed(A, 0.53, 0.64, 0.75)
    two = confirmed(DEFAULT, 0.5, 0.6), confirmed(A, 0.53, 0.64)
    three, more = (default, better), (default, better, confirmed(B, 0.5, 0.5, 0.5))
    needed = [needed_errors(standing(*one, decision_rule=1)) for one in (two, three, more)]
    assert needed == pytest.approx([3.895, 2.189, 1.723], abs=1e-3)  # Student's t at 0.92


def test_a_lead_must_be_clearer_the_more_comparisons_are_to_come() -> None:
    default, better = confirmed(DEFAULT, 0.5, 0.6, 0.7), confirmed(A, 0.53, 0.64, 0.75)
    needed = [
        needed_errors(standing(default, better, confirm_replicates=3, confirm_max_replicates=last))
        for last in (3, 4, 5)
    ]
    quantiles = [stats.t.ppf(required_probability(3, first=3, last=last), 2) for last in (3, 4, 5)]
    assert needed == pytest.approx(quantiles)  # Student's t, two degrees of freedom
    assert needed == sorted(needed)


def test_nobody_wins_on_fewer_replicates_than_allowed_however_far_ahead() -> None:
    default, far = confirmed(DEFAULT, 0.5, 0.51), confirmed(A, 0.9, 0.91)
    compared = standing(default, far, confirm_replicates=3)
    found = compared.compare()
    assert found is not None
    assert found.paired.needed is None
    assert not found.paired.is_clear
    assert compared.winner() is default


def test_a_failed_replicate_does_not_count_towards_the_fewest() -> None:
    default = Confirmed(parameters=DEFAULT, scores={1: 0.5, 3: 0.51})
    far = confirmed(A, 0.9, 0.9, 0.91)
    assert standing(default, far, confirm_replicates=3).winner() is default
    assert standing(confirmed(DEFAULT, 0.5, 0.5, 0.51), far, confirm_replicates=3).winner() is far


def test_a_lucky_agreement_of_three_replicates_is_tempered_by_the_other_challengers() -> None:
    default = confirmed(DEFAULT, 0.50, 0.60, 0.70)
    even = confirmed(A, 0.51, 0.61, 0.71)  # differences that agree to the digit
    assert standing(default, even).winner() is even
    noisy = confirmed(B, 0.45, 0.64, 0.67)  # differences -0.05, 0.04, -0.03
    assert standing(default, even, noisy).winner() is default


def broken(parameters: dict[str, float], on: int, *scores: float) -> Confirmed:
    """A candidate that collapsed on replicate `on`."""
    scored = confirmed(parameters, *scores)
    return Confirmed(parameters=parameters, scores=scored.scores, broken=frozenset({on}))


def test_a_challenger_that_collapsed_on_a_replicate_neither_wins_nor_hides_a_clear_lead() -> None:
    default, better = confirmed(DEFAULT, 0.50, 0.60, 0.70), confirmed(A, 0.53, 0.64, 0.75)
    wild = broken(B, 2, 0.72, 0.16, 0.91)
    assert standing(default, better, wild).winner() is better
    assert standing(default, wild).winner() is default


def test_a_default_that_collapsed_on_a_replicate_gives_way_to_one_that_did_not() -> None:
    default, steady = broken(DEFAULT, 2, 0.70, 0.16, 0.70), confirmed(A, 0.71, 0.72, 0.71)
    assert standing(default, steady).winner() is steady
    diverged = Confirmed(parameters=DEFAULT, scores={1: 0.7}, broken=frozenset({2, 3}))
    assert standing(diverged, steady).winner() is steady


def test_a_default_that_collapsed_on_a_replicate_stays_before_one_that_is_clearly_worse() -> None:
    default, worse = broken(DEFAULT, 2, 0.70, 0.16, 0.70), confirmed(A, 0.50, 0.51, 0.50)
    assert standing(default, worse).winner() is default


def test_a_leader_equal_to_the_default_does_not_win() -> None:
    default = confirmed(DEFAULT, 0.5, 0.5)
    assert standing(default, confirmed(A, 0.5, 0.5)).winner() is default


def test_without_scores_of_the_default_the_best_challenger_wins() -> None:
    default = Confirmed(parameters=DEFAULT, scores={})
    best = confirmed(B, 0.6, 0.6)
    assert standing(default, confirmed(A, 0.5, 0.5), best).winner() is best


def test_without_a_challenger_the_default_wins() -> None:
    default = confirmed(DEFAULT, 0.5, 0.5)
    lost = Confirmed(parameters=A, scores={})
    assert standing(default, lost).winner() is default


def test_a_harder_replicate_that_only_some_have_seen_does_not_change_the_leader() -> None:
    default = confirmed(DEFAULT, 0.50, 0.50, 0.30)
    ahead = confirmed(A, 0.60, 0.60, 0.40)  # leads by 0.10 on each; mean 0.533
    behind = confirmed(B, 0.55, 0.55)  # leads by 0.05; mean 0.55
    assert standing(default, ahead, behind).leader is ahead


def test_the_standard_error_of_one_replicate_is_unknown() -> None:
    assert confirmed(A, 0.5).standard_error is None
    assert confirmed(A, 0.4, 0.6).standard_error == pytest.approx(0.1)


def test_one_replicate_that_did_not_fail_does_not_beat_a_challenger_with_all_of_them() -> None:
    default = confirmed(DEFAULT, 0.5, 0.5, 0.5)
    lucky, steady = confirmed(A, 0.7), confirmed(B, 0.6, 0.61, 0.6)
    assert standing(default, lucky, steady).leader is steady
    assert standing(default, lucky, steady).winner() is steady


def names(challengers: Sequence[Confirmed] | None) -> list[dict[str, float]]:
    assert challengers is not None
    return [one.parameters for one in challengers]  # type: ignore[misc]


def three_after_one() -> Standing:
    return standing(
        confirmed(DEFAULT, 0.5), confirmed(A, 0.6), confirmed(B, 0.55), confirmed(C, 0.7)
    )


def test_after_each_replicate_the_challenger_furthest_behind_is_dropped() -> None:
    assert names(three_after_one().next_round(1, last=5)) == [C, A]
    two = standing(
        confirmed(DEFAULT, 0.5, 0.5),
        confirmed(A, 0.6, 0.6),
        confirmed(C, 0.7, 0.4),
        dropped=[confirmed(B, 0.55)],
    )
    assert names(two.next_round(2, last=5)) == [A]


def test_the_last_challenger_is_not_dropped() -> None:
    alone = standing(confirmed(DEFAULT, 0.5), confirmed(A, 0.3), confirm_top=1)
    assert names(alone.next_round(1, last=5)) == [A]


def test_of_equal_leads_the_finalist_with_the_better_search_score_stays() -> None:
    equal = standing(
        confirmed(DEFAULT, 0.5), confirmed(B, 0.6), confirmed(A, 0.6), confirmed(C, 0.6)
    )
    assert names(equal.by_lead()) == [B, A, C]
    assert names(equal.next_round(1, last=5)) == [B, A]


def test_a_challenger_without_a_score_is_dropped_before_one_that_collapsed() -> None:
    default, steady = confirmed(DEFAULT, 0.5, 0.5), confirmed(C, 0.3, 0.3)
    failed = Confirmed(parameters=A, scores={})
    compared = standing(default, failed, broken(B, 1, 0.16, 0.9), steady)
    assert names(compared.by_lead()) == [C, B, A]


def test_one_that_collapsed_on_its_only_replicate_is_dropped_before_one_that_failed() -> None:
    # The one that failed can still win; the other one cannot.
    failed = Confirmed(parameters=A, scores={})
    compared = standing(confirmed(DEFAULT, 0.5), broken(B, 1, 0.16), failed, confirmed(C, 0.3))
    assert names(compared.next_round(1, last=5)) == [C, A]


def test_a_dropped_challenger_neither_leads_nor_wins() -> None:
    dropped = confirmed(C, 0.9, 0.9)
    compared = standing(confirmed(DEFAULT, 0.5, 0.5), confirmed(A, 0.6, 0.6), dropped=[dropped])
    assert compared.leader is not dropped
    assert compared.winner().parameters == A


def test_dropped_challengers_still_steady_the_variance() -> None:
    default, ahead = confirmed(DEFAULT, 0.5, 0.5, 0.5), confirmed(A, 0.6, 0.61, 0.62)
    alone = standing(default, ahead).compare()
    steadied = standing(default, ahead, dropped=[confirmed(B, 0.5, 0.6)]).compare()
    once = standing(default, ahead, dropped=[confirmed(B, 0.5)]).compare()
    assert alone is not None
    assert steadied is not None
    assert alone == once  # a single difference has no variance
    assert steadied.paired.degrees_of_freedom == alone.paired.degrees_of_freedom + 1
    assert steadied.paired.variance > alone.paired.variance


def test_no_further_replicate_after_the_last_one() -> None:
    assert three_after_one().next_round(1, last=1) is None


def test_no_further_replicate_if_no_challenger_can_win() -> None:
    default = confirmed(DEFAULT, 0.5, 0.5)
    behind = [confirmed(A, 0.4, 0.41), confirmed(B, 0.3, 0.31)]
    assert standing(default, *behind).next_round(2, last=5) is None
    failed = [Confirmed(parameters=one, scores={}) for one in (A, B)]
    assert standing(default, *failed).next_round(2, last=5) is None
    assert standing(default, broken(A, 2, 0.9, 0.1)).next_round(2, last=5) is None


def test_one_replicate_is_never_enough_to_end() -> None:
    behind = standing(confirmed(DEFAULT, 0.5), confirmed(A, 0.1), confirmed(B, 0.2))
    assert behind.next_round(1, last=5) is not None


def test_where_the_default_collapsed_the_leader_still_needs_the_fewest_replicates() -> None:
    # Without a lead it would replace the default, which collapsed; a win by a lead is out of reach.
    default, other = broken(DEFAULT, 1, 0.16, 0.5, 0.6), confirmed(A, 0.5, 0.47, 0.59)
    assert standing(default, other, confirm_replicates=4).next_round(3, last=5) is not None
    enough = standing(default, other, confirm_replicates=3)
    assert enough.next_round(3, last=5) is None
    assert enough.winner() is other


def test_the_default_alone_is_trained_on_all_its_replicates() -> None:
    alone = standing(confirmed(DEFAULT, 0.5, 0.5))
    assert names(alone.next_round(2, last=3)) == []
    assert alone.next_round(3, last=3) is None
    assert alone.winner() is alone.default


def test_under_the_first_rule_a_challenger_that_was_left_out_may_lead_again() -> None:
    ahead, other = confirmed(A, 0.60, 0.60, 0.61, 0.30), confirmed(B, 0.57, 0.58, 0.58)
    compared = standing(
        *(confirmed(DEFAULT, 0.5, 0.52, 0.51, 0.5), ahead, other),
        decision_rule=1,
        confirm_replicates=3,
    )
    assert compared.leader is other
