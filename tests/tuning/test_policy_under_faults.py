"""Whole searches through policy and driver while machines fail in every way, by seed."""

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from results.trial_states import Source, Status
from tests.tuning.builders import NUM_ROWS, configuration, evaluation
from tests.tuning.simulated_tune import STEP_S, Faults, Script, SimulatedSearch
from tuning.policy import HALT_S, Policy
from tuning.record import choose, describe_confirmation
from tuning.rungs import plan_evaluations
from tuning.trials import Ending, Phase, Trial

CONFIRMATION = {"confirm_top": 2, "confirm_replicates": 2, "confirm_max_replicates": 4}
EVERYTHING = Faults(kills=2, interrupts=2, lost_node=0.01, lost_worker=0.02)
POINTS = plan_evaluations(NUM_ROWS, 3, configuration().search, batch_size=1).points


def chance_of(*what: Any) -> float:
    """A number from 0 to 1 that is always the same for the same things."""
    return int(hashlib.md5(repr(what).encode()).hexdigest()[:8], 16) / 2**32


def script_of(trial: Trial) -> Script:
    """Return a training's curve and ending, a function of configuration and replicate alone."""
    identity = (sorted(trial.parameters.items()), trial.replicate)
    kind, luck = chance_of("ending", identity), 0.05 * chance_of("luck", identity)
    best = 0.5 - 0.1 * abs(math.log10(trial.parameters["learning_rate"]) + 3) + luck
    curve = [evaluation(p, best * (0.5 + 0.5 * p / POINTS[-1])) for p in POINTS]
    if kind < 0.06:
        return Script(tuple(curve[:3]), Ending(status=Status.FAILED, error=f"{trial.number % 3}"))
    if kind < 0.1:
        lost = evaluation(POINTS[3], 0.1, eval_loss=float("nan"))
        return Script((*curve[:3], lost), Ending(status=Status.DIVERGED, seconds=1.0))
    if kind < 0.14 and trial.source == Source.SEARCH:
        return Script(tuple(curve[:5]), Ending(status=Status.STOPPED, seconds=1.0))
    if kind < 0.18:
        curve[-1] = evaluation(POINTS[-1], 0.1, collapsed=True)
    return Script(tuple(curve), Ending(status=Status.COMPLETED, seconds=1.0))


def simulated(
    seed: int, num_workers: int, faults: Faults, known: Sequence[Trial] = (), **search: Any
) -> tuple[Policy, SimulatedSearch]:
    config = configuration(search={**CONFIRMATION, "seed": seed, **search})
    ran = SimulatedSearch(
        configuration=config,
        plan=plan_evaluations(NUM_ROWS, config.training.epochs, config.search, batch_size=1),
        num_rows=NUM_ROWS,
        num_workers=num_workers,
        script=script_of,
        known=known,
        faults=faults,
        chance=random.Random(f"{seed} {num_workers}"),
    )
    return ran.run(), ran


def outcome(policy: Policy) -> dict[str, Any]:
    """All that is known at the end and shall not depend on who came first.

    Trials of the confirmation that started ahead of time may never have been needed: they count
    only if the confirmation names their scores.
    """
    return {
        "trials": [
            (t.trial_id, t.status, t.source, t.parameters, t.error, t.final_score)
            for t in policy.store.searched
        ],
        "aborted by": (policy.aborted_by, policy.confirmation_failed_by),
        "winner": choose(policy),
        "confirmation": policy.confirmation and describe_confirmation(policy.confirmation),
    }


def check_ids(policy: Policy) -> None:
    """Check that each confirmation has the id of its candidate and replicate."""
    width = policy.configuration.search.confirm_top + 1
    for one in policy.store.confirmations:
        assert (
            policy.confirmation is not None or one.parameters == policy.store.searched[0].parameters
        )
        chosen = policy.confirmation.chosen if policy.confirmation else [one.parameters]
        position = chosen.index(one.parameters)
        assert one.number == policy.requested + (one.replicate - 1) * width + position


@pytest.mark.parametrize("seed", range(50))
def test_without_a_scheduler_a_search_repeats_whatever_fails_at_any_concurrency(seed: int) -> None:
    whole, _ = simulated(seed, 1, Faults(), scheduler="none")
    for num_workers in (1, 3, 8):
        broken, _ = simulated(seed, num_workers, EVERYTHING, scheduler="none")
        assert outcome(broken) == outcome(whole)
        check_ids(broken)


@pytest.mark.parametrize("seed", range(50))
def test_a_confirmation_decides_the_same_whatever_fails_at_any_concurrency(seed: int) -> None:
    whole, _ = simulated(seed, 1, Faults(), trials=8, confirm_top=3)
    if whole.aborted_by:
        return
    known = [replace(one, evaluations=list(one.evaluations)) for one in whole.store.searched]
    for num_workers in (1, 4, 8):
        broken, _ = simulated(seed, num_workers, EVERYTHING, known, trials=8, confirm_top=3)
        assert outcome(broken) == outcome(whole)
        check_ids(broken)


def test_of_the_confirmations_above_most_are_decided_by_replicates() -> None:
    ended = [simulated(seed, 1, Faults(), trials=8, confirm_top=3)[0] for seed in range(50)]
    confirmed = [one.confirmation for one in ended if one.confirmation is not None]
    assert len(confirmed) > 40
    assert sum(one.num_replicates >= 2 for one in confirmed) > 40


def budgeted(seed: int) -> Iterator[tuple[Policy, SimulatedSearch]]:
    """A search of some kind with a time budget and many faults, at two concurrencies."""
    chance = random.Random(seed)
    search = {
        "scheduler": chance.choice(["asha", "median", "none"]),
        "algorithm": "tpe" if seed % 10 == 0 else "random",
        "trials": 8,
        "confirm_replicates": chance.choice([0, 2, 3]),
        "time_budget_s": chance.choice([20, 60, 100, 200]),
    }
    faults = Faults(
        kills=seed % 3,
        interrupts=seed % 2,
        lost_node=chance.choice([0.0, 0.01]),
        lost_worker=chance.choice([0.0, 0.05]),
        hangs=chance.choice([0.0, 0.1]),
    )
    for num_workers in (1, 3):
        yield simulated(seed, num_workers, faults, **search)


@pytest.mark.parametrize("seed", range(100))
def test_a_search_with_a_time_budget_ends_in_time_and_leaves_no_trial_running(seed: int) -> None:
    for policy, ran in budgeted(seed):
        budget_s = policy.configuration.search.time_budget_s
        assert budget_s is not None
        assert ran.seconds <= budget_s + HALT_S + 2 * STEP_S
        assert policy.aborted_by or policy.phase == Phase.FINISHED
        assert not any(trial.is_running for trial in policy.store)
        assert policy.num_live == 0


def test_trials_that_hang_lead_to_new_experiments_in_which_the_confirmation_runs() -> None:
    search = {"trials": 12, "scheduler": "none", "time_budget_s": 200}
    ended = [simulated(seed, 1, Faults(hangs=0.1), **search) for seed in range(6)]
    assert {ran.num_starts for _, ran in ended} == {1}
    renewed = [policy for policy, ran in ended if ran.num_experiments > 1]
    assert renewed
    for policy in renewed:
        assert any(trial.final is not None for trial in policy.store.confirmations)
