from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.tuning.builders import completed, configuration, evaluation, trial
from tuning.confirmation import Confirmation, fresh_seed, most_confirmations, split_seed
from tuning.record import choose, describe_confirmation
from tuning.space import Parameters
from tuning.trials import Trial

DEFAULT: Parameters = {"learning_rate": 5e-4, "batch_size": 16}
A: Parameters = {"learning_rate": 2e-3, "batch_size": 16}
B: Parameters = {"learning_rate": 3e-3, "batch_size": 32}
NOISE = (0.0, 0.02, -0.03, 0.01, -0.02, 0.03)


@dataclass
class Runner:
    """Gives each trial the score that `score` names: parameters and replicate to macro-F1."""

    score: Callable[[Parameters, int], float | None]
    ran: list[Trial] = field(default_factory=list)

    def __call__(self, trials: Sequence[Trial]) -> None:
        for given in trials:
            self.ran.append(given)
            reached = self.score(given.parameters, given.replicate)
            if reached is None:
                given.status, given.error = "failed", "out of memory"
            else:
                given.status, given.evaluations = "completed", [evaluation(3000, reached)]


def confirm(
    runner: Runner, *, more: Sequence[Trial] = (), **search: Any
) -> tuple[Confirmation, list[Trial]]:
    config = configuration(search=search)
    searched = [
        completed(0, 0.5, config=config, parameters=DEFAULT),
        completed(1, 0.7, config=config, parameters=A),
        completed(2, 0.6, config=config, parameters=B),
        trial(3, (500, 0.99), config=config, status="stopped", parameters={**B, "batch_size": 16}),
    ]
    confirmation = Confirmation(
        configuration=config, trials=[*searched, *more], validation_share=0.25, run=runner
    )
    confirmation.confirm()
    return confirmation, confirmation.trials


def clear_lead(parameters: Parameters, replicate: int) -> float:
    return {5e-4: 0.5, 2e-3: 0.7, 3e-3: 0.6}[parameters["learning_rate"]] + NOISE[replicate] / 100


def no_lead(parameters: Parameters, replicate: int) -> float:
    sign = 1 if parameters == DEFAULT else -1
    return 0.5 + sign * NOISE[replicate]


def test_default_and_best_are_trained_on_every_first_replicate() -> None:
    runner = Runner(clear_lead)
    confirm(runner, confirm_top=1, confirm_replicates=3)
    pairs = [(t.parameters["learning_rate"], t.replicate) for t in runner.ran]
    assert pairs == [(lr, k) for k in (1, 2, 3) for lr in (5e-4, 2e-3)]
    assert {t.source for t in runner.ran} == {"confirm"}


def test_a_replicate_is_shared_by_all_candidates_and_unlike_the_search_and_the_others() -> None:
    runner = Runner(clear_lead)
    confirmation, _ = confirm(runner, confirm_top=2, confirm_replicates=2)
    draws = {
        k: {(t.training.seed, t.split_seed) for t in runner.ran if t.replicate == k} for k in (1, 2)
    }
    assert [len(seeds) for seeds in draws.values()] == [1, 1]
    config = confirmation.configuration
    everything = {seed for pair in draws[1] | draws[2] for seed in pair}
    assert not everything & {config.training.seed, config.data.split_seed}
    assert draws[1] != draws[2]


def test_the_searched_values_are_trained_with_the_replicate_s_seed() -> None:
    runner = Runner(clear_lead)
    confirmation, _ = confirm(runner, confirm_top=1, confirm_replicates=2)
    first = runner.ran[1]
    config = confirmation.configuration
    assert first.training.learning_rate == A["learning_rate"]
    assert first.training.seed == fresh_seed(config.training.seed, 1)
    assert first.split_seed == split_seed(config, 1)
    assert first.is_never_stopped


def test_ids_of_confirmations_go_on_from_the_search_s() -> None:
    runner = Runner(clear_lead)
    confirm(runner, confirm_top=1, confirm_replicates=2)
    assert [t.trial_id for t in runner.ran] == ["t0004", "t0005", "t0006", "t0007"]


