import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.compare import main as compare
from results.errors import RunError
from results.run import Run, create_run
from results.trial_states import SearchStatus
from tests.evaluation.conftest import run_module
from tests.tuning import searching
from tests.tuning.builders import configuration, evaluation, files_of, live, trial
from training.options import read_yaml, to_yaml
from tuning.config import Configuration
from tuning.initial_state import prepare_resumed
from tuning.resume import last_evaluated, rebuild, recall_trials
from tuning.space import Value
from tuning.start import build, read_configuration, write_configuration
from tuning.trials import Trial

CONFIG = configuration()


def all_kinds(config: Configuration = CONFIG) -> list[Trial]:
    """Return one trial of every kind and state."""
    awkward = 0.1 + 0.2  # 0.30000000000000004
    other = {"learning_rate": 0.0012345678901234567, "batch_size": 32}
    fresh = config.training.model_copy(update={"seed": 4_000_000_000})
    return [
        trial(
            0, (1500, awkward), (3000, 0.5), status="completed", fixed_rows_loss=0.7, seconds=9.5
        ),
        trial(
            1, (500, 0.1), status="stopped", stopped_by="scheduler", parameters=other, seconds=5.0
        ),
        trial(2, (2000, 0.3), status="stopped", stopped_by="patience", seconds=30.0),
        trial(3, status="failed", error='RuntimeError: "quoted", and a comma', seconds=1.0),
        trial(4, (3000, 0.16), status="collapsed", seconds=31.0),
        trial(5, (500, 0.2)),
        trial(
            6,
            (3000, 0.6),
            source="confirm",
            replicate=2,
            split_seed=7,
            status="completed",
            training=fresh,
            fixed_rows_loss=1 / 3,
            seconds=33.0,
        ),
    ]


def written(directory: Path, trials: list[Trial], config: Configuration = CONFIG) -> Run:
    """Write a run with these trials, evaluation by evaluation."""
    run = create_run(directory, "run")
    files, policy = files_of(run, configuration=config)
    for one in trials:
        live(files, policy, one)
    files.closed(SearchStatus.INTERRUPTED)
    return run


def test_trials_are_recalled_as_they_were(tmp_path: Path) -> None:
    trials = all_kinds()
    assert list(recall_trials(written(tmp_path, trials), CONFIG)) == trials


def test_words_null_and_directories_of_any_name_are_recalled_as_they_were(tmp_path: Path) -> None:
    awkward = tmp_path / 'model, "quoted" é=1+1'
    awkward.mkdir()
    space = {
        "model": {"choice": [str(awkward), "org/b", "=org"]},
        "class_weights": {"choice": ["none", "sqrt"]},
        "dropout": {"choice": [None, "0.1", "0"]},
    }
    config = configuration(data={"path": "sample"}, search={"space": space})
    names: tuple[Value, ...] = config.search.space["model"].choice or ()
    words: list[Value] = ["none", "sqrt", "none"]
    nulls: list[Value] = [None, 0.1, 0]
    trials = [
        trial(
            *(number, (3000, 0.5)),
            config=config,
            parameters={"model": name, "class_weights": word, "dropout": dropout},
            status="completed",
            seconds=1.0,
        )
        for number, (name, word, dropout) in enumerate(zip(names, words, nulls, strict=True))
    ]
    run = written(tmp_path, trials, config)
    write_configuration(run, config)
    recalled = list(recall_trials(run, build(read_configuration(run))))
    assert recalled == trials
    assert [repr(one.parameters) for one in recalled] == [repr(one.parameters) for one in trials]


def test_a_diverged_trial_is_recalled_with_its_last_losses(tmp_path: Path) -> None:
    lost = trial(0, (500, 0.3), status="diverged", seconds=6.0)
    lost.add(evaluation(1000, 0.1, eval_loss=float("nan"), train_loss=float("inf")))
    (recalled,) = recall_trials(written(tmp_path, [lost]), CONFIG)
    assert recalled.status == "diverged"
    assert not recalled.evaluations[-1].is_finite
    assert recalled.curve == [(500, 0.3)]


def test_a_trial_cut_off_by_the_end_of_the_search_continues(tmp_path: Path) -> None:
    cut = trial(0, (500, 0.3), status="stopped", stopped_by="end of search", seconds=5.0)
    (recalled,) = recall_trials(written(tmp_path, [cut]), CONFIG)
    assert (recalled.status, recalled.stopped_by) == ("running", "")
    assert recalled.evaluations == cut.evaluations
    (closed,) = recall_trials(Run(tmp_path / "run"), CONFIG, resumes=False)
    assert (closed.status, closed.stopped_by) == ("stopped", "end of search")


