import json
import time
from pathlib import Path
from typing import Any

import pytest

from results.environment import hash_model
from results.errors import RunError
from results.files import read_csv
from results.run import Run, create_run
from results.trial_states import SearchStatus, Status
from tests.tuning.builders import (
    at_last_rung,
    completed,
    configuration,
    evaluation,
    files_of,
    live,
    policy,
    trial,
)
from tests.tuning.deciding import confirmation_of, cut_short, run_to_end, starting
from training.data import RULES
from tuning.checks import check_same_encoders
from tuning.record import (
    choose,
    count_trials,
    describe_candidate,
    describe_confirmation,
    is_repeatable,
    winning_configuration,
)
from tuning.run_search import run_search
from tuning.space import Parameters
from tuning.start import new_run
from tuning.trials import Ending, Phase, Trial

A = {"learning_rate": 2e-3, "batch_size": 32}
B = {"learning_rate": 3e-3, "batch_size": 32}


@pytest.mark.parametrize(
    ("search", "has_gpu", "expected"),
    [
        ({"max_concurrent": 1}, False, True),
        ({"max_concurrent": 1, "algorithm": "tpe"}, False, True),
        ({"max_concurrent": 1}, True, False),
        ({"max_concurrent": 1, "time_budget_s": 60}, False, False),
        ({"max_concurrent": 2}, False, False),
        ({}, False, False),
        ({"scheduler": "none"}, False, True),
        ({"scheduler": "none", "max_concurrent": 8}, False, True),
        ({"scheduler": "none", "algorithm": "tpe"}, False, False),
        ({"scheduler": "median"}, False, False),
    ],
)
def test_a_search_repeats_one_trial_at_a_time_or_where_order_does_not_matter(
    search: dict[str, Any], has_gpu: bool, expected: bool
) -> None:
    assert is_repeatable(configuration(search=search), has_gpu=has_gpu) is expected


def test_confirmations_are_no_trials_of_the_search() -> None:
    trials = [
        completed(0, 0.5),
        trial(1, (3000, 0.2), status="collapsed"),
        trial(2, (500, 0.2), status="stopped"),
        trial(3, status="failed"),
        trial(4, (500, 0.2), status="diverged"),
        trial(5, (500, 0.2)),
        completed(6, 0.9, source="confirm"),
        trial(7, (1500, 0.2), status="stopped", stopped_by="confirmation"),
    ]
    assert count_trials(trials, 9) == {
        **{"requested": 9, "completed": 2, "stopped_early": 2, "failed": 2},
        "ended_at_last_rung": 1,
    }


def test_without_a_confirmation_the_best_at_the_full_budget_wins() -> None:
    config = configuration(search={"trials": 3, "confirm_replicates": 0})
    early = trial(2, (1500, 0.9), status="stopped", stopped_by="scheduler")
    known = [completed(0, 0.5), completed(1, 0.6, parameters=A), early]
    assert choose(policy(known, config=config)) == A


@pytest.mark.parametrize(
    "scores",
    [
        {},
        {("default", 1): 0.5},
        {("default", 1): 0.5, ("default", 2): 0.5, ("A", 1): 0.6},
        # Both have two replicates, which decide.
        {("default", 1): 0.5, ("default", 2): 0.5, ("A", 1): 0.4, ("A", 2): 0.4},
    ],
)
def test_the_default_stays_if_the_time_budget_ends_the_confirmation_too_early(
    scores: dict[tuple[str, int], float],
) -> None:
    default = trial(0).parameters
    trials = [at_last_rung(0, 0.5), at_last_rung(1, 0.7, parameters=A)]

    def score(parameters: Parameters, replicate: int) -> float | None:
        return scores.get(("default" if parameters == default else "A", replicate))

    search = {"confirm_top": 1, "confirm_replicates": 2, "confirm_max_replicates": 2}
    search |= {"trials": 2, "time_budget_s": 100}
    cut = policy(trials, config=configuration(search=search))
    assert len(cut_short(cut, score)) == 4
    assert choose(cut) == default
    verdict = describe_confirmation(confirmation_of(cut))["verdict"]
    if len(scores) < 4:
        assert verdict.startswith("the default stays: the time budget ended the confirmation")