def test_the_race_ends_when_leader_and_default_are_told_apart() -> None:
    runner = Runner(clear_lead)
    confirmation, _ = confirm(runner, confirm_top=2, confirm_replicates=2, confirm_max_replicates=5)
    assert confirmation.num_replicates == 2
    assert len(runner.ran) == 6
    lead = confirmation.lead()
    assert lead is not None
    assert lead.paired.is_distinguishable


def test_an_undecided_race_of_leader_and_default_ends_at_the_most_replicates() -> None:
    runner = Runner(no_lead)
    confirmation, _ = confirm(runner, confirm_top=2, confirm_replicates=2, confirm_max_replicates=4)
    assert confirmation.num_replicates == 4
    late = [t for t in runner.ran if t.replicate > 2]
    assert len(late) == 4  # two a replicate
    assert [t.parameters for t in late if t.parameters == DEFAULT] == [DEFAULT] * 2


def test_the_search_s_own_scores_never_enter_the_mean() -> None:
    confirmation, trials = confirm(Runner(clear_lead), confirm_top=1, confirm_replicates=2)
    scores = {c.parameters["learning_rate"]: c.mean for c in confirmation.scores()}
    expected = (clear_lead(A, 1) + clear_lead(A, 2)) / 2
    assert scores[2e-3] == pytest.approx(expected)
    assert choose(trials, confirmation) == A


def test_the_default_wins_when_nothing_is_clearly_better() -> None:
    confirmation, trials = confirm(Runner(no_lead), confirm_top=2, confirm_replicates=3)
    assert choose(trials, confirmation) == DEFAULT


def test_a_candidate_that_fails_its_confirmations_does_not_win() -> None:
    def score(parameters: Parameters, replicate: int) -> float | None:
        return None if parameters == A else clear_lead(parameters, replicate)

    confirmation, trials = confirm(Runner(score), confirm_top=2, confirm_replicates=2)
    assert choose(trials, confirmation) == B
    failed = describe_confirmation(confirmation)["candidates"][1]
    assert (failed["f1_macro"], failed["mean"]) == ([None, None], None)


def test_confirmations_of_an_earlier_start_are_not_trained_again() -> None:
    first = Runner(no_lead)
    _, trials = confirm(first, confirm_top=1, confirm_replicates=2, confirm_max_replicates=3)
    again = Runner(no_lead)
    confirmation, _ = confirm(
        again, more=trials[4:-1], confirm_top=1, confirm_replicates=2, confirm_max_replicates=3
    )
    assert [(t.parameters, t.replicate) for t in again.ran] == [(A, 3)]
    assert confirmation.num_replicates == 3


def test_an_interrupted_confirmation_is_trained_again_under_its_id() -> None:
    first = Runner(clear_lead)
    _, trials = confirm(first, confirm_top=1, confirm_replicates=2)
    cut_off = trials[4:]
    cut_off[1].status = "running"
    again = Runner(clear_lead)
    confirm(again, more=cut_off, confirm_top=1, confirm_replicates=2)
    assert [t.trial_id for t in again.ran] == ["t0005"]


def test_what_an_earlier_start_left_running_for_another_candidate_is_closed() -> None:
    left = trial(4, source="confirm", parameters={**A, "batch_size": 32}, replicate=1)
    runner = Runner(clear_lead)
    confirm(runner, more=[left], confirm_top=1, confirm_replicates=2)
    assert (left.status, left.stopped_by) == ("stopped", "end of search")
    assert left not in runner.ran


def test_there_is_nothing_to_confirm_if_the_default_alone_has_a_score() -> None:
    runner = Runner(clear_lead)
    config = configuration()
    confirmation = Confirmation(
        configuration=config,
        trials=[completed(0, 0.5, config=config)],
        validation_share=0.25,
        run=runner,
    )
    confirmation.confirm()
    assert runner.ran == []
    assert confirmation.lead() is None


