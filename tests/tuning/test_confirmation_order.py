"""Confirmations with several slots: trials ahead of time, in whatever order trials end."""

import random
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from benchmarks.problems import CELLS, simulated_problem
from benchmarks.replay import replay
from results.trial_states import Status, StoppedBy
from tests.tuning.builders import evaluation
from tests.tuning.deciding import (
    Score,
    confirmation_of,
    end,
    policy_of,
    reach,
    report,
    start,
    starting,
)
from tests.tuning.test_confirmation import DEFAULT, A, C, clear_lead, searched
from tuning.policy import Policy
from tuning.record import choose, describe_confirmation
from tuning.space import Parameters
from tuning.trials import NoTrial, Phase, Trial

NAMES = {5e-4: "D", 2e-3: "A", 3e-3: "B", 4e-3: "C"}


def label(trial: Trial) -> str:
    """Return candidate and replicate of a trial: `A2`."""
    return f"{NAMES[trial.parameters['learning_rate']]}{trial.replicate}"


def started(policy: Policy, num: int) -> dict[str, Trial]:
    """Start as many trials as there are free slots."""
    return {label(one): one for one in islice(starting(policy), num)}


def take(policy: Policy, num: int) -> list[str]:
    return [label(start(policy)) for _ in range(num)]


def test_the_first_replicate_of_all_starts_together_and_then_those_ahead_of_time() -> None:
    whole = searched(confirm_top=3, confirm_max_replicates=4)
    assert take(whole, 4) == ["D1", "A1", "B1", "C1"]
    # As things stand, the finalists' order is that of the search.
    assert take(whole, 7) == ["D2", "A2", "B2", "D3", "A3", "D4", "A4"]
    assert whole.next() is NoTrial.WAIT


def test_what_starts_ahead_of_time_follows_the_present_leads() -> None:
    whole = searched(confirm_top=3, confirm_max_replicates=4)
    first = started(whole, 4)
    for name, score in (("D1", 0.5), ("A1", 0.4), ("C1", 0.9)):
        end(whole, first[name], lambda *_, score=score: score)
    assert take(whole, 5) == ["D2", "C2", "A2", "D3", "C3"]  # B has no score yet


def test_what_the_next_decision_needs_starts_before_what_may_be_needed_later() -> None:
    whole = searched(confirm_top=3, confirm_max_replicates=5)
    first = started(whole, 8)
    assert list(first) == ["D1", "A1", "B1", "C1", "D2", "A2", "B2", "D3"]
    for name in ("D1", "A1", "B1", "C1"):
        end(whole, first[name], lambda parameters, _: 0.9 if parameters == C else 0.5)
    assert confirmation_of(whole).num_replicates == 2
    assert take(whole, 3) == ["C2", "C3", "D4"]


def test_a_dropped_finalist_s_running_trial_is_stopped_at_its_next_evaluation() -> None:
    whole = searched(confirm_top=2)
    first = started(whole, 6)
    assert list(first) == ["D1", "A1", "B1", "D2", "A2", "D3"]
    reach(whole, first["A2"], 0.9, until=250)
    for name, score in (("D1", 0.5), ("A1", 0.4), ("B1", 0.9)):
        end(whole, first[name], lambda *_, score=score: score)
    assert first["A2"].is_running
    assert not report(whole, first["A2"], evaluation(500, 0.9))
    assert (first["A2"].status, first["A2"].stopped_by) == ("stopped", "end of search")
    assert whole.phase == Phase.CONFIRMATION
    assert take(whole, 1) == ["B2"]


def test_a_dropped_finalist_s_trial_that_lost_its_worker_does_not_start_again() -> None:
    whole = searched(confirm_top=2)
    first = started(whole, 5)
    for name, score in (("D1", 0.5), ("A1", 0.4), ("B1", 0.9)):
        end(whole, first[name], lambda *_, score=score: score)
    whole.requeue(first["A2"].trial_id)
    assert first["A2"].stopped_by == "end of search"
    assert "A2" not in started(whole, 9)


def test_what_runs_ahead_of_time_is_stopped_when_the_decision_falls() -> None:
    whole = searched(confirm_top=1, confirm_replicates=2, confirm_max_replicates=3)
    first = started(whole, 9)
    assert list(first) == ["D1", "A1", "D2", "A2", "D3", "A3"]
    reach(whole, first["A3"], 0.9, until=250)
    for name in ("D1", "A1", "D2"):
        end(whole, first[name], clear_lead)
    assert not whole.halting
    end(whole, first["A2"], clear_lead)
    assert whole.phase == Phase.FINISHED
    assert {first[name].stopped_by for name in ("D3", "A3")} == {StoppedBy.END_OF_SEARCH}
    assert whole.halting == {Phase.CONFIRMATION}
    assert whole.is_finished  # the experiment ends at once
    assert whole.num_live == 0
    assert not report(whole, first["A3"], evaluation(500, 0.9))
    assert choose(whole) == A