def test_a_confirmation_cut_before_the_fewest_replicates_keeps_the_default() -> None:
    default = trial(0).parameters
    search = {"confirm_top": 1, "confirm_replicates": 3, "trials": 2, "time_budget_s": 100}
    known = [at_last_rung(0, 0.5), at_last_rung(1, 0.7, parameters=A)]
    cut = policy(known, config=configuration(search=search))

    def score(parameters: Parameters, replicate: int) -> float | None:
        return None if replicate > 2 else (0.5 if parameters == default else 0.7) + replicate / 100

    cut_short(cut, score)
    assert choose(cut) == default
    assert cut.confirmation is not None
    found = describe_confirmation(cut.confirmation)["winner_beats_default"]
    assert (found["draws"], found["needed"], found["replaces_default"]) == (2, None, False)
    verdict = describe_confirmation(cut.confirmation)["verdict"]
    assert "the time budget ended the confirmation after 2 replicates, too few for a win" in verdict


def collapsed_at_last_rung() -> Trial:
    collapsed = trial(0, status="stopped", stopped_by="confirmation")
    collapsed.add(evaluation(1500, 0.16, collapsed=True))
    return collapsed


def test_nobody_wins_if_the_trials_that_collapsed_at_the_last_rung_also_do_at_their_end() -> None:
    known = [collapsed_at_last_rung(), trial(1, status="failed")]
    ended = policy(known, config=configuration(search={"trials": 2}))
    for one in starting(ended):
        ended.report(one.trial_id, evaluation(3000, 0.16, collapsed=True))
        ended.ended(one.trial_id, Ending(status=Status.COMPLETED))
    assert ended.phase == Phase.FINISHED
    assert choose(ended) is None
    assert not ended.has_winner


def test_a_default_that_collapsed_at_the_last_rung_may_learn_until_its_end_and_win() -> None:
    known = [collapsed_at_last_rung(), trial(1, status="failed")]
    ended = policy(known, config=configuration(search={"trials": 2}))
    run_to_end(ended, lambda _parameters, _replicate: 0.6)
    assert choose(ended) == known[0].parameters
    assert ended.has_winner


def test_a_default_that_failed_is_described_without_scores() -> None:
    described = describe_candidate(policy([trial(0, status="failed")]), trial(0).parameters)
    assert described["epochs"] == 0
    for key in ("search_score", "search_f1_macro", "search_epochs", "score", "f1_macro"):
        assert described[key] is None


def test_the_search_s_score_is_described_with_the_epochs_after_which_it_was_taken() -> None:
    config = configuration(search={"trials": 3})
    known = [
        at_last_rung(0, 0.5, config=config),
        at_last_rung(1, 0.7, parameters=A, status="running", stopped_by=""),
        trial(2, (250, 0.4), (500, 0.6), (750, 0.9), status="stopped", parameters=B),
    ]
    running = policy(known, config=config)
    described = describe_candidate(running, A)
    assert (described["search_score"], described["search_epochs"]) == (0.7, 1.5)
    assert (described["score"], described["epochs"]) == (0.7, 1.5)
    early = describe_candidate(running, B)
    assert (early["search_score"], early["search_epochs"]) == (0.5, 0.5)
    assert (early["score"], early["epochs"]) == (0.5, 0.5)


def test_a_confirmed_candidate_is_described_by_its_replicates_at_the_full_budget() -> None:
    search = {"trials": 2, "confirm_top": 1, "confirm_replicates": 2, "confirm_max_replicates": 2}
    known = [at_last_rung(0, 0.5), at_last_rung(1, 0.7, parameters=A)]
    ended = policy(known, config=configuration(search=search))
    run_to_end(ended, lambda _, replicate: 0.6 + replicate / 10)
    described = describe_candidate(ended, A)
    assert (described["search_score"], described["search_epochs"]) == (0.7, 1.5)
    assert (described["score"], described["epochs"]) == (pytest.approx(0.75), 3.0)
    assert described["f1_macro"] == described["score"]


def test_the_scores_of_default_and_leader_have_a_correlation_though_others_were_dropped() -> None:
    config = configuration(search={"trials": 3, "confirm_top": 2})
    known = [at_last_rung(0, 0.5), at_last_rung(1, 0.7, parameters=A)]
    known.append(at_last_rung(2, 0.6, parameters=B))
    ended = policy(known, config=config)
    lead = {5e-4: 0.0, 2e-3: 0.1, 3e-3: 0.05}
    run_to_end(ended, lambda one, replicate: lead[one["learning_rate"]] + replicate / 50)
    assert ended.confirmation is not None
    described = describe_confirmation(ended.confirmation)
    assert described["score_correlation"] == pytest.approx(1.0)
    assert [one["score"][1:] for one in described["candidates"]][2] == [None, None]


