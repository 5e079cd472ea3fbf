"""`python -m evaluation.final` on a search with another metric than macro-F1."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from sklearn.metrics import accuracy_score

from evaluation.gates import BELOW_CONFIRMED
from tests.evaluation.conftest import Ended, read_csv, run_module

pytestmark = [pytest.mark.slow, pytest.mark.long]

OBJECTIVE = {"name": "accuracy", "label": "accuracy", "higher_is_better": True}
CONFIRMED = [0.999, 0.997]  # no model of the sample is as good on the test set


def _decide_by_accuracy(run: Path) -> None:
    """Rewrite a run as if accuracy had been the metric of its search, with a confirmed winner."""
    for path in (run / "trials.csv", run / "curves.csv"):
        rows = [{**row, "score": row["accuracy"]} for row in read_csv(path)]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    accuracy = {row["trial_id"]: float(row["accuracy"]) for row in read_csv(run / "trials.csv")}
    record = json.loads((run / "search.json").read_text("utf-8"))
    for part in (record["best"], record["default"]):
        part["score"] = part["search_score"] = accuracy[part["trial_id"]]
    record["objective"] = OBJECTIVE
    record["confirmation"] = _confirmation(record["best"]["parameters"])
    (run / "search.json").write_text(json.dumps(record), encoding="utf-8")


def _confirmation(parameters: dict[str, float]) -> dict[str, Any]:
    """Replicates of the winner with high accuracy and low macro-F1."""
    return {
        "replicates": [{"seed": 1, "split_seed": 2}, {"seed": 3, "split_seed": 4}],
        "candidates": [
            {
                "parameters": parameters,
                "score": CONFIRMED,
                "f1_macro": [0.01, 0.02],
                "mean": sum(CONFIRMED) / 2,
                "standard_error": 0.001,
            }
        ],
        "winner_beats_default": None,
        "verdict": "the default is the winner",
    }


@pytest.fixture(scope="module")
def run(finished_search: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = Path(shutil.copytree(finished_search, tmp_path_factory.mktemp("by") / "run"))
    _decide_by_accuracy(directory)
    return directory


@pytest.fixture(scope="module")
def ended(run: Path) -> Ended:
    return run_module("evaluation.final", "--run", str(run))


@pytest.fixture(scope="module")
def report(run: Path, ended: Ended) -> dict[str, Any]:
    assert ended.code == 3, ended.stdout + ended.stderr
    path = run / "final" / "reports" / "evaluation_report.json"
    return dict(json.loads(path.read_text("utf-8")))


def test_the_report_names_the_objective_and_its_score_is_that_of_scikit_learn(
    run: Path, report: dict[str, Any]
) -> None:
    rows = read_csv(run / "final" / "reports" / "predictions.csv")
    true, model, baseline = (
        [row[column] for row in rows] for column in ("label", "prediction", "baseline_prediction")
    )
    assert report["objective"] == OBJECTIVE
    assert report["score"] == pytest.approx(accuracy_score(true, model), abs=1e-9)
    assert report["baseline"]["score"] == pytest.approx(accuracy_score(true, baseline), abs=1e-9)
    for values in (report["confidence_intervals"], *_of_the_difference(report)):
        assert values["score"] == values["accuracy"] != values["f1_macro"]


def _of_the_difference(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [report["baseline"][part] for part in ("difference", "confidence_intervals")]


def test_the_test_score_is_compared_with_the_confirmed_score(
    run: Path, report: dict[str, Any], ended: Ended
) -> None:
    search = report["search"]
    (best,) = (row for row in read_csv(run / "trials.csv") if row["trial_id"] == search["trial_id"])
    assert search["search_score"] == float(best["accuracy"])
    assert search["search_f1_macro"] == float(best["f1_macro"])
    assert search["confirmed_score"] == pytest.approx(0.998)
    assert search["confirmed_f1_macro"] == pytest.approx(0.015)
    assert search["confirmed_deviation"] == pytest.approx(0.002 / 2**0.5)
    assert not report["stages"]["evaluation"][BELOW_CONFIRMED]["met"]
    fall = (search["confirmed_score"] - report["score"]) * 100
    assert report["summary"].startswith(
        f"The test score is {fall:.1f} points below the confirmed score"
    )
    assert "! Do not trust this result, because its test score is" in ended.stdout
    assert "--model ID" in ended.stdout  # the retrain learnt less than the search


def test_the_printed_lines_and_the_card_report_the_objective(
    run: Path, report: dict[str, Any], ended: Ended
) -> None:
    tested = report["score"]
    assert f"  accuracy {tested:.3f} (" in ended.stdout
    assert f" Test accuracy {tested:.3f} (95 % interval " in report["summary"]
    assert "macro-F1" not in ended.stdout
    card = (run / "final" / "model" / "README.md").read_text("utf-8")
    assert "| score | accuracy | on |" in card
    first, *_ = ModelCard(card).data.eval_results
    assert (first.metric_type, first.metric_value) == ("accuracy", tested)


def test_gates_keep_their_own_metrics(report: dict[str, Any]) -> None:
    gates = report["gates"]
    assert gates["accuracy"]["value"] == report["accuracy"]
    assert gates["f1_macro"]["value"] == report["f1_macro"]
    assert [name for name in gates if name.startswith("f1 of ")] == [
        f"f1 of {name}" for name in report["per_class"]
    ]
