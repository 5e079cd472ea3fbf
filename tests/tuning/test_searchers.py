import pytest
from optuna.trial import TrialState

from results.trial_states import Status, StoppedBy
from tests.tuning.builders import configuration, evaluation, trial
from tuning.config import SearchConfig
from tuning.searchers import FixedSearcher, TpeSearcher, make_searcher
from tuning.space import Parameters, default_point
from tuning.trials import Ending, Trial

TPE = configuration(search={"algorithm": "tpe"})


def quality(parameters: Parameters) -> float:
    """A score that TPE can learn: best at a learning rate of 1e-3 and batch size 16."""
    return 1 - abs(parameters["learning_rate"] - 1e-3) * 50 - 0.01 * parameters["batch_size"]


def run(searcher: TpeSearcher, number: int, status: str = "completed") -> Trial:
    """Let the searcher make a trial, see it evaluated twice, and end."""
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
    return [told.state for told in searcher._optuna._ot_study.trials]


def test_a_random_suggestion_depends_on_seed_and_number_alone() -> None:
    config = configuration()
    first, second = (FixedSearcher(config.search, config.training) for _ in range(2))
    first.suggest("t0009", 9)
    assert first.suggest("t0001", 1) == second.suggest("t0001", 1)
    assert first.suggest("t0001", 1) != first.suggest("t0002", 2)


def test_a_grid_suggests_every_point_but_the_one_that_trial_0_is() -> None:
    config = configuration(
        search={"algorithm": "grid", "space": {"batch_size": {"choice": ["8", "16", "32"]}}}
    )
    searcher = make_searcher(config.search, config.training)
    suggested = [searcher.suggest(f"t000{n}", n)["batch_size"] for n in (1, 2)]
    assert suggested == [8, 32]
    assert default_point(config.search.space, config.training) == {"batch_size": 16}


def test_tpe_told_the_same_suggests_the_same() -> None:
    first, second = TpeSearcher(TPE.search), TpeSearcher(TPE.search)
    suggested = [[run(p, number).parameters for number in range(1, 16)] for p in (first, second)]
    assert suggested[0] == suggested[1]
    assert len({str(parameters) for parameters in suggested[0]}) > 10


def test_tpe_with_another_seed_suggests_others() -> None:
    other = configuration(search={"algorithm": "tpe", "seed": 7}).search
    assert TpeSearcher(TPE.search).suggest("t0001", 1) != TpeSearcher(other).suggest("t0001", 1)


def test_tpe_learns_from_what_it_is_told() -> None:
    searcher = TpeSearcher(TPE.search)
    scores = [quality(run(searcher, number).parameters) for number in range(1, 41)]
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


def test_tpe_knows_the_evaluations_of_a_stopped_trial_but_takes_none_for_a_full_score() -> None:
    searcher = TpeSearcher(TPE.search)
    made = run(searcher, 1, "stopped")
    (told,) = searcher._optuna._ot_study.trials
    assert told.intermediate_values == {0: made.evaluations[0].f1_macro}
    assert searcher._optuna._ot_study.get_trials(states=[TrialState.COMPLETE]) == []


def test_tpe_learns_from_trial_0_if_it_lies_in_the_space() -> None:
    searcher = TpeSearcher(TPE.search)
    searcher.ended(trial(0, (3000, 0.5), config=TPE, status="completed"))
    (told,) = searcher._optuna._ot_study.trials
    assert (told.state, told.value) == (TrialState.COMPLETE, 0.5)


@pytest.mark.parametrize(
    "outside", [{"learning_rate": 0.5, "batch_size": 16}, {"learning_rate": 1e-3, "batch_size": 64}]
)
def test_tpe_is_not_told_of_a_default_outside_the_space(outside: Parameters) -> None:
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


def test_tpe_after_an_early_resume_does_not_repeat_its_first_draws() -> None:
    whole = TpeSearcher(TPE.search)
    ended = [run(whole, number) for number in (1, 2)]
    resumed = TpeSearcher(TPE.search)
    resumed.recall(ended)
    assert resumed.suggest("t0003", 3) not in [trial.parameters for trial in ended]


def test_recalled_trials_are_told_as_they_were_lived() -> None:
    lived, recalled = TpeSearcher(TPE.search), TpeSearcher(TPE.search)
    ended = [run(lived, number, status) for number, status in ((1, "completed"), (2, "stopped"))]
    recalled.recall(ended)
    pairs = zip(lived._optuna._ot_study.trials, recalled._optuna._ot_study.trials, strict=True)
    for one, other in pairs:
        assert (one.state, one.value, one.params) == (other.state, other.value, other.params)
        assert one.intermediate_values == other.intermediate_values


def test_the_algorithm_names_the_searcher() -> None:
    search: SearchConfig = configuration().search
    assert isinstance(make_searcher(TPE.search, TPE.training), TpeSearcher)
    assert isinstance(make_searcher(search, TPE.training), FixedSearcher)
