"""Confirmations through the policy: who is trained on which replicate, and who wins."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from results.trial_states import Status
from tests.tuning.builders import at_last_rung, completed, configuration, evaluation, policy, trial
from tests.tuning.deciding import (
    Score,
    confirmation_of,
    cut_short,
    end,
    report,
    run_to_end,
    start,
    starting,
)
from tuning.confirmation import fresh_seed, split_seed
from tuning.policy import Policy
from tuning.record import choose, describe_confirmation
from tuning.space import Parameters
from tuning.trials import Ending, NoTrial, Phase, Trial

DEFAULT: Parameters = {"learning_rate": 5e-4, "batch_size": 16}
A: Parameters = {"learning_rate": 2e-3, "batch_size": 16}
B: Parameters = {"learning_rate": 3e-3, "batch_size": 32}
C: Parameters = {"learning_rate": 4e-3, "batch_size": 32}
NOISE = (0.0, 0.02, -0.03, 0.01, -0.02, 0.03)
UNCLEAR = (0.0, 0.05, -0.01, 0.04, 0.035, -0.01)
"""Leads on each replicate that may become clear until the last one."""


def searched(*, more: Iterable[Trial] = (), **search: Any) -> Policy:
    """A policy whose search has ended: the default, A and B at the end, C at the first rung."""
    config = configuration(search={"trials": 4, **search})
    known: dict[str, Any] = {"config": config}
    at_end = completed if config.search.decision_rule == 1 else at_last_rung
    early: dict[str, Any] = {"status": "stopped", "stopped_by": "scheduler", "parameters": C}
    trials = [
        at_end(0, 0.5, parameters=DEFAULT, **known),
        at_end(1, 0.7, parameters=A, **known),
        at_end(2, 0.6, parameters=B, **known),
        trial(3, (250, 0.99), (500, 0.99), **known, **early),
    ]
    return policy([*trials, *more], config=config)


def confirmed(score: Score, *, more: Iterable[Trial] = (), **search: Any) -> Policy:
    """The same, its confirmation run to its end, one trial after the other."""
    whole = searched(more=more, **search)
    run_to_end(whole, score)
    assert whole.phase == Phase.FINISHED
    return whole


def replicates_of(whole: Policy) -> dict[int, list[Parameters]]:
    """Return the configurations that were trained on each replicate, in order of their ids."""
    found: dict[int, list[Parameters]] = {}
    for one in whole.store.confirmations:
        found.setdefault(one.replicate, []).append(one.parameters)
    return found


def clear_lead(parameters: Parameters, replicate: int) -> float:
    quality = {5e-4: 0.5, 2e-3: 0.7, 3e-3: 0.6, 4e-3: 0.55}[parameters["learning_rate"]]
    return quality + NOISE[replicate] / 100


def unclear(parameters: Parameters, replicate: int) -> float:
    """All challengers lead alike, which never becomes clear."""
    return 0.5 + (0.0 if parameters == DEFAULT else UNCLEAR[replicate])


def behind(parameters: Parameters, replicate: int) -> float:
    return 1.2 - clear_lead(parameters, replicate)


def test_all_finalists_are_trained_on_the_first_replicate_and_one_is_dropped_after_each() -> None:
    whole = confirmed(clear_lead, confirm_top=3)
    assert replicates_of(whole) == {1: [DEFAULT, A, B, C], 2: [DEFAULT, A, B], 3: [DEFAULT, A]}
    assert {t.source for t in whole.store.confirmations} == {"confirm"}
    assert {t.examples for t in whole.store.confirmations} == {3000}
    assert choose(whole) == A


def test_finalists_of_the_highest_rung_come_first() -> None:
    assert replicates_of(confirmed(clear_lead, confirm_top=2))[1] == [DEFAULT, A, B]


def test_who_is_dropped_depends_on_the_replicates_and_not_on_the_search_s_score() -> None:
    def reversed_lead(parameters: Parameters, replicate: int) -> float:
        other = {2e-3: B, 3e-3: A}.get(parameters["learning_rate"], parameters)
        return clear_lead(other, replicate)

    whole = confirmed(reversed_lead, confirm_top=2)
    assert replicates_of(whole) == {1: [DEFAULT, A, B], 2: [DEFAULT, B], 3: [DEFAULT, B]}
    assert choose(whole) == B


def test_a_dropped_finalist_does_not_return_though_the_others_fall_behind_it() -> None:
    def falling(parameters: Parameters, replicate: int) -> float:
        quality = {5e-4: 0.5, 2e-3: 0.56, 3e-3: 0.54, 4e-3: 0.53}[parameters["learning_rate"]]
        return (
            quality
            + NOISE[replicate] * (parameters == A)
            - 0.1 * (parameters == A and replicate == 3)
        )

    whole = confirmed(falling, confirm_top=3)
    found = replicates_of(whole)
    assert [found[k] for k in (2, 3)] == [[DEFAULT, A, B], [DEFAULT, A]]
    leader = confirmation_of(whole).standing().leader
    assert leader is not None
    assert leader.parameters == A
    assert leader.mean < 0.54  # that of B, which was dropped


def test_of_equal_finalists_those_with_the_better_search_score_stay() -> None:
    found = replicates_of(confirmed(unclear, confirm_top=3))
    assert [found[k] for k in (1, 2, 3)] == [[DEFAULT, A, B, C], [DEFAULT, A, B], [DEFAULT, A]]


def test_a_replicate_is_shared_by_all_candidates_and_unlike_the_search_and_the_others() -> None:
    whole = confirmed(clear_lead, confirm_top=1, confirm_replicates=2)
    replicates = {
        k: {(t.training.seed, t.split_seed) for t in whole.store.confirmations if t.replicate == k}
        for k in (1, 2)
    }
    assert [len(seeds) for seeds in replicates.values()] == [1, 1]
    config = whole.configuration
    everything = {seed for pair in replicates[1] | replicates[2] for seed in pair}
    assert not everything & {config.training.seed, config.data.split_seed}
    assert replicates[1] != replicates[2]


def test_the_searched_values_are_trained_with_the_replicate_s_seed() -> None:
    whole = confirmed(clear_lead, confirm_top=1, confirm_replicates=2)
    first, config = whole.store.confirmations[1], whole.configuration
    assert first.training.learning_rate == A["learning_rate"]
    assert first.training.seed == fresh_seed(config.training.seed, 1)
    assert first.split_seed == split_seed(config, 1)
    assert first.is_never_stopped


def test_ids_continue_from_the_search_s_and_those_of_dropped_finalists_stay_unused() -> None:
    whole = confirmed(clear_lead, confirm_top=2)
    ids = [t.trial_id for t in whole.store.confirmations]
    assert ids == ["t0004", "t0005", "t0006", "t0007", "t0008", "t0010", "t0011"]


def test_ids_and_seeds_do_not_depend_on_the_order_of_events() -> None:
    known = {}
    for num_at_once in (1, 2, 3, 8):
        whole = searched(confirm_top=3)
        while started := list(islice(starting(whole), num_at_once)):
            for one in reversed(started):
                end(whole, one, unclear)
        for one in whole.store.confirmations:
            number = 4 + (one.replicate - 1) * 4 + [DEFAULT, A, B, C].index(one.parameters)
            assert one.trial_id == f"t{number:04d}"
            assert known.setdefault(one.trial_id, one.training) == one.training


def test_a_clear_lead_ends_it_after_the_fewest_replicates_and_not_before() -> None:
    for fewest in (2, 3, 4):
        whole = confirmed(clear_lead, confirm_replicates=fewest, confirm_max_replicates=5)
        assert confirmation_of(whole).num_replicates == fewest
        assert choose(whole) == A


def test_it_ends_after_two_replicates_when_a_win_is_out_of_reach() -> None:
    whole = confirmed(behind, confirm_replicates=3, confirm_max_replicates=5)
    assert confirmation_of(whole).num_replicates == 2
    assert choose(whole) == DEFAULT


def test_an_undecided_confirmation_ends_at_the_most_replicates_and_the_default_stays() -> None:
    whole = confirmed(unclear, confirm_top=2, confirm_max_replicates=5)
    assert confirmation_of(whole).num_replicates == 5
    assert [len(found) for found in replicates_of(whole).values()] == [3, 2, 2, 2, 2]
    assert choose(whole) == DEFAULT


def test_the_search_s_own_scores_never_enter_the_mean() -> None:
    whole = confirmed(clear_lead, confirm_top=1, confirm_replicates=2)
    (challenger,) = confirmation_of(whole).standing().challengers
    assert challenger.mean == pytest.approx((clear_lead(A, 1) + clear_lead(A, 2)) / 2)
    assert challenger.scores.keys() == {1, 2}


def test_a_candidate_that_fails_its_confirmations_does_not_win() -> None:
    def score(parameters: Parameters, replicate: int) -> float | None:
        return None if parameters == A else clear_lead(parameters, replicate)

    whole = confirmed(score, confirm_top=2, confirm_replicates=2)
    assert choose(whole) == B
    failed = describe_confirmation(confirmation_of(whole))["candidates"][1]
    assert (failed["score"], failed["mean"]) == ([None, None], None)
    assert failed["f1_macro"] == [None, None]


def test_a_finalist_that_failed_once_is_dropped_before_those_with_scores() -> None:
    def score(parameters: Parameters, replicate: int) -> float | None:
        return None if (parameters, replicate) == (A, 1) else clear_lead(parameters, replicate)

    found = replicates_of(confirmed(score, confirm_top=3))
    assert [found[k] for k in (2, 3)] == [[DEFAULT, B, C], [DEFAULT, B]]


def test_a_leader_that_fails_a_replicate_needs_one_more_to_win() -> None:
    def score(parameters: Parameters, replicate: int) -> float | None:
        return None if (parameters, replicate) == (A, 3) else clear_lead(parameters, replicate)

    whole = confirmed(score, confirm_top=1)
    assert confirmation_of(whole).num_replicates == 4
    assert choose(whole) == A
    assert describe_confirmation(confirmation_of(whole))["winner_beats_default"]["draws"] == 3


def test_a_replicate_that_the_default_failed_is_not_compared() -> None:
    def score(parameters: Parameters, replicate: int) -> float | None:
        return (
            None if (parameters, replicate) == (DEFAULT, 1) else clear_lead(parameters, replicate)
        )

    whole = confirmed(score, confirm_top=1)
    assert confirmation_of(whole).num_replicates == 4
    assert choose(whole) == A


def test_a_default_that_never_trains_gives_way_to_the_best_challenger() -> None:
    def score(parameters: Parameters, replicate: int) -> float | None:
        return None if parameters == DEFAULT else clear_lead(parameters, replicate)

    whole = confirmed(score, confirm_top=2)
    assert whole.confirmation_failed_by == ""
    assert choose(whole) == A


def test_a_leader_that_collapses_is_passed_by_one_that_does_not() -> None:
    whole = searched(confirm_top=2)
    run_to_end(whole, clear_lead, collapsed=frozenset({5}))  # A's first
    assert replicates_of(whole)[2] == [DEFAULT, B]
    assert choose(whole) == B


def test_where_the_last_challenger_collapses_nobody_can_win_and_nothing_more_is_trained() -> None:
    whole = searched(confirm_top=1)
    run_to_end(whole, clear_lead, collapsed=frozenset({7}))  # A's second
    assert confirmation_of(whole).num_replicates == 2
    assert choose(whole) == DEFAULT


def test_a_finalist_that_diverges_is_dropped() -> None:
    whole = searched(confirm_top=2)
    first = list(islice(starting(whole), 3))
    report(whole, first[1], evaluation(500, 0.1, eval_loss=float("nan")))
    whole.ended(first[1].trial_id, Ending(status=Status.DIVERGED))
    for one in (first[0], first[2]):
        end(whole, one, clear_lead)
    run_to_end(whole, clear_lead)
    assert replicates_of(whole)[2] == [DEFAULT, B]
    assert choose(whole) == B


def test_confirmations_of_an_earlier_start_are_not_trained_again() -> None:
    search = {"confirm_top": 1, "confirm_replicates": 3, "confirm_max_replicates": 5}
    known = confirmed(unclear, **search).store.confirmations[:-1]
    again = confirmed(unclear, more=known, **search)
    ran = [t for t in again.store.confirmations if t not in known]
    assert [(t.parameters, t.replicate) for t in ran] == [(A, 5)]
    assert confirmation_of(again).num_replicates == 5


def test_an_interrupted_confirmation_is_trained_again_under_its_id() -> None:
    search = {"confirm_top": 1, "confirm_replicates": 2, "confirm_max_replicates": 2}
    known = confirmed(clear_lead, **search).store.confirmations
    known[1] = replace(known[1], status=Status.RUNNING, evaluations=[], seconds=None)
    again = searched(more=known, **search)
    assert start(again).trial_id == "t0005"
    assert again.next() is NoTrial.WAIT  # nothing else is


def test_what_an_earlier_start_left_running_for_another_candidate_is_closed() -> None:
    other = {**A, "batch_size": 32}
    left = trial(4, source="confirm", parameters=other, replicate=1)
    whole = confirmed(clear_lead, more=[left], confirm_top=1, confirm_replicates=2)
    assert (left.status, left.stopped_by) == ("stopped", "end of search")
    assert left.evaluations == []
    assert [t.replicate for t in whole.store.confirmations if t is not left] == [1, 1, 2, 2]


def test_what_an_earlier_start_left_running_on_a_replicate_not_entered_is_closed() -> None:
    left = trial(99, (250, 0.3), source="confirm", parameters=B, replicate=3)
    whole = confirmed(clear_lead, more=[left], confirm_top=2, confirm_replicates=2)
    assert confirmation_of(whole).num_replicates == 2
    assert (left.status, left.stopped_by) == ("stopped", "end of search")
    assert left in whole.take_concluded()


def test_more_trials_after_a_completed_search_are_confirmed_beside_the_known_ones() -> None:
    done = confirmed(clear_lead, confirm_top=2)
    config = configuration(search={"trials": 5, "confirm_top": 2})
    again = policy(list(done.store), config=config)
    new = start(again)
    assert new.trial_id == "t0012"  # after those of the confirmation
    end(again, new, lambda *_: 0.9)
    ran = [one for one in starting(again) if end(again, one, lambda *_: 0.9) is None]
    assert {one.parameters["learning_rate"] for one in ran} == {new.parameters["learning_rate"]}
    assert [one.replicate for one in ran] == [1, 2, 3]
    assert confirmation_of(again).chosen == [DEFAULT, new.parameters, A]
    assert choose(again) == new.parameters


def test_without_a_challenger_the_default_alone_is_trained_which_has_no_score_otherwise() -> None:
    config = configuration(search={"trials": 2, "confirm_replicates": 3})
    failed = trial(1, status="failed", config=config, parameters=A)
    alone = policy([at_last_rung(0, 0.5, config=config), failed], config=config)
    run_to_end(alone, clear_lead)
    assert replicates_of(alone) == {1: [DEFAULT], 2: [DEFAULT], 3: [DEFAULT]}
    assert confirmation_of(alone).standing().compare() is None
    assert choose(alone) == DEFAULT


@pytest.mark.parametrize("search", [{"trials": 1}, {"trials": 2, "scheduler": "none"}])
def test_a_default_with_a_score_at_the_full_budget_is_not_confirmed_alone(
    search: dict[str, Any],
) -> None:
    config = configuration(search=search)
    known = [completed(0, 0.5, config=config), trial(1, status="failed", parameters=A)]
    alone = policy(known[: config.search.trials], config=config)
    assert alone.next() is NoTrial.DONE
    assert alone.store.confirmations == []
    assert choose(alone) == DEFAULT


def test_a_confirmation_that_is_resumed_ends_as_the_unbroken_one() -> None:
    search = {"confirm_top": 3, "confirm_replicates": 3, "confirm_max_replicates": 5}
    whole = confirmed(unclear, **search)
    trials = list(whole.store)
    expected = [(t.trial_id, t.parameters, t.replicate) for t in trials]
    assert confirmation_of(whole).num_replicates == 5
    for known in range(5, len(trials)):
        again = confirmed(unclear, more=trials[4:known], **search)
        assert [(t.trial_id, t.parameters, t.replicate) for t in again.store] == expected
        assert describe_confirmation(confirmation_of(again)) == describe_confirmation(
            confirmation_of(whole)
        )


def test_nothing_further_is_started_once_the_time_budget_cut_a_replicate() -> None:
    search = {"confirm_top": 1, "confirm_replicates": 3, "confirm_max_replicates": 5}
    search |= {"time_budget_s": 100}

    def without_one(parameters: Parameters, replicate: int) -> float | None:
        return None if (parameters, replicate) == (A, 3) else unclear(parameters, replicate)

    cut = searched(**search)
    assert len(cut_short(cut, without_one)) == 10  # some of them ahead of time
    (late,) = (t for t in cut.store.confirmations if (t.parameters, t.replicate) == (A, 3))
    assert (late.status, late.stopped_by) == ("stopped", "end of search")
    assert (cut.next(), cut.phase) == (NoTrial.DONE, Phase.FINISHED)
    record = describe_confirmation(confirmation_of(cut))
    assert len(record["replicates"]) == 3
    assert record["winner_beats_default"]["draws"] == 2
    assert choose(cut) == DEFAULT
    # Continued: nothing is left to train, so nothing is started.
    again = searched(more=cut.store.confirmations, **search)
    assert (again.next(), len(again.store)) == (NoTrial.DONE, 4 + 10)


def test_a_replicate_on_which_the_default_collapsed_is_recorded_and_not_compared() -> None:
    whole = searched(confirm_top=1, confirm_replicates=3)

    def score(parameters: Parameters, replicate: int) -> float:
        is_collapsed = (parameters, replicate) == (DEFAULT, 2)
        return 0.16 if is_collapsed else clear_lead(parameters, replicate)

    run_to_end(whole, score, collapsed=frozenset({6}))
    assert whole.store.confirmations[2].status == "collapsed"
    record = describe_confirmation(confirmation_of(whole))
    assert record["candidates"][0]["score"][1] == 0.16
    assert record["candidates"][0]["f1_macro"][1] == 0.16
    assert record["candidates"][0]["collapsed_or_diverged"] == 1
    assert record["winner_beats_default"]["draws"] == confirmation_of(whole).num_replicates - 1
    assert "collapsed or diverged on 1 of the replicates" in record["verdict"]
    assert choose(whole) == A