def test_the_last_evaluated_trial_is_known(tmp_path: Path) -> None:
    assert last_evaluated(written(tmp_path, all_kinds())) == "t0006"


def test_an_incomplete_last_line_is_ignored(tmp_path: Path) -> None:
    run = written(tmp_path, all_kinds())
    whole = run.read_curves()
    with run.curves.open("a") as file:
        file.write("t0005,1000,1.0,12.")
    assert run.read_curves() == whole
    assert list(recall_trials(run, CONFIG)) == all_kinds()
    assert run.curves.read_text().endswith("\n")


def test_evaluations_of_an_unknown_trial_are_ignored(tmp_path: Path) -> None:
    run = written(tmp_path, all_kinds()[:1])
    run.append_evaluation({**run.read_curves()[0], "trial_id": "t0009"})
    assert list(recall_trials(run, CONFIG)) == all_kinds()[:1]


def test_a_run_without_trials_has_none_to_recall(tmp_path: Path) -> None:
    run = create_run(tmp_path, "run")
    assert list(recall_trials(run, CONFIG)) == []
    assert last_evaluated(run) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("t0000,completed", "t0000"),
        (",0.5,", ",half,"),
        ("trial_id,status", "trial,status"),
        (",learning_rate,", ",speed,"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str) -> None:
    run = written(tmp_path, all_kinds()[:1])
    for path in (run.trials, run.curves):
        text = path.read_text()
        path.write_text(text.replace(old, new))
    with pytest.raises(RunError) as refused:
        recall_trials(run, CONFIG)
    assert "\n" not in str(refused.value)
    assert "start a new run" in str(refused.value) or "restore the file" in str(refused.value)


def test_columns_have_the_order_that_scripts_rely_on(tmp_path: Path) -> None:
    run = written(tmp_path, all_kinds())
    header = run.trials.read_text().splitlines()[0].split(",")
    assert header[:13] == [
        *("trial_id", "status", "source", "learning_rate", "batch_size", "score", "f1_macro"),
        *("accuracy", "peak_f1_macro", "examples", "epochs", "seconds", "error"),
    ]
    curves = run.curves.read_text().splitlines()[0].split(",")
    assert curves[:9] == [
        *("trial_id", "examples", "epoch", "seconds", "train_loss", "eval_loss", "score"),
        *("f1_macro", "accuracy"),
    ]


def test_the_record_counts_trials_and_rows(tmp_path: Path) -> None:
    record = written(tmp_path, all_kinds()).read_record()
    assert record["status"] == "interrupted"
    assert record["finished_at"] is not None
    assert record["trials"] == {
        **{"requested": 6, "completed": 2, "stopped_early": 2, "ended_at_last_rung": 0},
        "failed": 1,
    }
    assert record["examples_trained"] == {
        "search": 3000 + 500 + 2000 + 3000 + 500,
        "confirmation": 3000,
    }
    assert record["best"]["trial_id"] == "t0000"
    assert record["best"]["fixed_rows_loss"] == [0.7, 1 / 3]


def test_a_run_without_a_score_has_no_best(tmp_path: Path) -> None:
    record = written(tmp_path, [trial(0, status="failed", error="x", seconds=1.0)]).read_record()
    assert record["best"] is None
    assert (record["default"]["score"], record["default"]["f1_macro"]) == (None, None)


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    run = written(tmp_path, all_kinds())
    assert [path for path in run.directory.iterdir() if path.name.startswith(".")] == []


RECORDED = Path(__file__).parents[1] / "run-0.2.0"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(RECORDED, tmp_path / "run")))


def keep(run: Run, *trial_ids: str, **changed: dict[str, str]) -> None:
    """Keep only these trials in `trials.csv`, with changed cells."""
    with run.trials.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["trial_id"] in trial_ids]
    rows = [row | changed.get(row["trial_id"], {}) for row in rows]
    with run.trials.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def ids(run: Run) -> list[str]:
    return [row["trial_id"] for row in run.read_trials()]


def test_a_rebuild_adds_no_trials_that_had_not_started(run: Run) -> None:
    searched = ("t0000", "t0001", "t0002", "t0003")
    keep(run, *searched)
    assert rebuild(run) == "interrupted"
    assert ids(run) == list(searched)
    assert run.read_record()["status"] == "interrupted"


def test_a_search_whose_time_ended_during_a_trial_is_rebuilt_as_interrupted(run: Run) -> None:
    settings = read_yaml(run.config)
    settings["search"]["time_budget_s"] = 60
    run.config.write_text(to_yaml(settings))
    stopped = {"status": "stopped", "stopped_by": "end of search"}
    running = {"status": "running", "stopped_by": ""}
    keep(run, "t0000", "t0001", "t0002", "t0003", t0002=stopped, t0003=running)
    before = run.read_trials()
    assert rebuild(run) == "interrupted"
    after = run.read_trials()
    for name in ("trial_id", "status", "stopped_by"):
        assert [row[name] for row in after] == [row[name] for row in before]
    assert run.read_record()["confirmation"] is None


