"""Stage gates: each is met by sound data, training and files, and by nothing else."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.scores import score
from evaluation.stages import check_data, check_training
from evaluation.written import FILES, check_evaluation
from results.files import read_csv, write_csv, write_text
from results.plots import plot_training_curves
from tests.training.toys import toy_task, toy_training
from training.config import DataConfig
from training.data import open_test, prepare
from training.finetune import finetune
from training.texts import LabelledTexts

NUM_ROWS = 320
NAMES = ["fine", "mild, really", "<severe>"]


def _unmet(stage):
    return [name for name, found in stage.items() if not found["met"]]


# Data.


@pytest.fixture(scope="module")
def config(data_file):
    return DataConfig(path=str(data_file))


@pytest.fixture(scope="module")
def data(config):
    return prepare(config)


@pytest.fixture(scope="module")
def test_rows(config, data):
    return open_test(config, sha256=data.summary.sha256).test


@pytest.fixture
def splits(data, tmp_path):
    """Rows of a splits.csv, read as a run's is."""
    rows = data.assignment.astype(str).to_dict("records")
    write_csv(tmp_path / "splits.csv", ("row", "split", "reason"), rows)
    return read_csv(tmp_path / "splits.csv")


def test_sound_data_meet_every_check(data, test_rows, splits, config):
    stage = check_data(data, test_rows, splits, config)
    assert _unmet(stage) == []
    assert stage["no text in two splits"]["value"].startswith("0 of ")
    assert json.loads(json.dumps(stage, allow_nan=False)) == stage


def test_a_row_that_is_missing_or_stands_twice_in_splits_is_found(data, test_rows, splits, config):
    for changed in (splits[:-1], [*splits, splits[0]], [*splits[1:], splits[1]]):
        stage = check_data(data, test_rows, changed, config)
        assert "every input row accounted for" in _unmet(stage)


def test_a_reason_that_was_not_counted_is_found(data, test_rows, splits, config):
    dropped = next(line for line in splits if line["split"] == "dropped")
    dropped["reason"] = "no reason known"
    stage = check_data(data, test_rows, splits, config)
    assert _unmet(stage) == ["every input row accounted for"]


def test_a_row_of_another_split_than_recorded_is_found(data, test_rows, splits, config):
    line = next(line for line in splits if line["split"] == "train")
    line["split"] = "validation"
    stage = check_data(data, test_rows, splits, config)
    assert stage["rows in the recorded split"]["value"] == "2 rows elsewhere"
    assert _unmet(stage) == ["rows in the recorded split"]


def test_a_text_that_only_folding_makes_the_same_is_found_in_two_splits(
    data, test_rows, splits, config
):
    leaked = replace(
        test_rows, texts=["@someone " + data.train.texts[0].upper() + "!!!", *test_rows.texts[1:]]
    )
    stage = check_data(data, leaked, splits, config)
    assert _unmet(stage) == ["no text in two splits"]
    assert stage["no text in two splits"]["value"].startswith("1 of ")


def test_a_group_that_stands_in_two_splits_is_found(data, test_rows, splits, config):
    groups = test_rows.groups.copy()
    groups[0] = data.validation.groups[0]
    stage = check_data(data, replace(test_rows, groups=groups), splits, config)
    assert _unmet(stage) == ["no group in two splits"]


def test_a_class_that_a_split_lacks_is_found_and_named(data, test_rows, splits, config):
    without = data.validation.select(data.validation.labels != 3)
    stage = check_data(replace(data, validation=without), test_rows, splits, config)
    assert {"labels are codes", "class shares kept"} <= set(_unmet(stage))
    assert (
        "0 rows of 'Ujaran Kebencian - Berat' in validation" in stage["labels are codes"]["value"]
    )


