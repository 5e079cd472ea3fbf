"""The order of a final evaluation: save model, record access, read test rows, write reports."""

import json

import pandas as pd
import pytest

from evaluation.evaluate import evaluate_winner
from evaluation.markdown import plain
from evaluation.test_lock import TestLock
from evaluation.winner import load_winner
from results.run import open_run
from training.errors import InputError


@pytest.fixture
def own_data(run_directory, data_file, tmp_path):
    """The data of the run in a file that the test may change."""
    own = tmp_path / "own.csv"
    own.write_bytes(data_file.read_bytes())
    best = run_directory / "best.yaml"
    best.write_text(best.read_text("utf-8").replace(str(data_file), str(own)), encoding="utf-8")
    return own


def _evaluate(winner, lock, directory):
    return evaluate_winner(
        winner,
        lock,
        directory,
        gates="none",
        weights="safetensors",
        reopen_reason=None,
        with_texts=True,
    )


def _accesses(run_directory):
    return json.loads((run_directory / "test_openings.json").read_text("utf-8"))


@pytest.mark.slow
def test_the_access_is_on_disk_before_a_test_row_is_read_and_can_be_continued(
    run_directory, own_data, run_final
):
    run = open_run(run_directory)
    winner, content = load_winner(run), own_data.read_bytes()
    lock, directory = TestLock(run), run_directory / "final"
    own_data.unlink()  # so that reading the test rows fails
    with pytest.raises(InputError, match="no such file"):
        _evaluate(winner, lock, directory)
    (access,) = _accesses(run_directory)
    assert access["state"] == "opened"
    assert (directory / "model" / "model.safetensors").is_file()
    assert not (directory / "reports" / "evaluation_report.json").exists()
    assert not (directory / "model" / "README.md").exists()  # the card has test scores

    own_data.write_bytes(content)
    assert run_final(["--run", run_directory, "--gates", "none"]) == 0
    (access,) = _accesses(run_directory)
    assert (access["directory"], access["state"]) == ("final", "complete")
    assert (directory / "reports" / "evaluation_report.json").is_file()
    assert not (run_directory / "final-2").exists()


def test_test_rows_that_change_while_the_winner_is_retrained_are_not_reported(
    run_directory, own_data
):
    run = open_run(run_directory)
    winner = load_winner(run)
    table = pd.read_csv(own_data, dtype=str, keep_default_na=False)
    table.loc[winner.data.test_rows[0], "text"] = "kowe pancen sombong tenan"
    table.to_csv(own_data, index=False)
    with pytest.raises(InputError, match="when the winner was retrained; nothing was tested"):
        _evaluate(winner, TestLock(run), run_directory / "final")
    assert _accesses(run_directory)[0]["state"] == "opened"
    assert not (run_directory / "final" / "reports" / "evaluation_report.json").exists()


def test_the_test_set_is_not_used_when_no_retrain_passes_the_guard(
    run_directory, run_final, capsys
):
    path = run_directory / "search.json"
    record = json.loads(path.read_text("utf-8"))
    record["best"]["fixed_rows_loss"] = [1e-6]
    path.write_text(json.dumps(record), encoding="utf-8")
    assert run_final(["--run", run_directory]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "the test set was not used" in line
    assert not (run_directory / "test_openings.json").exists()
    reports = run_directory / "final" / "reports"
    assert [path.name for path in reports.iterdir()] == ["training_metrics.json"]
    metrics = json.loads((reports / "training_metrics.json").read_text("utf-8"))
    assert [text[:7] for text in metrics["rejected_attempts"]] == ["seed 42", "seed 43", "seed 44"]
    assert not (run_directory / "final" / "model").exists()


@pytest.mark.slow
def test_a_winner_of_a_search_without_a_full_training_is_evaluated(
    run_directory, run_final, capsys
):
    path = run_directory / "search.json"
    record = json.loads(path.read_text("utf-8"))
    record["best"] |= {"fixed_rows_loss": [], "search_epochs": 1.0}
    path.write_text(json.dumps(record), encoding="utf-8")
    assert run_final(["--run", run_directory, "--gates", "none"]) == 0
    assert "this model" in capsys.readouterr().out
    reports = run_directory / "final" / "reports"
    report = json.loads((reports / "evaluation_report.json").read_text("utf-8"))
    assert (report["search"]["search_epochs"], report["search"]["epochs"]) == (1.0, 3)
    assert report["retrain"]["fixed_rows_loss_in_search"] == []
    limit = report["stages"]["training"]["loss on fixed rows within the guard's limit"]
    assert limit["met"]
    assert "the loss of a uniform guess" in limit["rule"]


@pytest.mark.slow
@pytest.mark.long
def test_a_test_score_far_below_the_confirmation_is_reported_first_and_is_an_unmet_gate(
    run_directory, run_final, capsys
):
    path = run_directory / "search.json"
    record = json.loads(path.read_text("utf-8"))
    parameters = record["best"]["parameters"]
    record["confirmation"] = {
        "replicates": [{"seed": 1, "split_seed": 1}, {"seed": 2, "split_seed": 2}],
        "candidates": [
            {
                **{"parameters": parameters, "score": [0.999, 0.998], "mean": 0.9985},
                **{"f1_macro": [0.999, 0.998], "standard_error": 0.0005},
            }
        ],
        "winner_beats_default": None,
        "verdict": "not confirmed",
        "required_probabilities": {},
    }
    path.write_text(json.dumps(record), encoding="utf-8")
    assert run_final(["--run", run_directory]) == 3
    reports = run_directory / "final" / "reports"
    report = json.loads((reports / "evaluation_report.json").read_text("utf-8"))
    assert report["search"]["confirmed_standard_error"] == pytest.approx(0.0005)
    assert not report["stages"]["evaluation"]["test not far below the confirmed score"]["met"]
    sentence = report["verdict"]["sentence"]
    assert sentence.startswith("Do not trust this result, because its test score is")
    out = capsys.readouterr().out
    assert f"! {sentence}" in out
    assert "evaluation: test not far below the confirmed score" in out
    card = (run_directory / "final" / "model" / "README.md").read_text("utf-8")
    page = (run_directory / "report.html").read_text("utf-8")
    assert plain(sentence.removeprefix("Do not trust this result")) in card
    assert "Do not trust this result" in page