def test_scores_of_trials_ahead_of_time_count_only_when_their_replicate_is_entered() -> None:
    whole = searched(confirm_top=1, confirm_replicates=2, confirm_max_replicates=3)
    first = started(whole, 9)
    for name in ("D3", "A3", "D2", "A2", "D1"):
        end(whole, first[name], lambda parameters, _: 0.9 if parameters == DEFAULT else 0.1)
    assert whole.phase == Phase.CONFIRMATION
    assert confirmation_of(whole).num_replicates == 1
    end(whole, first["A1"], lambda *_: 0.2)
    assert whole.phase == Phase.FINISHED
    assert confirmation_of(whole).num_replicates == 2
    described = describe_confirmation(confirmation_of(whole))
    assert [len(one["score"]) for one in described["candidates"]] == [2, 2]


def test_the_default_s_replicates_start_in_free_slots_while_the_search_still_runs() -> None:
    policy = policy_of(trials=3, confirm_replicates=2)
    trials = [start(policy) for _ in range(3)]
    assert policy.next() is NoTrial.WAIT  # there is no challenger yet
    reach(policy, trials[1], 0.5, until=1500)
    early = [start(policy), start(policy)]
    assert [(one.parameters, one.replicate) for one in early] == [
        (trials[0].parameters, 1),
        (trials[0].parameters, 2),
    ]
    assert policy.next() is NoTrial.WAIT


# Any order of events


def noisy(seed: int) -> Score:
    """Scores of a confirmation that is decided early or late; some trainings fail or collapse."""

    def score(parameters: Parameters, replicate: int) -> float | None:
        chance = random.Random(f"{seed} {sorted(parameters.items())} {replicate}")
        if chance.random() < 0.05:
            return None
        quality = random.Random(f"{seed} {parameters}").gauss(0, 0.01)
        return 0.5 + quality + chance.gauss(0, 0.01)

    return score


def collapses(seed: int, trial: Trial) -> bool:
    return random.Random(f"{seed} {label(trial)}").random() < 0.05


def decided(policy: Policy) -> Any:
    assert policy.phase == Phase.FINISHED
    return choose(policy), describe_confirmation(confirmation_of(policy))


def run_in_any_order(seed: int, chance: random.Random, **search: Any) -> Policy:
    """Run a confirmation with any number of slots, in any order, killed and resumed at any time."""
    policy, num_slots = searched(**search), chance.randint(1, 9)
    live: list[Trial] = []
    while policy.phase == Phase.CONFIRMATION:
        live = [one for one in live if one.is_running]
        while len(live) < num_slots and isinstance(one := policy.next(), Trial):
            live.append(one)
        assert live, "nothing runs, and nothing is decided"
        one = chance.choice(live)
        if chance.random() < 0.05:
            policy, live = resumed(policy, **search), []
        elif chance.random() < 0.3:
            following = [p for p in policy.plan.points if p > one.examples]
            report(policy, one, evaluation(following[0], 0.3))
        if one.is_running and one in live and chance.random() < 0.5:
            end(policy, one, noisy(seed), has_collapsed=collapses(seed, one))
    return policy


def resumed(policy: Policy, **search: Any) -> Policy:
    """Return a policy that knows what a run's files hold after a kill."""
    known = [replace(one, evaluations=list(one.evaluations)) for one in policy.store.confirmations]
    for one in known:
        if one.stopped_by == StoppedBy.END_OF_SEARCH:
            one.status, one.stopped_by = Status.RUNNING, StoppedBy.NOBODY
    return searched(more=known, **search)


def one_after_the_other(seed: int, **search: Any) -> Policy:
    policy = searched(**search)
    for one in starting(policy):
        end(policy, one, noisy(seed), has_collapsed=collapses(seed, one))
    return policy


@pytest.mark.parametrize("rule", [1, 2])
@pytest.mark.parametrize("seed", range(60))
def test_winner_and_scores_depend_on_no_order_of_ends_and_no_number_of_slots(
    seed: int, rule: int
) -> None:
    chance = random.Random(seed)
    replicates = chance.choice([2, 3])
    search = {
        "confirm_top": chance.randint(1, 3),
        "confirm_replicates": replicates,
        "confirm_max_replicates": replicates + chance.randint(0, 3),
        "decision_rule": rule,
    }
    expected = one_after_the_other(seed, **search)
    for number in range(4):
        ran = run_in_any_order(seed, random.Random(f"{seed} {number}"), **search)
        assert decided(ran) == decided(expected)


def test_of_the_orders_above_some_drop_finalists_and_some_win() -> None:
    winners = [choose(one_after_the_other(seed, confirm_top=3)) for seed in range(60)]
    assert DEFAULT in winners
    assert any(winner != DEFAULT for winner in winners)


@pytest.mark.parametrize("num_trials", [6, 24])
def test_four_slots_are_busy_for_over_85_percent_of_the_confirmation(num_trials: int) -> None:
    shares = [
        replay(simulated_problem(cell, num_trials, repeat=repeat), workers=4).confirmation_busy
        for cell in CELLS[::3]
        for repeat in range(3)
    ]
    known = [share for share in shares if share is not None]
    assert len(known) > len(shares) / 2
    assert sum(known) / len(known) > 0.85
