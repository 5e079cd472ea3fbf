"""Confirmations by the first decision rule, by which runs of version 0.3.0 are resumed."""

from typing import Any

from tests.tuning.builders import completed, configuration, policy, trial
from tests.tuning.deciding import confirmation_of, end, starting
from tests.tuning.test_confirmation import (
    DEFAULT,
    NOISE,
    A,
    B,
    clear_lead,
    confirmed,
    replicates_of,
    searched,
    unclear,
)
from tuning.record import choose
from tuning.space import Parameters
from tuning.trials import NoTrial

FIRST: dict[str, Any] = {"decision_rule": 1, "confirm_top": 2}


def test_under_the_first_rule_all_candidates_get_all_first_replicates() -> None:
    whole = confirmed(clear_lead, confirm_replicates=3, **FIRST)
    assert replicates_of(whole) == {k: [DEFAULT, A, B] for k in (1, 2, 3)}
    assert choose(whole) == A


def test_under_the_first_rule_only_trials_at_the_full_budget_are_confirmed() -> None:
    whole = confirmed(clear_lead, **{**FIRST, "confirm_top": 3})
    assert confirmation_of(whole).chosen == [DEFAULT, A, B]


def test_under_the_first_rule_leader_and_default_get_additional_replicates() -> None:
    whole = confirmed(unclear, confirm_replicates=2, confirm_max_replicates=4, **FIRST)
    found = replicates_of(whole)
    assert [found[k] for k in (2, 3, 4)] == [[DEFAULT, A, B], [DEFAULT, A], [DEFAULT, A]]


def test_under_the_first_rule_additional_replicates_do_not_start_ahead_of_time() -> None:
    whole = searched(confirm_replicates=2, confirm_max_replicates=4, **FIRST)
    first = list(starting(whole))
    assert [one.replicate for one in first] == [1, 1, 1, 2, 2, 2]
    assert whole.next() is NoTrial.WAIT
    for one in first:
        end(whole, one, unclear)
    assert [one.replicate for one in starting(whole)] == [3, 3]


def test_under_the_first_rule_a_lead_of_92_percent_replaces_the_default() -> None:
    whole = confirmed(clear_lead, confirm_replicates=3, **FIRST)
    found = confirmation_of(whole).standing().compare()
    assert found is not None
    assert found.paired.required == 0.92


def test_under_the_first_rule_another_challenger_may_come_to_lead() -> None:
    def drifting(parameters: Parameters, replicate: int) -> float:
        """A is ahead on the first two replicates and far behind on the third."""
        ahead = {2: 0.03, 3: 0.02}.get(round(parameters["learning_rate"] * 1000), 0.0)
        is_down = (parameters, replicate) == (A, 3)
        return 0.5 + NOISE[replicate] * (parameters == DEFAULT) + ahead - 0.3 * is_down

    search = {**FIRST, "confirm_replicates": 2, "confirm_max_replicates": 4}
    whole = confirmed(drifting, **search)
    found = replicates_of(whole)
    assert [found[k] for k in (2, 3, 4)] == [[DEFAULT, A, B], [DEFAULT, A], [DEFAULT, B]]
    trials = list(whole.store)
    for known in range(5, len(trials)):
        again = confirmed(drifting, more=trials[4:known], **search)
        assert replicates_of(again) == found
        assert choose(again) == choose(whole)


def test_without_a_challenger_the_first_rule_confirms_nothing() -> None:
    config = configuration(search={"trials": 2, "decision_rule": 1})
    known = [completed(0, 0.5, config=config), trial(1, status="failed", parameters=A)]
    alone = policy(known, config=config)
    assert alone.next() is NoTrial.DONE
    assert alone.store.confirmations == []
