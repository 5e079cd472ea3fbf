import pytest
from optuna.trial import TrialState

from tests.tuning.builders import configuration, evaluation, trial
from tuning.config import SearchConfig
from tuning.proposers import FixedProposer, TpeProposer, make_proposer
from tuning.space import Parameters, default_point
from tuning.trials import Trial

TPE = configuration(search={"algorithm": "tpe"})


def quality(parameters: Parameters) -> float:
    """A score that TPE can learn: best at a learning rate of 1e-3 and batch size 16."""
    return 1 - abs(parameters["learning_rate"] - 1e-3) * 50 - 0.01 * parameters["batch_size"]


def run(proposer: TpeProposer, number: int, status: str = "completed") -> Trial:
    """Let the proposer make a trial, see it evaluated twice, and end."""
    made = trial(number, config=TPE, parameters=proposer.propose(f"t{number:04d}", number))
    for examples in (1500, 3000)[: 1 if status == "stopped" else 2]:
        made.evaluations.append(evaluation(examples, quality(made.parameters)))
        proposer.observe(made)
    made.status = status  # type: ignore[assignment]
    proposer.conclude(made)
    return made


def states(proposer: TpeProposer) -> list[TrialState]:
    return [told.state for told in proposer._optuna._ot_study.trials]


def test_a_random_proposal_depends_on_seed_and_number_alone() -> None:
    config = configuration()
    first, second = (FixedProposer(config.search, config.training) for _ in range(2))
    first.propose("t0009", 9)
    assert first.propose("t0001", 1) == second.propose("t0001", 1)
    assert first.propose("t0001", 1) != first.propose("t0002", 2)


def test_a_grid_proposes_every_point_but_the_one_that_trial_0_is() -> None:
    config = configuration(
        search={"algorithm": "grid", "space": {"batch_size": {"choice": ["8", "16", "32"]}}}
    )
    proposer = make_proposer(config.search, config.training)
    proposed = [proposer.propose(f"t000{n}", n)["batch_size"] for n in (1, 2)]
    assert proposed == [8, 32]
    assert default_point(config.search.space, config.training) == {"batch_size": 16}


def test_tpe_told_the_same_proposes_the_same() -> None:
    first, second = TpeProposer(TPE.search), TpeProposer(TPE.search)
    proposed = [[run(p, number).parameters for number in range(1, 16)] for p in (first, second)]
    assert proposed[0] == proposed[1]
    assert len({str(parameters) for parameters in proposed[0]}) > 10


def test_tpe_with_another_seed_proposes_others() -> None:
    other = configuration(search={"algorithm": "tpe", "seed": 7}).search
    assert TpeProposer(TPE.search).propose("t0001", 1) != TpeProposer(other).propose("t0001", 1)


def test_tpe_learns_from_what_it_is_told() -> None:
    proposer = TpeProposer(TPE.search)
    scores = [quality(run(proposer, number).parameters) for number in range(1, 41)]
    assert sum(scores[30:]) / 10 > sum(scores[:10]) / 10


def test_tpe_takes_a_stopped_trial_as_pruned_and_a_failed_one_as_failed() -> None:
    proposer = TpeProposer(TPE.search)
    for number, status in enumerate(
        ["completed", "stopped", "failed", "diverged", "collapsed"], start=1
    ):
        run(proposer, number, status)
    assert states(proposer) == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        *[TrialState.FAIL] * 2,
        TrialState.COMPLETE,
    ]


def test_tpe_knows_the_evaluations_of_a_stopped_trial_but_takes_none_for_a_full_score() -> None:
    proposer = TpeProposer(TPE.search)
    made = run(proposer, 1, "stopped")
    (told,) = proposer._optuna._ot_study.trials
    assert told.intermediate_values == {0: made.evaluations[0].f1_macro}
    assert proposer._optuna._ot_study.get_trials(states=[TrialState.COMPLETE]) == []


def test_tpe_learns_from_trial_0_if_it_lies_in_the_space() -> None:
    proposer = TpeProposer(TPE.search)
    proposer.conclude(trial(0, (3000, 0.5), config=TPE, status="completed"))
    (told,) = proposer._optuna._ot_study.trials
    assert (told.state, told.value) == (TrialState.COMPLETE, 0.5)


@pytest.mark.parametrize(
    "outside", [{"learning_rate": 0.5, "batch_size": 16}, {"learning_rate": 1e-3, "batch_size": 64}]
)
def test_tpe_is_not_told_of_a_default_outside_the_space(outside: Parameters) -> None:
    proposer = TpeProposer(TPE.search)
    proposer.conclude(trial(0, (3000, 0.5), config=TPE, status="completed", parameters=outside))
    assert states(proposer) == []


def test_tpe_after_a_resume_proposes_what_it_would_have_proposed() -> None:
    whole, resumed = TpeProposer(TPE.search), TpeProposer(TPE.search)
    statuses = ["completed", "stopped", "failed", "completed", "collapsed", "stopped"] * 3
    ended = [run(whole, number, status) for number, status in enumerate(statuses, start=1)]
    resumed.recall(ended)
    number = len(ended) + 1
    assert resumed.propose("t", number) == whole.propose("t", number)


def test_tpe_after_an_early_resume_does_not_repeat_its_first_draws() -> None:
    whole = TpeProposer(TPE.search)
    ended = [run(whole, number) for number in (1, 2)]
    resumed = TpeProposer(TPE.search)
    resumed.recall(ended)
    assert resumed.propose("t0003", 3) not in [trial.parameters for trial in ended]


def test_recalled_trials_are_told_as_they_were_lived() -> None:
    lived, recalled = TpeProposer(TPE.search), TpeProposer(TPE.search)
    ended = [run(lived, number, status) for number, status in ((1, "completed"), (2, "stopped"))]
    recalled.recall(ended)
    pairs = zip(lived._optuna._ot_study.trials, recalled._optuna._ot_study.trials, strict=True)
    for one, other in pairs:
        assert (one.state, one.value, one.params) == (other.state, other.value, other.params)
        assert one.intermediate_values == other.intermediate_values


def test_the_algorithm_names_the_proposer() -> None:
    search: SearchConfig = configuration().search
    assert isinstance(make_proposer(TPE.search, TPE.training), TpeProposer)
    assert isinstance(make_proposer(search, TPE.training), FixedProposer)
