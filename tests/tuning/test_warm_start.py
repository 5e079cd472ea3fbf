"""Starts from earlier runs: what is read, mapped, tried first, recorded and read again."""

import csv
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.errors import RunError
from results.run import Run
from tests.tuning.builders import completed, policy
from training.data import PreparedData, prepare
from training.errors import InputError
from training.split_texts import SplitTexts, write_split_texts
from tuning.checks import check_not_tested
from tuning.config import Configuration
from tuning.earlier_runs import read_earlier_runs, texts_of
from tuning.policy import Policy
from tuning.searchers import make_searcher, num_requested
from tuning.space import Parameters, sample
from tuning.start import build, resolve_resumed
from tuning.trials import NoTrial, TrialStore
from tuning.warm_start import (
    EarlierRun,
    Scored,
    WarmStart,
    read_warm_start,
    start_from,
    with_trials,
    write_warm_start,
)

RECORDED = Path(__file__).parents[1] / "run-0.2.0"
RATES = {"learning_rate": {"log_uniform": [1e-4, 1e-2]}}


@pytest.fixture
def old(tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(RECORDED, tmp_path / "old")))


def starting(*runs: Run, **search: Any) -> Configuration:
    paths = [str(run.directory) for run in runs]
    return build(
        {"data": {"path": "sample"}, "search": {"space": RATES, "warm_start": paths, **search}}
    )


@pytest.fixture(scope="module")
def data() -> PreparedData:
    return prepare(starting().data)


def entries(
    configuration: Configuration, data: PreparedData, runs: list[EarlierRun] | None = None
) -> list[dict[str, Any]]:
    runs = read_earlier_runs(configuration) if runs is None else runs
    configuration = configuration.model_copy(update={"data": data.config})
    return [dict(one) for one in start_from(runs, configuration, data, texts_of(runs)).entries]


def mapped(
    run: Run, data: PreparedData, there: Parameters, space: dict[str, Any], **search: Any
) -> tuple[Parameters, list[str]] | None:
    """Return the counterpart of one configuration, and its notes; None: it is refused."""
    configuration = starting(run, space=space, **search)
    (earlier,) = read_earlier_runs(configuration)
    earlier = replace(earlier, ranked=[Scored(parameters=there, score=0.5)])
    found = entries(configuration, data, [earlier])
    return (found[0]["parameters"], found[0]["notes"]) if found else None


# What is read


def test_the_winner_comes_first_then_what_was_confirmed_then_the_best_of_the_search(
    old: Run,
) -> None:
    (earlier,) = read_earlier_runs(starting(old))
    record = old.read_record()
    assert earlier.ranked[0].parameters == record["best"]["parameters"]
    confirmed = {one["mean"] for one in record["confirmation"]["candidates"]}
    scores = [one.score for one in earlier.ranked[: len(confirmed)]]
    assert scores == pytest.approx(
        [record["best"]["score"], *sorted(confirmed - {scores[0]})[::-1]]
    )
    assert len({str(one.parameters) for one in earlier.ranked}) == len(earlier.ranked)


def test_a_run_is_found_by_its_name_and_is_not_changed(old: Run) -> None:
    with old.curves.open("a") as file:
        file.write("t0001,12")  # a search that is running writes this line
    before = {path: path.read_bytes() for path in old.directory.rglob("*") if path.is_file()}
    configuration = build(
        {"output": {"directory": str(old.directory.parent)}, "search": {"warm_start": "old"}}
    )
    assert configuration.search.warm_start == (str(old.directory),)
    assert read_earlier_runs(configuration)
    after = {path: path.read_bytes() for path in old.directory.rglob("*") if path.is_file()}
    assert after == before