INTERRUPTED = Path(__file__).parents[1] / "run-0.2.0-interrupted"


@pytest.fixture
def old(tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(RECORDED, tmp_path / "old")))


def table(path: Path) -> pd.DataFrame:
    """Read a table of a run as text, without the times, which differ between searches."""
    return pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="seconds")


def confirmed_means(record: dict[str, Any]) -> list[float]:
    means: list[float] = [one["mean"] for one in record["confirmation"]["candidates"]]
    return means


def test_an_old_run_is_compared_with_itself(old: Run, capsys: pytest.CaptureFixture[str]) -> None:
    again = Path(shutil.copytree(old.directory, old.directory.with_name("again")))
    assert compare([str(old.directory), str(again)]) == 0
    printed = capsys.readouterr().out
    assert "different splits" not in printed
    assert printed.count("0.389") >= 2  # the confirmed mean of each


def test_an_old_run_is_rebuilt_with_its_winner_trials_and_means(old: Run) -> None:
    before, winner = old.read_record(), read_yaml(old.best)
    tables = {path: table(path) for path in (old.trials, old.curves)}
    old.record.unlink()
    old.best.unlink()
    assert rebuild(old) == "completed"
    after = old.read_record()
    assert {**before["trials"], "ended_at_last_rung": 0} == after["trials"]
    for name in ("examples_trained", "repeatable"):
        assert after[name] == before[name]
    for name in ("trial_id", "parameters", "search_f1_macro", "f1_macro", "epochs"):
        assert after["best"][name] == before["best"][name]
        assert after["default"][name] == before["default"][name]
    assert confirmed_means(after) == confirmed_means(before)
    assert after["confirmation"]["replicates"] == before["confirmation"]["replicates"]
    assert before.get("baseline") is None
    validation = after["data"]["class_counts"]["validation"]
    assert after["baseline"]["num_validation_rows"] == sum(validation.values())
    assert after["baseline"]["score"] > 0.5
    again = read_yaml(old.best)
    for section, fields in winner.items():
        assert {name: again[section][name] for name in fields} == fields
    for path, rows in tables.items():
        pd.testing.assert_frame_equal(table(path)[rows.columns], rows)


@pytest.mark.parametrize("known", [None, {"name": "TF-IDF", "score": 0.7}])
def test_a_resume_measures_the_baseline_only_if_it_is_not_recorded(
    tmp_path: Path, known: dict[str, Any] | None
) -> None:
    run = Run(Path(shutil.copytree(INTERRUPTED, tmp_path / "old")))
    record = json.loads(run.record.read_text("utf-8"))
    run.record.write_text(json.dumps({**record, "baseline": known}), "utf-8")
    measured: list[str] = []
    state = prepare_resumed(
        run,
        build(read_configuration(run)),
        measure_baseline=lambda _, data: measured.append(data.summary.path),
    )
    assert measured == ([] if known else ["sample"])
    assert state.earlier_record["baseline"] == known


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_old_interrupted_run_is_resumed_and_ends_as_the_uninterrupted_one(
    tmp_path: Path,
) -> None:
    shutil.copytree(INTERRUPTED, tmp_path / "old")
    ended, run = searching.search(tmp_path, "old", "--resume")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert run.record["status"] == "completed"
    for name in ("trials.csv", "curves.csv"):
        expected = table(RECORDED / name)
        pd.testing.assert_frame_equal(table(run.directory / name)[expected.columns], expected)
    recorded = json.loads((RECORDED / "search.json").read_text("utf-8"))
    assert run.record["best"]["parameters"] == recorded["best"]["parameters"]
    assert confirmed_means(run.record) == confirmed_means(recorded)
    assert run.record["baseline"]["score"] > 0.5  # measured by the resume


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.long
def test_the_winner_of_an_old_run_is_retrained_and_evaluated(old: Run) -> None:
    final = run_module("evaluation.final", "--run", str(old.directory), "--gates", "none")
    assert final.code == 0, final.stdout + final.stderr
    reports = old.directory / "final" / "reports"
    assert (old.directory / "final" / "model" / "model.safetensors").is_file()
    report = json.loads((reports / "evaluation_report.json").read_text("utf-8"))
    classes = old.read_record()["data"]["class_counts"]["test"]
    assert {name: one["support"] for name, one in report["per_class"].items()} == classes
