"""TPE suggestions: what Optuna is given of each trial, and how a resume repeats them."""

import math

import numpy as np
import pytest
from optuna.trial import TrialState

from results.trial_states import Status, StoppedBy
from tests.tuning.builders import configuration, evaluation, trial
from tuning.space import Domain, Parameters
from tuning.tpe import TpeSearcher, distribution_of
from tuning.trials import Ending, Trial

TPE = configuration(search={"algorithm": "tpe"})


def quality(parameters: Parameters) -> float:
    """A score that TPE can learn: best at a learning rate of 1e-3 and batch size 16."""
    return 1 - abs(parameters["learning_rate"] - 1e-3) * 50 - 0.01 * parameters["batch_size"]


def run(searcher: TpeSearcher, number: int, status: str = "completed") -> Trial:
    """Run a suggested trial with two evaluations, or one if it is stopped, to its end."""
    made = trial(number, config=TPE, parameters=searcher.suggest(f"t{number:04d}", number))
    for examples in (1500, 3000)[: 1 if status == "stopped" else 2]:
        made.add(evaluation(examples, quality(made.parameters), collapsed=status == "collapsed"))
        searcher.evaluated(made)
    if status == "stopped":
        made.stop(StoppedBy.SCHEDULER)
    else:
        made.end(Ending(status=Status.COMPLETED if status == "collapsed" else Status(status)))
    assert made.status == status
    searcher.ended(made)
    return made


def states(searcher: TpeSearcher) -> list[TrialState]:
    return [known.state for known in searcher._optuna._ot_study.trials]


def test_tpe_suggests_the_same_after_the_same_trials() -> None:
    first, second = TpeSearcher(TPE.search), TpeSearcher(TPE.search)
    suggested = [[run(p, number).parameters for number in range(1, 16)] for p in (first, second)]
    assert suggested[0] == suggested[1]
    assert len({str(parameters) for parameters in suggested[0]}) > 10


def test_tpe_with_another_seed_suggests_others() -> None:
    other = configuration(search={"algorithm": "tpe", "seed": 7}).search
    assert TpeSearcher(TPE.search).suggest("t0001", 1) != TpeSearcher(other).suggest("t0001", 1)


def test_tpe_learns_from_scores() -> None:
    searcher = TpeSearcher(TPE.search)
    scores = [quality(run(searcher, number).parameters) for number in range(1, 41)]
    assert sum(scores[30:]) / 10 > sum(scores[:10]) / 10


def test_tpe_learns_though_every_trial_ends_at_the_last_rung() -> None:
    searcher = TpeSearcher(TPE.search)
    scores = [quality(run(searcher, n, "stopped").parameters) for n in range(1, 41)]
    assert set(states(searcher)) == {TrialState.PRUNED}
    assert sum(scores[30:]) / 10 > sum(scores[:10]) / 10


def test_tpe_takes_a_stopped_trial_as_pruned_and_a_failed_one_as_failed() -> None:
    searcher = TpeSearcher(TPE.search)
    for number, status in enumerate(
        ["completed", "stopped", "failed", "diverged", "collapsed"], start=1
    ):
        run(searcher, number, status)
    assert states(searcher) == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        *[TrialState.FAIL] * 2,
        TrialState.COMPLETE,
    ]


def test_the_evaluations_of_a_stopped_trial_are_intermediate_values_and_no_score() -> None:
    searcher = TpeSearcher(TPE.search)
    made = run(searcher, 1, "stopped")
    (known,) = searcher._optuna._ot_study.trials
    assert known.intermediate_values == {0: made.evaluations[0].f1_macro}
    assert searcher._optuna._ot_study.get_trials(states=[TrialState.COMPLETE]) == []


def test_tpe_learns_from_trial_0_if_it_lies_in_the_space() -> None:
    searcher = TpeSearcher(TPE.search)
    searcher.ended(trial(0, (3000, 0.5), config=TPE, status="completed"))
    (known,) = searcher._optuna._ot_study.trials
    assert (known.state, known.value) == (TrialState.COMPLETE, 0.5)


@pytest.mark.parametrize(
    "outside", [{"learning_rate": 0.5, "batch_size": 16}, {"learning_rate": 1e-3, "batch_size": 64}]
)
def test_tpe_leaves_out_a_default_outside_the_space(outside: Parameters) -> None:
    searcher = TpeSearcher(TPE.search)
    searcher.ended(trial(0, (3000, 0.5), config=TPE, status="completed", parameters=outside))
    assert states(searcher) == []


