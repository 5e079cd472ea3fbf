from pathlib import Path

import pytest

from results.errors import RunError
from results.run import Run, create_run
from results.trial_states import SearchStatus
from tests.tuning.builders import configuration, evaluation, trial
from tests.tuning.recording import files_of, live
from tuning.config import Configuration
from tuning.resume import last_evaluated, recall_trials
from tuning.trials import Trial

CONFIG = configuration()


def lived(config: Configuration = CONFIG) -> list[Trial]:
    """One trial of every kind and state."""
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
    """A run whose files hold these trials, evaluation by evaluation."""
    run = create_run(directory, "run")
    files, policy = files_of(run, configuration=config)
    for one in trials:
        live(files, policy, one)
    files.closed(SearchStatus.INTERRUPTED)
    return run


def test_trials_are_recalled_as_they_were(tmp_path: Path) -> None:
    trials = lived()
    assert list(recall_trials(written(tmp_path, trials), CONFIG)) == trials


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
    (closed,) = recall_trials(Run(tmp_path / "run"), CONFIG, reopen=False)
    assert (closed.status, closed.stopped_by) == ("stopped", "end of search")


def test_the_trial_that_was_evaluated_last_is_known(tmp_path: Path) -> None:
    assert last_evaluated(written(tmp_path, lived())) == "t0006"


def test_a_line_torn_by_a_crash_is_left_out(tmp_path: Path) -> None:
    run = written(tmp_path, lived())
    whole = run.read_curves()
    with run.curves.open("a") as file:
        file.write("t0005,1000,1.0,12.")
    assert run.read_curves() == whole
    assert list(recall_trials(run, CONFIG)) == lived()
    assert run.curves.read_text().endswith("\n")


def test_evaluations_of_a_trial_that_no_row_names_are_left_out(tmp_path: Path) -> None:
    run = written(tmp_path, lived()[:1])
    run.append_evaluation({**run.read_curves()[0], "trial_id": "t0009"})
    assert list(recall_trials(run, CONFIG)) == lived()[:1]


def test_a_run_that_had_no_trial_yet_has_none_to_recall(tmp_path: Path) -> None:
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
def test_a_file_that_does_not_fit_is_told_in_one_line(tmp_path: Path, old: str, new: str) -> None:
    run = written(tmp_path, lived()[:1])
    for path in (run.trials, run.curves):
        text = path.read_text()
        path.write_text(text.replace(old, new))
    with pytest.raises(RunError) as refused:
        recall_trials(run, CONFIG)
    assert "\n" not in str(refused.value)
    assert "start a new run" in str(refused.value) or "restore the file" in str(refused.value)


def test_columns_stand_in_the_order_that_scripts_rely_on(tmp_path: Path) -> None:
    run = written(tmp_path, lived())
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
    record = written(tmp_path, lived()).read_record()
    assert record["status"] == "interrupted"
    assert record["finished_at"] is not None
    assert record["trials"] == {"requested": 6, "completed": 2, "stopped_early": 2, "failed": 1}
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


def test_no_half_written_file_is_left_beside_the_others(tmp_path: Path) -> None:
    run = written(tmp_path, lived())
    assert [path for path in run.directory.iterdir() if path.name.startswith(".")] == []
