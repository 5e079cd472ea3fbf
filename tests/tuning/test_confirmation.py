from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from results.trial_states import Status
from tests.tuning.builders import completed, configuration, policy, trial
from tests.tuning.deciding import Score, confirmation_of, cut_short, end, run_to_end, starting
from tuning.confirmation import fresh_seed, most_confirmations, split_seed
from tuning.policy import Policy
from tuning.record import choose, describe_confirmation
from tuning.space import Parameters
from tuning.trials import NoTrial, Phase, Trial

DEFAULT: Parameters = {"learning_rate": 5e-4, "batch_size": 16}
A: Parameters = {"learning_rate": 2e-3, "batch_size": 16}
B: Parameters = {"learning_rate": 3e-3, "batch_size": 32}
NOISE = (0.0, 0.02, -0.03, 0.01, -0.02, 0.03)


def searched(*, more: Iterable[Trial] = (), **search: Any) -> Policy:
    """A policy whose search has ended: the default, A and B at the full budget, one stopped."""
    config = configuration(search={"trials": 4, **search})
    trials = [
        completed(0, 0.5, config=config, parameters=DEFAULT),
        completed(1, 0.7, config=config, parameters=A),
        completed(2, 0.6, config=config, parameters=B),
        trial(3, (500, 0.99), config=config, status="stopped", parameters={**B, "batch_size": 16}),
    ]
    return policy([*trials, *more], config=config)


def confirmed(score: Score, *, more: Iterable[Trial] = (), **search: Any) -> Policy:
    """The same, its confirmation run to its end."""
    whole = searched(more=more, **search)
    run_to_end(whole, score)
    assert whole.phase == Phase.FINISHED
    return whole


def clear_lead(parameters: Parameters, replicate: int) -> float:
    return {5e-4: 0.5, 2e-3: 0.7, 3e-3: 0.6}[parameters["learning_rate"]] + NOISE[replicate] / 100


def no_lead(parameters: Parameters, replicate: int) -> float:
    sign = 1 if parameters == DEFAULT else -1
    return 0.5 + sign * NOISE[replicate]


def test_default_and_best_are_trained_on_every_first_replicate() -> None:
    ran = confirmed(clear_lead, confirm_top=1, confirm_replicates=3).store.confirmations
    pairs = [(t.parameters["learning_rate"], t.replicate) for t in ran]
    assert pairs == [(lr, k) for k in (1, 2, 3) for lr in (5e-4, 2e-3)]
    assert {t.source for t in ran} == {"confirm"}


def test_a_replicate_is_shared_by_all_candidates_and_unlike_the_search_and_the_others() -> None:
    whole = confirmed(clear_lead, confirm_top=2, confirm_replicates=2)
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


def test_ids_of_confirmations_continue_from_the_search_s() -> None:
    whole = confirmed(clear_lead, confirm_top=1, confirm_replicates=2)
    ids = [t.trial_id for t in whole.store.confirmations]
    assert ids == ["t0004", "t0005", "t0006", "t0007"]


def test_replicates_end_when_leader_and_default_differ_significantly() -> None:
    whole = confirmed(clear_lead, confirm_top=2, confirm_replicates=2, confirm_max_replicates=5)
    confirmation = confirmation_of(whole)
    assert confirmation.num_replicates == 2
    assert len(whole.store.confirmations) == 6
    lead = confirmation.lead()
    assert lead is not None
    assert lead.paired.is_distinguishable


def test_an_undecided_leader_and_default_end_at_the_most_replicates() -> None:
    whole = confirmed(no_lead, confirm_top=2, confirm_replicates=2, confirm_max_replicates=4)
    assert confirmation_of(whole).num_replicates == 4
    late = [t for t in whole.store.confirmations if t.replicate > 2]
    assert len(late) == 4  # two a replicate
    assert [t.parameters for t in late if t.parameters == DEFAULT] == [DEFAULT] * 2


def test_the_search_s_own_scores_never_enter_the_mean() -> None:
    whole = confirmed(clear_lead, confirm_top=1, confirm_replicates=2)
    confirmation = confirmation_of(whole)
    scores = {c.parameters["learning_rate"]: c.mean for c in confirmation.scores()}
    expected = (clear_lead(A, 1) + clear_lead(A, 2)) / 2
    assert scores[2e-3] == pytest.approx(expected)
    assert choose(whole.store, confirmation) == A