def test_the_winner_s_configuration_has_its_values() -> None:
    config = configuration()
    winning = winning_configuration(config, A)
    assert set(winning) == {"data", "model", "training"}
    assert winning["training"]["learning_rate"] == 2e-3
    assert winning["training"]["seed"] == config.training.seed


def test_large_files_are_not_rewritten_for_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(tmp_path, "run")
    files, policy = files_of(run)
    files.write()
    now = time.monotonic()
    files._write_s = 1.0  # as if there were thousands of trials
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for number in range(3):
        trial = completed(number, 0.5)
        policy.store.add(trial)
        files.ended(trial)
        files.idle()
    assert read_csv(run.trials) == []
    # Nothing is lost if the power fails now.
    assert [row["status"] for row in run.read_trials()] == ["completed"] * 3
    now += 20  # a twentieth of the time is the most
    files.idle()
    assert len(read_csv(run.trials)) == 3
    assert run.read_record()["trials"]["completed"] == 3
    assert not run.changes.exists()
    stamp = run.trials.stat().st_mtime_ns
    now += 1000
    files.idle()  # nothing has changed
    assert run.trials.stat().st_mtime_ns == stamp


def test_the_end_of_a_search_writes_all_pending_rows(tmp_path: Path) -> None:
    run = create_run(tmp_path, "run")
    files, policy = files_of(run)
    files.write()
    files._write_s = 1000.0
    live(files, policy, completed(0, 0.5))
    files.closed(SearchStatus.INTERRUPTED)
    assert len(read_csv(run.trials)) == 1
    assert not run.changes.exists()


def test_a_completed_search_has_its_winner_written_and_another_one_has_not(tmp_path: Path) -> None:
    for status in (SearchStatus.INTERRUPTED, SearchStatus.COMPLETED):
        run = create_run(tmp_path, status.value)
        files, policy = files_of(run)
        live(files, policy, completed(0, 0.5))
        files.closed(status)
        assert run.read_record()["status"] == status
        assert run.best.exists() == (status == SearchStatus.COMPLETED)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(_configuration(tmp_path))


def _configuration(tmp_path: Path) -> Any:
    return configuration(output={"directory": str(tmp_path), "name": "before"})


def test_a_search_is_not_resumed_with_changed_files_of_an_encoder(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("one", "two")]
    for name in names:
        Path(name).mkdir()
        (Path(name) / "config.json").write_text("{}")
    config = configuration(
        data={"path": "sample"},
        model={"name": names[0]},
        search={"space": {"model": {"choice": [*names, "a/hub-id"]}}},
    )
    run = create_run(tmp_path, "run")
    listed = [{"name": name, "sha256": hash_model(Path(name))} for name in names]
    record = {"status": "interrupted", "seconds": 1.0, "data": {"sha256": "", "rules": RULES}}
    record |= {"trials": {"requested": 1}, "best": None, "default": None}
    run.write_record({**record, "encoders": [*listed, {"name": "a/hub-id", "sha256": None}]})
    check_same_encoders(run, config)
    (Path(names[1]) / "config.json").write_text("{ }")
    with pytest.raises(RunError, match=r"the files in .*two have changed since the run started"):
        check_same_encoders(run, config)


def test_a_search_is_not_resumed_with_other_data(run: Run, tmp_path: Path) -> None:
    record = {"status": "interrupted", "seconds": 1.0, "data": {"sha256": "0" * 64, "rules": RULES}}
    record |= {"trials": {"requested": 1}, "best": None, "default": None}
    run.write_record(record)
    with pytest.raises(RunError, match=r"has SHA-256 .* but the run started with 000000000000"):
        run_search(_configuration(tmp_path), resume=run)
    assert json.loads(run.record.read_text())["data"] == record["data"]


def test_a_search_is_not_resumed_after_its_evaluation_on_the_test_set(
    run: Run, tmp_path: Path
) -> None:
    run.test_openings.write_text("[]")
    with pytest.raises(RunError, match=r"has been evaluated on the test set"):
        run_search(_configuration(tmp_path), resume=run)