def test_every_run_that_cannot_be_read_is_a_line(old: Run, tmp_path: Path) -> None:
    empty = Run(tmp_path / "empty")
    empty.directory.mkdir()
    unscored = Run(Path(shutil.copytree(RECORDED, tmp_path / "unscored")))
    lines = unscored.trials.read_text().splitlines(keepends=True)
    unscored.trials.write_text(lines[0])
    gone = Run(tmp_path / "gone")
    with pytest.raises(InputError) as caught:
        read_earlier_runs(starting(old, empty, unscored, gone))
    assert len(caught.value.problems) == 3
    assert all(line.startswith("search.warm_start: run ") for line in caught.value.problems)
    assert "no trial has a score yet" in caught.value.problems[1]


def test_by_another_metric_that_was_recorded_the_configurations_are_ranked_again(old: Run) -> None:
    (earlier,) = read_earlier_runs(starting(old, metric="accuracy"))
    (plain,) = read_earlier_runs(starting(old))
    assert [one.score for one in earlier.ranked] != [one.score for one in plain.ranked]
    scores = [one.score or 0 for one in earlier.ranked]
    confirmed = len(old.read_record()["confirmation"]["candidates"])
    assert scores[:confirmed] == sorted(scores[:confirmed], reverse=True)


def test_a_metric_that_was_not_recorded_is_refused_with_the_next_step(old: Run) -> None:
    with pytest.raises(InputError, match=r"recorded only f1_macro and accuracy .* search by one"):
        read_earlier_runs(starting(old, metric="mcc"))


def test_other_labels_are_refused_with_both(old: Run, data: PreparedData) -> None:
    (earlier,) = read_earlier_runs(starting(old))
    with pytest.raises(
        InputError, match=r"has the labels \['x', 'y'\], but this search has \['Buk"
    ):
        entries(starting(old), data, [replace(earlier, labels=("y", "x"))])


def test_the_texts_of_an_older_run_need_its_table(old: Run, tmp_path: Path) -> None:
    config = old.config.read_text().replace("path: sample", f"path: {tmp_path / 'gone.csv'}")
    old.config.write_text(config)
    assert read_earlier_runs(starting(old))  # the table of the new search is the same one
    other = tmp_path / "other.csv"
    other.write_text("text,label\na,b\n")
    configuration = starting(old)
    section = configuration.data.model_copy(update={"path": str(other)})
    with pytest.raises(InputError, match=r"gone\.csv is gone .* restore the table"):
        read_earlier_runs(configuration.model_copy(update={"data": section}))


def test_runs_that_split_the_same_texts_otherwise_are_refused(old: Run, tmp_path: Path) -> None:
    other = Run(Path(shutil.copytree(RECORDED, tmp_path / "other")))
    (earlier,) = read_earlier_runs(starting(old))
    swapped = SplitTexts(test=earlier.texts.searched, searched=earlier.texts.test)
    write_split_texts(other.split_texts, swapped)
    with pytest.raises(InputError, match=r"1,831 texts are test rows of one .* give runs of the"):
        read_earlier_runs(starting(old, other))


# What is mapped


def test_at_most_three_of_a_run_and_fewer_than_trials_without_trial_0_or_repeats(
    old: Run, data: PreparedData
) -> None:
    space = {"learning_rate": {"log_uniform": [1e-5, 1]}, "batch_size": {"integer": [4, 64]}}
    found = entries(starting(old, space=space), data)
    points = [one["parameters"] for one in found]
    assert 1 <= len(points) <= 3
    assert starting(old, space=space).default_point not in points
    assert all(points.count(point) == 1 for point in points)
    assert len(entries(starting(old, space=space, trials=2), data)) == 1
    assert entries(starting(old, space=space, trials=1), data) == []


