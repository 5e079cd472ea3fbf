"""Confirmations whose trainings fail: one candidate's, or the first ones alike."""

from dataclasses import replace
from itertools import islice

import pytest

from results.trial_states import Status
from tests.tuning.builders import at_last_rung, configuration, policy
from tests.tuning.deciding import end, starting
from tests.tuning.test_confirmation import DEFAULT, A, C, clear_lead, searched
from tuning.record import choose
from tuning.space import Parameters
from tuning.trials import NoTrial, Phase


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
    assert whole.phase == Phase.FINISHED
    assert choose(whole) == DEFAULT


def test_alike_failures_end_the_confirmation_by_their_numbers_not_by_who_ended_first() -> None:
    whole = searched(confirm_top=1, confirm_replicates=3)
    first, second, third, *others = starting(whole)
    for one in (*others, third, second):
        end(whole, one, lambda *_: None)
        assert whole.confirmation_failed_by == ""
    end(whole, first, lambda *_: None)
    assert whole.confirmation_failed_by == "out of memory"
    assert whole.phase == Phase.FINISHED


def test_a_confirmation_that_failed_alike_decides_nothing_though_one_trial_had_a_score() -> None:
    whole = searched(confirm_top=3)
    *first, last = islice(starting(whole), 4)
    end(whole, last, lambda *_: 0.9)
    for one in first:
        end(whole, one, lambda *_: None)
    assert whole.confirmation_failed_by == "out of memory"
    assert whole.phase == Phase.FINISHED
    assert last.parameters == C
    assert choose(whole) == A  # the best of the search, not confirmed


def test_failures_of_trial_0_s_replicates_count_though_the_search_still_ran() -> None:
    config = configuration(search={"trials": 3, "confirm_top": 1, "confirm_replicates": 3})
    known = [at_last_rung(0, 0.5, config=config, parameters=DEFAULT)]
    known.append(at_last_rung(1, 0.7, config=config, parameters=A))
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