def test_tpe_after_a_resume_suggests_what_it_would_have_suggested() -> None:
    whole, resumed = TpeSearcher(TPE.search), TpeSearcher(TPE.search)
    statuses = ["completed", "stopped", "failed", "completed", "collapsed", "stopped"] * 3
    ended = [run(whole, number, status) for number, status in enumerate(statuses, start=1)]
    resumed.recall(ended)
    number = len(ended) + 1
    assert resumed.suggest("t", number) == whole.suggest("t", number)


WORDS = configuration(
    data={"path": "sample"},
    search={
        "algorithm": "tpe",
        "space": {
            "model": {"choice": ["org/a", "org/b"]},
            "schedule": {"choice": ["linear", "cosine"]},
            "dropout": {"choice": [None, "0.1"]},
            "learning_rate": {"log_uniform": ["1e-5", "1e-3"]},
        },
    },
)


def run_words(searcher: TpeSearcher, number: int) -> Trial:
    """Run a trial of the space above to its end; `org/b` is better, and so is `cosine`."""
    made = trial(number, config=WORDS, parameters=searcher.suggest(f"t{number:04d}", number))
    better = [made.parameters["model"] == "org/b", made.parameters["schedule"] == "cosine"]
    made.add(evaluation(3000, 0.3 + 0.2 * sum(better)))
    searcher.evaluated(made)
    made.end(Ending(status=Status.COMPLETED))
    searcher.ended(made)
    return made


def test_tpe_learns_words_and_suggests_the_same_after_a_resume() -> None:
    whole, resumed = TpeSearcher(WORDS.search), TpeSearcher(WORDS.search)
    ended = [run_words(whole, number) for number in range(1, 41)]
    last = [(one.parameters["model"], one.parameters["schedule"]) for one in ended[30:]]
    assert last.count(("org/b", "cosine")) >= 7
    assert {one.parameters["dropout"] for one in ended} == {None, 0.1}
    resumed.recall(ended)
    assert resumed.suggest("t", 41) == whole.suggest("t", 41)


def test_tpe_leaves_out_trial_0_with_a_word_or_null_outside_the_space() -> None:
    inside = {"model": "org/a", "schedule": "linear", "dropout": None, "learning_rate": 1e-4}
    for outside in ({"model": "org/c"}, {"schedule": "constant"}, {"dropout": 0.3}, {}):
        searcher = TpeSearcher(WORDS.search)
        parameters: Parameters = {**inside, **outside}
        searcher.ended(
            trial(0, (3000, 0.5), config=WORDS, status="completed", parameters=parameters)
        )
        assert len(states(searcher)) == (not outside)


def test_tpe_after_an_early_resume_does_not_repeat_its_first_suggestions() -> None:
    whole = TpeSearcher(TPE.search)
    ended = [run(whole, number) for number in (1, 2)]
    resumed = TpeSearcher(TPE.search)
    resumed.recall(ended)
    assert resumed.suggest("t0003", 3) not in [trial.parameters for trial in ended]


def test_recalled_trials_equal_those_of_the_unbroken_search() -> None:
    unbroken, resumed = TpeSearcher(TPE.search), TpeSearcher(TPE.search)
    ended = [run(unbroken, number, status) for number, status in ((1, "completed"), (2, "stopped"))]
    resumed.recall(ended)
    pairs = zip(unbroken._optuna._ot_study.trials, resumed._optuna._ot_study.trials, strict=True)
    for one, other in pairs:
        assert (one.state, one.value, one.params) == (other.state, other.value, other.params)
        assert one.intermediate_values == other.intermediate_values


@pytest.mark.parametrize(
    "domain",
    [
        Domain(log_uniform=(1e-5, 1e-2)),
        Domain(uniform=(0.0, 0.5)),
        Domain(integer=(1, 9)),
        Domain(choice=(8, 16)),
    ],
)
def test_the_distribution_of_a_domain_has_the_same_values(domain: Domain) -> None:
    distribution = distribution_of(domain)
    for seed in range(20):
        value = domain.sample(np.random.default_rng(seed))
        assert distribution._contains(distribution.to_internal_repr(value))
    if domain.choice is None:
        outside = domain.bounds[1] * 2
        assert not distribution._contains(distribution.to_internal_repr(outside))
        assert math.isclose(domain.bounds[1], distribution.high)  # type: ignore[attr-defined]