@pytest.mark.parametrize(
    ("there", "space", "expected"),
    [
        ({"learning_rate": 3e-3}, RATES, {"learning_rate": 3e-3}),
        ({"learning_rate": 3e-2}, RATES, {"learning_rate": 1e-2}),
        (
            {"learning_rate": 4e-4},
            {"learning_rate": {"choice": [1e-4, 1e-3, 1e-2]}},
            {"learning_rate": 1e-3},
        ),
        (
            {"learning_rate": 1e-3, "batch_size": 24},
            {"batch_size": {"integer": [8, 16]}},
            {"batch_size": 16},
        ),
        ({"batch_size": 8}, {"batch_size": {"choice": [8, 16]}}, {"batch_size": 8}),
    ],
)
def test_numbers_are_kept_or_moved_to_the_nearest(
    old: Run, data: PreparedData, there: Parameters, space: dict[str, Any], expected: Parameters
) -> None:
    found = mapped(old, data, there, space)
    assert found is not None
    assert found[0] == expected
    assert {name: type(value) for name, value in found[0].items()} == {
        name: type(value) for name, value in expected.items()
    }
    assert bool(found[1]) == (there != expected)


def test_what_was_not_searched_there_has_the_value_it_was_trained_with(
    old: Run, data: PreparedData
) -> None:
    space = {**RATES, "weight_decay": {"uniform": [0.0, 0.5]}, "max_grad_norm": {"choice": [2, 3]}}
    found = mapped(old, data, {"learning_rate": 3e-3}, space)
    assert found is not None
    assert found[0] == {"learning_rate": 3e-3, "weight_decay": 0.01, "max_grad_norm": 1.0}
    assert found[1] == [
        "max_grad_norm 1.0 -> 1.0: trial 0's, since it was not searched there",
    ]


