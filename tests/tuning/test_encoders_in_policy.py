"""Searches over encoders: a real policy decides, and the training of encoders is simulated."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from results.trial_states import Source, Status
from tests.tuning.builders import at_last_rung, configuration, evaluation, trial
from tests.tuning.builders import policy as policy_knowing
from tests.tuning.deciding import confirmation_of, fail, start
from tuning.config import Configuration
from tuning.policy import Policy
from tuning.ranking import Ranking
from tuning.record import choose, winning_configuration
from tuning.rungs import RungScores
from tuning.space import MODEL, as_number
from tuning.trials import Decision, Ending, Trial

A, B, C = "org/a", "org/b", "org/c"
NAMES = [A, B, C]
SPACE = {
    MODEL: {"choice": NAMES},
    "learning_rate": {"log_uniform": ["1e-5", "1e-4"]},
}


def of_encoders(**search: Any) -> Configuration:
    """A search over three encoders and the learning rate; trial 0 has the first one."""
    return configuration(
        data={"path": "sample"},
        training={"learning_rate": 2e-5},
        search={"space": SPACE, "trials": 24, **search},
    )


class Simulation:
    """Trains trials of three encoders one after the other.

    A score falls with the distance from the encoder's best learning rate, and has the luck of the
    seed and of the evaluation. Early in training it is lower by what the encoder learns slowly.
    """

    def __init__(
        self, seed: int, quality: Mapping[str, float], slowness: Mapping[str, float], **search: Any
    ) -> None:
        self.seed, self.quality, self.slowness = seed, quality, slowness
        self.policy: Policy = policy_knowing(config=of_encoders(seed=seed, **search))
        best = np.random.default_rng(seed).uniform(np.log(1.5e-5), np.log(8e-5), len(NAMES))
        self.best_rate = dict(zip(NAMES, best, strict=True))

    def run(self) -> str:
        """Run to the end, and return the encoder of the winner."""
        while isinstance(trial := self.policy.next(), Trial):
            self._train(trial)
        winner = choose(self.policy)
        assert winner is not None
        return str(winner[MODEL])

    @property
    def trainings_of_search(self) -> float:
        """Training rows of the search, in full trainings."""
        rows = sum(trial.examples for trial in self.policy.store.searched)
        return rows / self.policy.plan.budget

    def _train(self, trial: Trial) -> None:
        for point in self.policy.plan.points:
            reported = evaluation(point, self._score(trial, point))
            if self.policy.report(trial.trial_id, reported) is not Decision.CONTINUE:
                return
        self.policy.ended(trial.trial_id, Ending(status=Status.COMPLETED, seconds=1.0))

    def _score(self, trial: Trial, examples: int) -> float:
        name = str(trial.parameters[MODEL])
        rate = np.log(as_number(trial.parameters["learning_rate"]))
        left = (1 - examples / self.policy.plan.budget) ** 2
        luck = random.Random(f"{self.seed}{trial.trial_id}").gauss(0, 0.006)
        luck += random.Random(f"{self.seed}{trial.trial_id}{examples}").gauss(0, 0.004)
        missing = 0.01 * (rate - self.best_rate[name]) ** 2
        return float(
            self.quality[name] - missing - left * (0.1 + self.slowness.get(name, 0)) + luck
        )


EQUALLY_FAST: dict[str, float] = {}


@pytest.mark.parametrize(
    ("quality", "slowness"),
    [
        ({A: 0.70, B: 0.72, C: 0.69}, EQUALLY_FAST),
        ({A: 0.70, B: 0.69, C: 0.72}, {C: 0.15}),
        ({A: 0.70, B: 0.72, C: 0.68}, {C: 0.15}),
    ],
    ids=["equally fast", "the best learns slowly", "the worst learns slowly"],
)
def test_the_encoder_that_is_two_points_better_wins_however_fast_it_learns(
    quality: dict[str, float], slowness: dict[str, float]
) -> None:
    searches = [Simulation(seed, quality, slowness) for seed in range(30)]
    winners = [search.run() for search in searches]
    assert winners.count(max(NAMES, key=quality.__getitem__)) >= 27
    for search in searches:
        finalists = confirmation_of(search.policy).chosen
        assert {one[MODEL] for one in finalists} == set(NAMES)
    assert np.mean([search.trainings_of_search for search in searches]) < 9  # 7 without encoders


@pytest.mark.parametrize("algorithm", ["tpe", "grid"])
def test_other_algorithms_find_the_better_encoder_too(algorithm: str) -> None:
    rates = {"choice": ["1e-5", "2e-5", "5e-5"]}
    space = {**SPACE, "learning_rate": rates} if algorithm == "grid" else SPACE
    quality = {A: 0.70, B: 0.72, C: 0.69}
    winners = [
        Simulation(seed, quality, EQUALLY_FAST, algorithm=algorithm, space=space, trials=12).run()
        for seed in range(5)
    ]
    assert winners.count(B) >= 4


def ranked(*trials: Trial, num_best: int = 3) -> list[tuple[Any, Any]]:
    """The candidates, as encoder and learning rate."""
    config = of_encoders()
    ranking = Ranking(
        rung_scores=RungScores(plan=policy_knowing(config=config).plan, num_rows=1000)
    )
    chosen = ranking.candidates(trials, num_best)
    return [(one[MODEL], one["learning_rate"]) for one in chosen]


def of(number: int, name: str, rate: float, score: float, **changes: Any) -> Trial:
    """A trial of an encoder that reached the last rung."""
    parameters = {MODEL: name, "learning_rate": rate}
    return at_last_rung(number, score, config=of_encoders(), parameters=parameters, **changes)


def test_the_best_of_each_encoder_comes_before_the_second_best_of_any() -> None:
    trials = [
        of(0, A, 2e-5, 0.5),
        of(1, B, 1e-5, 0.9),
        of(2, B, 2e-5, 0.8),
        of(3, C, 1e-5, 0.6),
        of(4, A, 3e-5, 0.7),
    ]
    assert ranked(*trials) == [(A, 2e-5), (B, 1e-5), (A, 3e-5), (C, 1e-5)]
    assert ranked(*trials, num_best=4)[-1] == (B, 2e-5)


def test_an_encoder_whose_best_is_trial_0_needs_no_other_finalist() -> None:
    trials = [of(0, A, 2e-5, 0.8), of(1, A, 3e-5, 0.5), of(2, B, 1e-5, 0.7), of(3, B, 2e-5, 0.6)]
    assert ranked(*trials, num_best=2) == [(A, 2e-5), (B, 1e-5), (B, 2e-5)]


def test_an_encoder_that_failed_or_did_not_reach_the_last_rung_has_no_finalist() -> None:
    early = trial(
        *(2, (250, 0.9), (500, 0.9)),
        config=of_encoders(),
        parameters={MODEL: B, "learning_rate": 1e-5},
        status="stopped",
        stopped_by="scheduler",
    )
    failed = of(3, C, 1e-5, 0.9, status="failed", stopped_by="")
    trials = [of(0, A, 2e-5, 0.5), of(1, A, 3e-5, 0.4), early, failed]
    assert ranked(*trials, num_best=1) == [(A, 2e-5), (A, 3e-5)]


def test_finalists_are_at_least_as_many_as_encoders_and_have_their_own_ids() -> None:
    assert of_encoders(confirm_top=1).search.num_finalists == 3
    assert of_encoders(confirm_top=5).search.num_finalists == 5
    assert configuration(search={"confirm_top": 1}).search.num_finalists == 1
    search = Simulation(0, dict.fromkeys(NAMES, 0.7), EQUALLY_FAST, confirm_top=1, trials=9)
    search.run()
    started = {
        trial.replicate: trial.number for trial in reversed(search.policy.store.confirmations)
    }
    assert (started[1], started[2]) == (9, 13)  # trial 0 and three finalists


def test_an_encoder_that_always_fails_leaves_the_others_alone() -> None:
    policy = policy_knowing(config=of_encoders(trials=40))
    names: list[Any] = []
    while not policy.is_ending and len(names) < 12:
        started = start(policy)
        names.append(started.parameters[MODEL])
        error = f"out of memory on {C}" if names[-1] == C else ""
        status = Status.FAILED if error else Status.COMPLETED
        if not error:
            policy.report(started.trial_id, evaluation(3000, 0.5))
        policy.ended(started.trial_id, Ending(status=status, error=error, seconds=1.0))
    assert not policy.aborted_by
    assert set(names) == set(NAMES)


def test_failures_alike_end_the_search_once_every_encoder_has_failed() -> None:
    policy = policy_knowing(config=of_encoders())
    failed = set()
    for _ in range(24):
        if policy.is_ending:
            break
        assert failed < set(NAMES) or len(policy.store) < 3
        fail(policy, "RuntimeError: the same")
        failed.add(list(policy.store)[-1].parameters[MODEL])
    assert policy.aborted_by == "RuntimeError: the same"
    assert failed == set(NAMES)


def test_the_winner_has_its_own_encoder_and_trial_0_the_first() -> None:
    config = of_encoders()
    assert config.default_point == {MODEL: A, "learning_rate": 2e-5}
    assert [model.name for model in config.models] == NAMES
    best = winning_configuration(config, {MODEL: C, "learning_rate": 3e-5})
    assert (best["model"]["name"], best["training"]["learning_rate"]) == (C, 3e-5)
    assert start(policy_knowing(config=config)).source == Source.DEFAULT
