"""When a challenger wins, when a win is out of reach, and who is dropped: the two rules."""

import numpy as np
import pytest
from scipy import stats

from tests.tuning.builders import configuration
from tuning import confirmation_rule
from tuning.config import SearchConfig
from tuning.confirmation_rule import (
    LEVEL,
    OUT_OF_REACH,
    AdditionalReplicates,
    OneDroppedEach,
    most_trainings,
    required_probability,
    rule_of,
)
from tuning.paired_comparison import PairedDifference, paired_difference


def search(**changes: int) -> SearchConfig:
    return configuration(search=changes).search


def rule(**changes: int) -> OneDroppedEach:
    return OneDroppedEach(search=search(**changes))


def thresholds(first: int, last: int) -> list[float]:
    return [required_probability(k, first=first, last=last) for k in range(first, last + 1)]


def share_that_passes(first: int, last: int, *, num: int = 400_000) -> float:
    """Simulate challengers without a lead; return how many pass a threshold at any comparison."""
    sums = np.random.default_rng(3).standard_normal((num, last)).cumsum(axis=1)
    counts = np.arange(first, last + 1)
    leads = sums[:, first - 1 :] / np.sqrt(counts)
    return float(np.mean((leads > stats.norm.ppf(thresholds(first, last))).any(axis=1)))


def boundary(level: float, monkeypatch: pytest.MonkeyPatch, *, first: int, last: int) -> float:
    """Return the bound for a sum of normal numbers at another level."""
    monkeypatch.setattr(confirmation_rule, "LEVEL", level)
    return confirmation_rule._boundary.__wrapped__(first, last)


def test_the_thresholds_of_three_to_five_replicates_agree_with_those_found_by_scipy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Roots of scipy's multivariate normal distribution function to a tolerance of 1e-8.
    bound = boundary(0.08, monkeypatch, first=3, last=5)
    found = stats.norm.cdf(bound / np.sqrt([3, 4, 5]))
    assert found == pytest.approx([0.975578, 0.955998, 0.936484], abs=5e-5)


@pytest.mark.parametrize(("first", "last"), [(2, 2), (2, 5), (3, 5), (5, 5), (3, 10), (2, 30)])
def test_a_challenger_without_a_lead_passes_any_threshold_with_the_probability_of_the_level(
    first: int, last: int
) -> None:
    assert share_that_passes(first, last) == pytest.approx(LEVEL, abs=0.002)


@pytest.mark.parametrize(("first", "last"), [(2, 4), (3, 5), (4, 6)])
def test_the_thresholds_agree_with_the_multivariate_normal_distribution(
    first: int, last: int
) -> None:
    counts = np.arange(first, last + 1)
    # Correlation of the means of the first i and of the first j of the same numbers.
    correlation = np.sqrt(np.minimum.outer(counts, counts) / np.maximum.outer(counts, counts))
    bounds = stats.norm.ppf(thresholds(first, last))
    passes_none = stats.multivariate_normal.cdf(
        bounds, cov=correlation, rng=np.random.default_rng(0)
    )
    assert 1 - passes_none == pytest.approx(LEVEL, abs=1e-3)


def test_the_thresholds_are_those_of_o_brien_and_fleming_between_the_comparisons() -> None:
    # Their bounds fall with the square root of the replicates: c sqrt(K / k).
    bounds = stats.norm.ppf(thresholds(2, 6))
    scaled = bounds * np.sqrt(np.arange(2, 7))
    assert scaled == pytest.approx([scaled[0]] * 5)


def test_five_equally_spaced_comparisons_have_the_published_constant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Jennison and Turnbull 2000, Group Sequential Methods, table 2.3: C_B(5, 0.05) = 2.040 for a
    # two-sided test, and thus, but for passing both bounds, 0.025 on one side.
    bound = boundary(0.025, monkeypatch, first=1, last=5)
    assert bound / np.sqrt(5) == pytest.approx(2.040, abs=2e-3)


def test_a_single_comparison_asks_for_the_level_alone() -> None:
    assert thresholds(3, 3) == pytest.approx([1 - LEVEL], abs=1e-4)


def test_early_comparisons_ask_for_more_and_more_comparisons_for_more_at_the_last() -> None:
    falling = thresholds(2, 8)
    assert falling == sorted(falling, reverse=True)
    last = [thresholds(3, k)[-1] for k in range(3, 9)]
    assert last == sorted(last)


def test_nobody_wins_on_fewer_than_the_least_replicates() -> None:
    few = rule(confirm_replicates=4, confirm_max_replicates=6)
    assert [few.required(k) is None for k in (1, 2, 3, 4, 5, 6)] == [True] * 3 + [False] * 3


def test_one_challenger_less_is_trained_on_each_replicate_until_one_is_left() -> None:
    assert [rule(confirm_top=3).num_challengers(k) for k in (1, 2, 3, 4, 5)] == [3, 2, 1, 1, 1]
    assert [rule(confirm_top=1).num_challengers(k) for k in (1, 2)] == [1, 1]