def test_a_warm_up_is_converted_by_the_number_of_steps(old: Run, data: PreparedData) -> None:
    rates = {"learning_rate": 3e-3}
    shares = mapped(
        old, data, {**rates, "warmup_steps": 60}, {"warmup_steps": {"uniform": [0, 0.5]}}
    )
    (earlier,) = read_earlier_runs(starting(old))
    training = earlier.configuration.training
    steps = -(-earlier.num_rows // training.batch_size) * training.epochs
    assert shares is not None
    assert shares[0]["warmup_steps"] == pytest.approx(60 / steps, abs=1e-6)
    assert f"of {steps:,} steps there" in shares[1][-1]
    absolute = mapped(
        old,
        data,
        {"warmup_steps": 0.1, "batch_size": 8},
        {"warmup_steps": {"integer": [0, 200]}, "batch_size": {"choice": [8]}},
    )
    assert absolute is not None
    here = -(-len(data.train.labels) // 8) * 6
    assert absolute[0]["warmup_steps"] == min(round(0.1 * here), 200)
    assert isinstance(absolute[0]["warmup_steps"], int)


def test_a_word_that_is_no_choice_here_is_refused_and_the_next_best_is_taken(
    old: Run, data: PreparedData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    rates = {"learning_rate": {"log_uniform": [1e-5, 1e-2]}}
    space = {"model": {"choice": ["tiny", str(encoder)]}, **rates}
    configuration = starting(old, space=space)
    (earlier,) = read_earlier_runs(configuration)
    ranked = [
        Scored(parameters={"model": word, "learning_rate": 3e-3}, score=0.5)
        for word in ("some/hub-id", str(encoder))
    ]
    with caplog.at_level(logging.INFO):
        found = entries(configuration, data, [replace(earlier, ranked=ranked)])
    assert [one["parameters"]["model"] for one in found] == [str(encoder)]
    refused = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(refused) == 1
    assert "model some/hub-id is none of choice [tiny, " in refused[0].getMessage()


def test_encoders_are_compared_as_written_and_then_as_directories(
    old: Run, data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    monkeypatch.chdir(tmp_path)
    rates = {"learning_rate": {"log_uniform": [1e-5, 1e-2]}}
    space = {**rates, "model": {"choice": ["tiny", str(encoder)]}}
    there: Parameters = {"learning_rate": 3e-3, "model": "encoder"}
    found = mapped(old, data, there, space)
    assert found is not None
    assert found[0]["model"] == str(encoder)
    assert mapped(old, data, there | {"model": "a/b"}, space) is None
    plain = mapped(old, data, {"learning_rate": 3e-3}, space)
    assert plain is not None
    assert plain[0]["model"] == "tiny"


def test_a_warm_up_that_would_not_end_is_refused(old: Run, data: PreparedData) -> None:
    space = {"batch_size": {"choice": [8, 4096]}, **RATES}
    configuration = starting(old, space=space)
    training = configuration.training.model_copy(update={"warmup_steps": 100})
    configuration = configuration.model_copy(update={"training": training})
    (earlier,) = read_earlier_runs(configuration)
    there: Parameters = {"batch_size": 4096, "learning_rate": 3e-3}
    earlier = replace(earlier, ranked=[Scored(parameters=there, score=0.5)])
    assert entries(configuration, data, [earlier]) == []


# What is tried


POINTS: list[Parameters] = [{"learning_rate": 2e-3}, {"learning_rate": 5e-3}]


def first_trials(configuration: Configuration, num: int) -> list[Parameters]:
    searcher = make_searcher(configuration, POINTS)
    return [searcher.suggest(f"t{number:04d}", number) for number in range(1, num)]


def test_the_other_suggestions_stay_functions_of_seed_and_number() -> None:
    configuration = starting()
    found = first_trials(configuration, 6)
    assert found[:2] == POINTS
    assert found[2:] == [
        sample(configuration.search.space, seed=configuration.search.seed, number=number)
        for number in range(3, 6)
    ]


def test_under_a_grid_the_first_points_are_not_repeated() -> None:
    choices = {"learning_rate": {"choice": [5e-4, 1e-3, 2e-3, 5e-3]}}
    configuration = starting(space=choices, algorithm="grid")
    found = first_trials(configuration, num_requested(configuration))
    assert found == [*POINTS, {"learning_rate": 1e-3}]


def test_under_a_grid_a_point_beside_it_is_refused(old: Run, data: PreparedData) -> None:
    choices = {"weight_decay": {"choice": [0.1, 0.2]}}
    there: Parameters = {"learning_rate": 3e-3}
    assert mapped(old, data, there, choices, algorithm="grid") is None
    assert mapped(old, data, there, {"learning_rate": {"choice": [1e-3]}}, algorithm="grid")


def test_tpe_learns_from_the_first_points_and_then_suggests_others() -> None:
    configuration = starting(algorithm="tpe")
    scores = {}
    for score in (0.2, 0.6):
        searcher = make_searcher(configuration, POINTS)
        for number in (1, 2):
            parameters = searcher.suggest(f"t{number:04d}", number)
            assert parameters == POINTS[number - 1]
            trial = completed(number, score * number, config=configuration, parameters=parameters)
            searcher.evaluated(trial)
            searcher.ended(trial)
        for number in range(3, 14):
            parameters = searcher.suggest(f"t{number:04d}", number)
            rate = parameters["learning_rate"]
            assert isinstance(rate, float)
            trial = completed(number, rate if score < 0.5 else 1 - rate, parameters=parameters)
            searcher.ended(trial)
        scores[score] = parameters
    assert scores[0.2] != scores[0.6]


def run_until_full(found: Policy) -> list[str]:
    started = []
    while not isinstance(trial := found.next(), NoTrial):
        started.append(trial.trial_id)
    return started


def test_first_points_are_trials_1_and_2_of_the_policy_and_recorded_by_their_ids() -> None:
    found = policy(first_points=POINTS)
    run_until_full(found)
    searched = found.store.searched
    assert [trial.parameters for trial in searched[1:3]] == POINTS
    assert {trial.source.value for trial in searched[1:]} == {"search"}
    recorded = with_trials([{"parameters": point} for point in POINTS], found.store)
    assert [one["trial_id"] for one in recorded] == ["t0001", "t0002"]
    assert with_trials([{"parameters": {}}], TrialStore())[0]["trial_id"] is None


# What is kept


def kept(old: Run, data: PreparedData, run: Run) -> tuple[Configuration, WarmStart]:
    configuration = starting(old).model_copy(update={"data": data.config})
    runs = read_earlier_runs(configuration)
    found = start_from(runs, configuration, data, texts_of(runs))
    run.directory.mkdir()
    write_warm_start(run, found)
    write_split_texts(run.split_texts, data.split_texts)
    return configuration, found


def test_a_resume_reads_the_points_from_its_own_run(
    old: Run, data: PreparedData, tmp_path: Path
) -> None:
    run = Run(tmp_path / "new")
    configuration, found = kept(old, data, run)
    shutil.rmtree(old.directory)
    again = read_warm_start(run, configuration)
    assert again.points == found.points
    assert again.held_out is not None
    assert read_warm_start(run, starting()) == WarmStart()


@pytest.mark.parametrize("content", ["", "{}", '{"configurations": [{"parameters": {"x": 1}}]}'])
def test_a_damaged_file_is_refused_in_a_line(
    old: Run, data: PreparedData, tmp_path: Path, content: str
) -> None:
    run = Run(tmp_path / "new")
    configuration, _ = kept(old, data, run)
    run.warm_start.write_text(content)
    with pytest.raises(RunError, match=r"warm_start\.json .* restore them, or start a new run"):
        read_warm_start(run, configuration)


def test_a_resume_must_not_change_the_earlier_runs(old: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(RECORDED, tmp_path / "new")))
    with pytest.raises(InputError, match=r"--resume: search\.warm_start is "):
        resolve_resumed(run, {"search": {"warm_start": [str(old.directory)]}})


ACCESS = {
    **{"at": "2026-01-01T00:00:00+00:00", "reason": "first evaluation", "directory": "final"},
    **{"model_sha256": "0" * 64, "state": "complete"},
}


def test_evaluations_on_the_same_test_rows_are_handed_on_and_chained(
    old: Run, data: PreparedData, tmp_path: Path
) -> None:
    earlier = {**ACCESS, "at": "2025-01-01T00:00:00+00:00", "run": "first", "rows": 9}
    unfinished = {**ACCESS, "at": "2027-01-01T00:00:00+00:00", "state": "opened"}
    old.test_openings.write_text(json.dumps([earlier, ACCESS, unfinished]))
    run = Run(tmp_path / "new")
    kept(old, data, run)
    found = run.read_test_accesses()
    assert [(one["run"], one["at"][:4], one["rows"]) for one in found] == [
        ("first", "2025", len(data.test_rows)),
        ("old", "2026", len(data.test_rows)),
    ]


def test_no_evaluation_is_handed_on_to_other_test_rows(old: Run, data: PreparedData) -> None:
    old.test_openings.write_text(json.dumps([ACCESS]))
    (earlier,) = read_earlier_runs(starting(old))
    others = SplitTexts(
        test=np.array([1, 2], dtype=np.uint64), searched=np.array([3], dtype=np.uint64)
    )
    configuration = starting(old).model_copy(update={"data": data.config})
    assert start_from([replace(earlier, texts=others)], configuration, data, others).accesses == []


def test_a_run_of_the_present_version_needs_no_table(old: Run) -> None:
    with old.splits.open(newline="") as file:
        rows = list(csv.DictReader(file))
    (earlier,) = read_earlier_runs(starting(old))
    assert len(earlier.texts.test) == sum(row["split"] == "test" for row in rows)
    write_split_texts(old.split_texts, earlier.texts)
    old.splits.unlink()
    (again,) = read_earlier_runs(starting(old))
    assert again.texts.test.tolist() == earlier.texts.test.tolist()


def test_only_an_evaluation_of_its_own_ends_a_run_s_resumes(old: Run) -> None:
    old.test_openings.write_text(json.dumps([{**ACCESS, "run": "first", "rows": 9}]))
    check_not_tested(old)
    old.test_openings.write_text(json.dumps([{**ACCESS, "run": "first", "rows": 9}, ACCESS]))
    with pytest.raises(RunError, match="has been evaluated on the test set"):
        check_not_tested(old)