def test_the_record_names_seeds_scores_and_the_comparison() -> None:
    confirmation, _ = confirm(Runner(clear_lead), confirm_top=1, confirm_replicates=2)
    record = describe_confirmation(confirmation)
    seed = confirmation.configuration.training.seed
    assert [r["seed"] for r in record["replicates"]] == [fresh_seed(seed, k) for k in (1, 2)]
    assert [len(c["f1_macro"]) for c in record["candidates"]] == [2, 2]
    assert record["candidates"][0]["parameters"] == DEFAULT
    comparison = record["winner_beats_default"]
    assert comparison["difference"] == pytest.approx(0.2)
    assert comparison["distinguishable"] is True
    assert comparison["leader"] == A


def test_most_confirmations_are_all_candidates_and_then_a_race_of_two() -> None:
    search = {"confirm_top": 3, "confirm_replicates": 3, "confirm_max_replicates": 5}
    assert most_confirmations(configuration(search=search).search) == 4 * 3 + 2 * 2
    search["confirm_replicates"] = 0
    assert most_confirmations(configuration(search=search).search) == 0


def test_a_race_that_is_gone_on_with_ends_as_the_unbroken_one() -> None:
    search = {"confirm_top": 2, "confirm_replicates": 2, "confirm_max_replicates": 5}

    def drifting(parameters: Parameters, replicate: int) -> float:
        """Another leader with each replicate; never clear."""
        ahead = A if replicate % 2 else B
        return 0.5 + NOISE[replicate] + (0.03 if parameters == ahead else 0.0)

    whole, trials = confirm(Runner(drifting), **search)
    expected = [(t.trial_id, t.parameters, t.replicate) for t in trials]
    assert whole.num_replicates > 2
    for known in range(5, len(trials)):
        again, resumed = confirm(Runner(drifting), more=list(trials[4:known]), **search)
        assert [(t.trial_id, t.parameters, t.replicate) for t in resumed] == expected
        assert again.lead() == whole.lead()
        assert describe_confirmation(again) == describe_confirmation(whole)


def test_nothing_further_is_begun_once_the_time_budget_cut_a_draw() -> None:
    rounds: list[int] = []

    def run(trials: Sequence[Trial]) -> None:
        rounds.append(len(trials))
        Runner(no_lead)(trials[:-1])
        trials[-1].status, trials[-1].stopped_by = "stopped", "end of search"

    config = configuration(search={"confirm_top": 1, "confirm_replicates": 3})
    searched = [
        completed(0, 0.5, config=config, parameters=DEFAULT),
        completed(1, 0.7, config=config, parameters=A),
    ]
    confirmation = Confirmation(
        configuration=config, trials=searched, validation_share=0.25, run=run
    )
    confirmation.confirm()
    assert rounds == [6]
    record = describe_confirmation(confirmation)
    assert len(record["replicates"]) == 3
    assert record["winner_beats_default"]["draws"] == 2
    done = Confirmation(configuration=config, trials=searched, validation_share=0.25, run=run)
    done.confirm()  # gone on with: nothing is left to train, so nothing is started
    assert rounds == [6]


def test_a_replicate_on_which_the_default_collapsed_is_recorded_and_not_compared() -> None:
    confirmation, trials = confirm(Runner(clear_lead), confirm_top=1, confirm_replicates=3)
    cut = next(t for t in trials if t.replicate == 2 and t.parameters == DEFAULT)
    cut.status, cut.evaluations = "collapsed", [evaluation(3000, 0.16, collapsed=True)]
    record = describe_confirmation(confirmation)
    assert record["candidates"][0]["f1_macro"][1] == 0.16
    assert record["candidates"][0]["collapsed_or_diverged"] == 1
    assert record["winner_beats_default"]["draws"] == 2
    assert "collapsed or diverged on 1 of the fresh draws" in record["verdict"]
    assert choose(trials, confirmation) == A