def test_a_class_of_another_share_is_found_unless_the_file_fixes_the_split(
    data, test_rows, splits, config
):
    fewer = test_rows.select((test_rows.labels != 0) | (np.arange(len(test_rows.labels)) % 4 > 0))
    stage = check_data(data, fewer, splits, config)
    assert "class shares kept" in _unmet(stage)
    assert "'Bukan Ujaran Kebencian' in test" in stage["class shares kept"]["value"]
    fixed = config.model_copy(update={"split_column": "part"})
    assert check_data(data, fewer, splits, fixed)["class shares kept"]["met"]


def test_a_small_class_may_miss_its_share_by_a_whole_row(data, config):
    def rows(*counts):
        labels = np.repeat(np.arange(4), counts)
        groups = np.arange(len(labels))
        texts = [f"text {label} {place}" for place, label in enumerate(labels)]
        return LabelledTexts(rows=groups, texts=texts, labels=labels, groups=groups)

    small = replace(data, train=rows(64, 64, 64, 2), validation=rows(16, 16, 16, 1))
    assert check_data(small, rows(20, 20, 20, 1), [], config)["class shares kept"]["met"]
    assert not check_data(small, rows(20, 20, 20, 3), [], config)["class shares kept"]["met"]


# Training.


@pytest.fixture(scope="module")
def trained():
    task = toy_task(NUM_ROWS, validation=None)
    points = [NUM_ROWS * quarter // 4 for quarter in range(1, 13)]
    return finetune(task, toy_training(), evaluate_at=points)


def _training(tuned, *, loss_limit=1.0, **changes):
    training = toy_training(**changes)
    return check_training(
        tuned, tuned.evaluations, training, num_rows=NUM_ROWS, loss_limit=loss_limit
    )


def test_a_sound_training_meets_every_check(trained):
    stage = _training(trained)
    assert _unmet(stage) == []
    assert json.loads(json.dumps(stage, allow_nan=False)) == stage


def test_a_training_that_ended_before_its_budget_is_found(trained):
    assert _unmet(_training(trained, epochs=4)) == ["finished"]
    assert _unmet(_training(replace(trained, outcome="stopped early"))) == ["finished"]


def test_a_loss_that_is_no_number_is_found_and_the_stage_still_fits_in_json(trained):
    stage = _training(replace(trained, fixed_rows_loss=float("nan")))
    assert _unmet(stage) == ["every loss finite", "loss on fixed rows within the guard's limit"]
    json.dumps(stage, allow_nan=False)
    first = replace(trained.evaluations[0], train_loss=float("inf"))
    assert "every loss finite" in _unmet(
        _training(replace(trained, evaluations=(first, *trained.evaluations[1:])))
    )


def test_a_loss_that_rose_a_collapse_and_a_loss_above_the_limit_are_found(trained):
    first, last = trained.evaluations[0], trained.evaluations[-1]
    risen = replace(last, train_loss=first.train_loss)
    rose = replace(trained, evaluations=(*trained.evaluations[:-1], risen))
    assert _unmet(_training(rose)) == ["loss fallen"]
    one_class = replace(last, collapsed=True)
    collapsed = replace(trained, evaluations=(*trained.evaluations[:-1], one_class))
    assert _unmet(_training(collapsed)) == ["not collapsed"]
    limit = trained.fixed_rows_loss
    assert _unmet(_training(trained, loss_limit=limit)) == []
    assert _unmet(_training(trained, loss_limit=limit * 0.99)) == [
        "loss on fixed rows within the guard's limit"
    ]


def test_a_training_without_evaluations_shows_nothing(trained):
    assert set(_unmet(_training(replace(trained, evaluations=())))) == {
        *("every loss finite", "loss fallen", "not collapsed"),
    }


# Evaluation.


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
    report = {**score(labels, predictions, NAMES), "baseline": score(labels, baseline, NAMES)}
    plot_training_curves(reports / "training_curves.png", search_curve=[], final_curve=[])
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
@pytest.mark.parametrize("change", ["accuracy", "f1_macro", "per_class", "confusion_matrix"])
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