def test_the_default_wins_when_nothing_is_clearly_better() -> None:
    whole = confirmed(no_lead, confirm_top=2, confirm_replicates=3)
    assert choose(whole.store, whole.confirmation) == DEFAULT


def test_a_candidate_that_fails_its_confirmations_does_not_win() -> None:
    def score(parameters: Parameters, replicate: int) -> float | None:
        return None if parameters == A else clear_lead(parameters, replicate)

    whole = confirmed(score, confirm_top=2, confirm_replicates=2)
    assert choose(whole.store, whole.confirmation) == B
    failed = describe_confirmation(confirmation_of(whole))["candidates"][1]
    assert (failed["score"], failed["mean"]) == ([None, None], None)
    assert failed["f1_macro"] == [None, None]


def test_confirmations_of_an_earlier_start_are_not_trained_again() -> None:
    search = {"confirm_top": 1, "confirm_replicates": 2, "confirm_max_replicates": 3}
    known = confirmed(no_lead, **search).store.confirmations[:-1]
    again = confirmed(no_lead, more=known, **search)
    ran = [t for t in again.store.confirmations if t not in known]
    assert [(t.parameters, t.replicate) for t in ran] == [(A, 3)]
    assert confirmation_of(again).num_replicates == 3


def test_an_interrupted_confirmation_is_trained_again_under_its_id() -> None:
    search = {"confirm_top": 1, "confirm_replicates": 2}
    known = confirmed(clear_lead, **search).store.confirmations
    known[1] = replace(known[1], status=Status.RUNNING, evaluations=[], seconds=None)
    again = searched(more=known, **search)
    started = again.next()
    assert isinstance(started, Trial)
    assert started.trial_id == "t0005"
    assert again.next() is NoTrial.WAIT  # nothing else is


def test_what_an_earlier_start_left_running_for_another_candidate_is_closed() -> None:
    left = trial(4, source="confirm", parameters={**A, "batch_size": 32}, replicate=1)
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


def test_there_is_nothing_to_confirm_if_the_default_alone_has_a_score() -> None:
    config = configuration(search={"trials": 1})
    alone = policy([completed(0, 0.5, config=config)], config=config)
    assert alone.next() is NoTrial.DONE
    assert alone.store.confirmations == []
    assert confirmation_of(alone).lead() is None


def test_the_record_names_seeds_scores_and_the_comparison() -> None:
    whole = confirmed(clear_lead, confirm_top=1, confirm_replicates=2)
    record = describe_confirmation(confirmation_of(whole))
    seed = whole.configuration.training.seed
    assert [r["seed"] for r in record["replicates"]] == [fresh_seed(seed, k) for k in (1, 2)]
    assert [len(c["score"]) for c in record["candidates"]] == [2, 2]
    assert [len(c["f1_macro"]) for c in record["candidates"]] == [2, 2]
    assert record["candidates"][0]["parameters"] == DEFAULT
    comparison = record["winner_beats_default"]
    assert comparison["difference"] == pytest.approx(0.2)
    assert comparison["distinguishable"] is True
    assert comparison["leader"] == A


def test_most_confirmations_are_all_candidates_and_then_two_a_replicate() -> None:
    search = {"confirm_top": 3, "confirm_replicates": 3, "confirm_max_replicates": 5}
    assert most_confirmations(configuration(search=search).search) == 4 * 3 + 2 * 2
    search["confirm_replicates"] = 0
    assert most_confirmations(configuration(search=search).search) == 0


def test_a_confirmation_that_is_resumed_ends_as_the_unbroken_one() -> None:
    search = {"confirm_top": 2, "confirm_replicates": 2, "confirm_max_replicates": 5}

    def drifting(parameters: Parameters, replicate: int) -> float:
        """Another leader with each replicate; never clear."""
        ahead = A if replicate % 2 else B
        return 0.5 + NOISE[replicate] + (0.03 if parameters == ahead else 0.0)

    whole = confirmed(drifting, **search)
    trials = list(whole.store)
    expected = [(t.trial_id, t.parameters, t.replicate) for t in trials]
    assert confirmation_of(whole).num_replicates > 2
    for known in range(5, len(trials)):
        again = confirmed(drifting, more=trials[4:known], **search)
        assert [(t.trial_id, t.parameters, t.replicate) for t in again.store] == expected
        assert confirmation_of(again).lead() == confirmation_of(whole).lead()
        assert describe_confirmation(confirmation_of(again)) == describe_confirmation(
            confirmation_of(whole)
        )


