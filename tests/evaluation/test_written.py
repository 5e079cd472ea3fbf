"""Stage gate of the evaluation: met by whole files that belong together, and by nothing else."""

import copy
import json

import numpy as np
import pytest

from evaluation.scores import score
from evaluation.written import FILES, check_evaluation
from results.files import write_csv, write_text
from results.png_plots import plot_training_curves
from training.objective import objective

NAMES = ["fine", "mild, really", "<severe>"]


def _unmet(stage):
    return [name for name, found in stage.items() if not found["met"]]


@pytest.fixture
def written(tmp_path):
    """A directory of reports, its report, and the rows of splits.csv."""
    reports = tmp_path / "reports"
    rng = np.random.default_rng(0)
    rows = np.arange(100, 160)
    labels, predictions, baseline = (rng.integers(0, len(NAMES), 60) for _ in range(3))
    columns = ("row", "label", "prediction", "baseline_prediction")
    lines = zip(
        rows,
        *([NAMES[code] for code in codes] for codes in (labels, predictions, baseline)),
        strict=True,
    )
    write_csv(
        reports / "predictions.csv",
        columns,
        (dict(zip(columns, line, strict=True)) for line in lines),
    )
    decided_by = objective("f1_macro", NAMES)
    report = {
        "objective": decided_by.as_record(),
        **score(labels, predictions, NAMES, decided_by),
        "baseline": score(labels, baseline, NAMES, decided_by),
    }
    plot_training_curves(
        reports / "training_curves.png", search_curve=[], final_curve=[], score_label="macro-F1"
    )
    picture = (reports / "training_curves.png").read_bytes()
    for name in (name for names in FILES.values() for name in names if name != "predictions.csv"):
        if name.endswith(".png"):
            (reports / name).write_bytes(picture)
        else:
            write_text(reports / name, "{}\n")
    splits = [{"row": str(row), "split": "test" if row in rows else "train"} for row in range(160)]
    return reports, report, splits


def _evaluation(written):
    reports, report, splits = written
    return check_evaluation(reports, report, splits, NAMES)


def test_whole_files_meet_every_check(written):
    stage = _evaluation(written)
    assert _unmet(stage) == []
    assert stage["scores come out again"]["value"] <= 1e-12
    assert json.loads(json.dumps(stage, allow_nan=False)) == stage


@pytest.mark.parametrize(("name", "files"), FILES.items())
def test_a_file_that_is_missing_or_empty_is_named(written, name, files):
    path = written[0] / files[-1]
    path.write_bytes(b"")
    assert f"{files[-1]}: empty" in _evaluation(written)[name]["value"]
    path.unlink()
    stage = _evaluation(written)
    assert f"{files[-1]}: missing" in stage[name]["value"]
    assert name in _unmet(stage)


def test_json_and_pictures_that_do_not_open_are_named(written):
    reports = written[0]
    (reports / "error_analysis.json").write_text('{"rows": 1', encoding="utf-8")
    picture = (reports / "reliability.png").read_bytes()
    (reports / "reliability.png").write_bytes(picture[: len(picture) // 2])
    stage = _evaluation(written)
    assert _unmet(stage) == ["pictures written", "analysis written"]
    assert stage["pictures written"]["value"].startswith("reliability.png: cannot be read")
    assert stage["analysis written"]["value"].startswith("error_analysis.json: cannot be read")


@pytest.mark.parametrize("of_baseline", [False, True])
@pytest.mark.parametrize(
    "change", ["score", "accuracy", "f1_macro", "per_class", "confusion_matrix"]
)
def test_any_score_that_the_predictions_do_not_give_is_found(written, change, of_baseline):
    reports, report, splits = written
    report = copy.deepcopy(report)
    scores = report["baseline"] if of_baseline else report
    if change == "per_class":
        scores["per_class"][NAMES[1]]["recall"] += 1e-8
    elif change == "confusion_matrix":
        scores["confusion_matrix"][0][1] += 1
    else:
        scores[change] -= 1e-8
    stage = check_evaluation(reports, report, splits, NAMES)
    assert _unmet(stage) == ["scores come out again"]


def test_a_score_is_computed_again_by_the_metric_that_the_report_names(written):
    reports, report, splits = written
    assert (
        "scikit-learn, differ by 1e-09 at most"
        in _evaluation(written)["scores come out again"]["rule"]
    )
    report["objective"] = objective("kappa_quadratic", NAMES).as_record()
    assert _unmet(check_evaluation(reports, report, splits, NAMES)) == ["scores come out again"]
    for scores in (report, report["baseline"]):
        scores["score"] = scores["kappa_quadratic"]
    stage = check_evaluation(reports, report, splits, NAMES)
    assert _unmet(stage) == []
    rule = stage["scores come out again"]["rule"]
    assert rule.endswith("at most, and so does quadratic kappa, computed once more")


def test_predictions_of_other_rows_than_the_test_are_found(written):
    reports, report, splits = written
    splits[0]["split"], splits[159]["split"] = "test", "train"
    stage = check_evaluation(reports, report, splits, NAMES)
    found = stage["predictions for the test rows alone"]
    assert found["value"] == "60 rows, 1 missing, 1 beyond the test rows"
    assert _unmet(stage) == ["predictions for the test rows alone"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "has no rows"),
        ("row,label\n1,fine\n", "lacks prediction"),
        ("row,label,prediction,baseline_prediction\n1,fine,fine,what\n", "unknown label 'what'"),
        ("row,label,prediction,baseline_prediction\n1,fine\n", "lacks prediction"),
        ("\udcff", "cannot be read"),
    ],
)
def test_broken_predictions_are_told_and_never_raised(written, content, told):
    (written[0] / "predictions.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
    stage = _evaluation(written)
    for name in ("scores come out again", "predictions for the test rows alone"):
        assert not stage[name]["met"]
        assert told in stage[name]["value"]