def test_the_most_trainings_are_those_of_the_default_and_of_who_is_left() -> None:
    counted = search(confirm_top=3)
    assert most_trainings(counted, up_to=5) == 4 + 3 + 2 + 2 + 2
    assert most_trainings(counted, up_to=3) == 9
    assert most_trainings(counted, num_finalists=1, up_to=5) == 10  # fewer than confirm_top
    assert most_trainings(counted, num_finalists=0, up_to=3) == 3  # the default alone
    assert most_trainings(search(confirm_replicates=0), up_to=5) == 0


def difference(lead: float, *, num: int, required: float | None, noise: float) -> PairedDifference:
    """A mean lead over replicates whose differences vary by `noise` (standard deviation)."""
    pattern = np.resize([1.0, -1.0], num) - (num % 2) / num
    deviations = noise * pattern / pattern.std(ddof=1)
    return paired_difference(
        (0.5 + lead + deviations).tolist(), [0.5] * num, validation_share=0.1, required=required
    )


def settled(lead: float, *, num: int, noise: float = 0.02) -> bool:
    found = difference(lead, num=num, required=rule().required(num), noise=noise)
    return rule().is_settled(found)


def test_a_clear_lead_ends_the_confirmation_from_the_least_replicates_on() -> None:
    assert not settled(0.2, num=2)
    assert settled(0.2, num=3)


def test_a_win_out_of_reach_ends_it_after_two_replicates() -> None:
    assert settled(-0.1, num=2)
    assert settled(-0.02, num=4)


def test_a_small_lead_that_may_become_clear_needs_further_replicates() -> None:
    assert not settled(0.02, num=2)
    assert not settled(0.02, num=3)
    assert not settled(0.02, num=4)


def test_without_a_comparison_nothing_is_settled() -> None:
    assert not rule().is_settled(None)


def chance_of_a_win(lead: float, *, num: int, last: int) -> tuple[float, float]:
    """Return the computed and the simulated predictive probability of a win."""
    required = required_probability(last, first=3, last=last)
    found = difference(lead, num=num, required=None, noise=0.02)
    generator, more, size = np.random.default_rng(5), last - num, 400_000
    freedom = num - 1
    # The true lead given the replicates so far, then the mean of those to come.
    truth = lead + np.sqrt(found.variance / num) * generator.standard_t(freedom, size)
    error = np.sqrt(found.variance / more) * generator.standard_normal(size)
    mean = (num * lead + more * (truth + error)) / last
    needed = stats.t.ppf(required, freedom + more) * np.sqrt(found.variance * (1 / last + 0.1))
    simulated = float(np.mean(mean > needed))
    return found.probability_of_reaching(required, num_replicates=last), simulated


@pytest.mark.parametrize("num", [3, 4])
@pytest.mark.parametrize("lead", [-0.01, 0.0, 0.01, 0.03])
def test_the_chance_of_a_win_is_about_that_of_simulated_replicates(lead: float, num: int) -> None:
    computed, simulated = chance_of_a_win(lead, num=num, last=5)
    assert computed == pytest.approx(simulated, abs=0.06)


def test_after_the_last_replicate_a_win_is_certain_or_impossible() -> None:
    assert (
        difference(0.1, num=5, required=None, noise=0.02).probability_of_reaching(
            0.936, num_replicates=5
        )
        == 1
    )
    assert (
        difference(0.0, num=5, required=None, noise=0.02).probability_of_reaching(
            0.936, num_replicates=5
        )
        == 0
    )


def test_the_larger_the_lead_the_likelier_a_win() -> None:
    chances = [
        difference(lead, num=2, required=None, noise=0.02).probability_of_reaching(
            0.936, num_replicates=5
        )
        for lead in (-0.05, 0.0, 0.02, 0.05, 0.1)
    ]
    assert chances == sorted(chances)
    assert chances[0] < OUT_OF_REACH < chances[-1]


def test_the_first_rule_trains_all_on_the_first_replicates_and_then_the_leader_alone() -> None:
    older = search(decision_rule=1, confirm_top=3)
    first = rule_of(older)
    assert isinstance(first, AdditionalReplicates)
    assert [first.num_challengers(k) for k in (1, 2, 3, 4, 5)] == [3, 3, 3, 1, 1]
    assert most_trainings(older, up_to=5) == 4 * 3 + 2 * 2


def test_the_first_rule_asks_for_the_same_lead_at_each_comparison() -> None:
    first = rule_of(search(decision_rule=1))
    assert {first.required(k) for k in (2, 3, 4, 5)} == {0.92}
    assert first.first_end == 3


def test_the_first_rule_settles_a_significant_lead_a_negligible_one_and_none_at_all() -> None:
    first = rule_of(search(decision_rule=1))
    assert first.is_settled(None)
    assert first.is_settled(difference(0.1, num=3, required=0.92, noise=0.02))
    assert first.is_settled(difference(-0.1, num=3, required=0.92, noise=0.02))
    assert first.is_settled(difference(0.0, num=3, required=0.92, noise=0.0001))
    assert not first.is_settled(difference(0.01, num=3, required=0.92, noise=0.02))


def test_a_new_search_decides_by_the_second_rule() -> None:
    assert isinstance(rule_of(search()), OneDroppedEach)