def test_nothing_further_is_started_once_the_time_budget_cut_a_replicate() -> None:
    def without_the_last(parameters: Parameters, replicate: int) -> float | None:
        is_last = (parameters, replicate) == (A, 3)
        return None if is_last else no_lead(parameters, replicate)

    search = {"confirm_top": 1, "confirm_replicates": 3, "time_budget_s": 100}
    cut = searched(**search)
    assert len(cut_short(cut, without_the_last)) == 6
    last = cut.store.confirmations[-1]
    assert (last.status, last.stopped_by) == ("stopped", "end of search")
    assert (cut.next(), cut.phase) == (NoTrial.DONE, Phase.FINISHED)
    record = describe_confirmation(confirmation_of(cut))
    assert len(record["replicates"]) == 3
    assert record["winner_beats_default"]["draws"] == 2
    # Continued: nothing is left to train, so nothing is started.
    again = searched(more=cut.store.confirmations, **search)
    assert (again.next(), len(again.store)) == (NoTrial.DONE, 4 + 6)


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
    assert record["winner_beats_default"]["draws"] == 2
    assert "collapsed or diverged on 1 of the replicates" in record["verdict"]
    assert choose(whole.store, whole.confirmation) == A


@pytest.mark.parametrize("num_at_once", [1, 6])
def test_one_candidate_that_fails_everywhere_does_not_end_the_confirmation(
    num_at_once: int,
) -> None:
    def score(parameters: Parameters, replicate: int) -> float | None:
        return None if parameters == A else clear_lead(parameters, replicate)

    whole = searched(confirm_top=1, confirm_replicates=3)
    while started := list(islice(starting(whole), num_at_once)):
        for one in sorted(started, key=lambda one: score(one.parameters, 1) is not None):
            end(whole, one, score)  # who fails ends first
    assert whole.confirmation_failed_by == ""
    statuses = [one.status for one in whole.store.confirmations]
    assert statuses == ["completed", "failed"] * 3


def test_alike_failures_end_the_confirmation_by_their_numbers_not_by_who_ended_first() -> None:
    whole = searched(confirm_top=1, confirm_replicates=3)
    first, second, third, *others = starting(whole)
    for one in (*others, third, second):
        end(whole, one, lambda *_: None)
        assert whole.confirmation_failed_by == ""
    end(whole, first, lambda *_: None)
    assert whole.confirmation_failed_by == "out of memory"
    assert whole.phase == Phase.FINISHED


def test_failures_of_trial_0_s_replicates_count_though_the_search_still_ran() -> None:
    config = configuration(search={"trials": 3, "confirm_top": 1, "confirm_replicates": 3})
    known = [completed(0, 0.5, config=config, parameters=DEFAULT)]
    known.append(completed(1, 0.7, config=config, parameters=A))
    early = policy(known, config=config)
    last, *defaults = starting(early)
    for one in defaults:
        assert one.parameters == DEFAULT
        end(early, one, lambda *_: None)
    assert early.phase == Phase.SEARCH
    end(early, last, lambda *_: 0.4)
    assert early.confirmation_failed_by == ""  # the candidate may do better
    end(early, next(starting(early)), lambda *_: None)
    assert early.confirmation_failed_by == "out of memory"
    assert (early.phase, early.next()) == (Phase.FINISHED, NoTrial.DONE)


def test_a_confirmation_has_finished_if_its_first_trials_failed_before_it_started() -> None:
    whole = searched(confirm_top=1, confirm_replicates=2)
    for one in starting(whole):
        end(whole, one, lambda *_: None)
        if whole.phase == Phase.FINISHED:
            break
    known = [replace(one) for one in whole.store.confirmations if one.status == Status.FAILED]
    again = searched(more=known, confirm_top=1, confirm_replicates=2)
    assert again.confirmation_failed_by == "out of memory"
    assert (again.phase, again.next()) == (Phase.FINISHED, NoTrial.DONE)
