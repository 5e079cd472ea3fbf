import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evaluation.gates import (
    BELOW_CONFIRMED,
    all_unmet,
    check,
    check_against_confirmation,
    check_data,
    check_gates,
    check_training,
    describe_fall,
)
from results.files import read_csv, write_csv
from results.recommendation import missed_gates
from tests.training.models import toy_task, toy_training
from training.config import STUDY_LABELS, DataConfig
from training.data import prepare, read_test_rows
from training.finetune import finetune
from training.texts import LabelledTexts


def _report(accuracy: float, f1_macro: float, f1: float, difference: float = 0.1, p_value=0.01):
    return {
        "accuracy": accuracy,
        "f1_macro": f1_macro,
        "per_class": {"none": {"f1": 0.99}, "macro": {"f1": f1}},
        "baseline": {
            "difference": {"accuracy": -1.0, "f1_macro": difference},
            "p_value": {"accuracy": 0.0001, "f1_macro": p_value},
        },
    }


def test_values_above_every_threshold_meet_every_gate():
    gates = check_gates("minimum", _report(0.86, 0.81, 0.71))
    assert missed_gates({"gates": gates}) == []
    assert gates["f1_macro"] == {"threshold": 0.80, "value": 0.81, "met": True}
    assert len(gates) == 5


@pytest.mark.parametrize(
    ("kind", "accuracy", "f1_macro", "f1"),
    [("minimum", 0.85, 0.80, 0.70), ("optimal", 0.90, 0.85, 0.80)],
)
def test_a_value_at_exactly_its_threshold_is_unmet(kind, accuracy, f1_macro, f1):
    gates = check_gates(kind, _report(accuracy, f1_macro, f1, difference=0.0))
    assert missed_gates({"gates": gates}) == [
        "accuracy",
        "f1_macro",
        "f1 of macro",
        "beats the baseline",
    ]


@pytest.mark.parametrize(
    ("difference", "p_value", "met"),
    [(0.001, 0.049, True), (0.1, 0.05, False), (-0.1, 0.001, False), (0.0, 1.0, False)],
)
def test_the_baseline_is_beaten_by_a_significant_difference_only(difference, p_value, met):
    gate = check_gates("minimum", _report(0.9, 0.9, 0.9, difference, p_value))["beats the baseline"]
    assert gate == {"threshold": 0.0, "value": difference, "met": met, "p_value": p_value}


def test_one_weak_class_alone_is_named():
    assert missed_gates({"gates": check_gates("minimum", _report(0.95, 0.9, 0.5))}) == [
        "f1 of macro"
    ]


def test_no_gates_are_checked_when_none_are_asked_for():
    assert check_gates("none", _report(0.1, 0.1, 0.1)) == {}
    assert missed_gates({"gates": {}}) == []


def test_unmet_checks_are_named_by_stage_and_count_unless_no_gates_are_asked_for():
    stages = {
        "data": {"no text in two splits": check(False, "1 of 9", "0"), "else": check(True, 1, "")},
        "readiness": {"artefacts load": {"met": False, "value": "no", "rule": "they do"}},
    }
    named = ["data: no text in two splits", "readiness: artefacts load"]
    assert missed_gates({"stages": stages}) == named
    report = {"gates": {"accuracy": {"met": False}}, "stages": stages}
    assert all_unmet("minimum", report) == ["accuracy", *named]
    assert all_unmet("none", report) == []


HALF_WIDTH = 1.959964  # of a 95 % interval, in standard errors


def report_of(tested, confirmed, *, of_test=0.03, of_mean=0.04, loss=0.3):
    half = HALF_WIDTH * of_test
    return {
        "objective": {"name": "accuracy", "label": "accuracy", "higher_is_better": True},
        "score": tested,
        "f1_macro": 0.99 - tested,  # not the objective, and ordered the other way round
        "confidence_intervals": {"score": [tested - half, tested + half], "f1_macro": [0.0, 1.0]},
        "search": {
            "confirmed_score": confirmed,
            "confirmed_f1_macro": None if confirmed is None else 0.99 - confirmed,
            "confirmed_standard_error": of_mean,
        },
        "retrain": {"fixed_rows_loss": loss, "fixed_rows_loss_in_search": [0.5, 0.4]},
    }


@pytest.mark.parametrize(
    ("tested", "met"), [(0.90, True), (0.80, True), (0.6501, True), (0.6499, False), (0.1, False)]
)
def test_a_test_score_more_than_three_joint_standard_errors_below_is_unmet(tested, met):
    report = report_of(tested, 0.80)  # 0.05 = root of 0.03^2 + 0.04^2
    found = check_against_confirmation(report)
    assert found[BELOW_CONFIRMED]["met"] is met
    assert f"confirmed 0.8000, joint standard error {0.05:.4f}" in found[BELOW_CONFIRMED]["value"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert bool(describe_fall(report)) is not met
    assert found[BELOW_CONFIRMED]["rule"].startswith("accuracy on the test set is at most 3")


def test_the_fall_is_reported_in_points():
    sentence = describe_fall(report_of(0.596, 0.996))
    assert sentence.startswith(
        "The test score is 40.0 points below the confirmed score, more than 3 "
    )
    assert sentence.endswith(". ")


def test_a_retrain_that_learnt_less_is_reported_as_the_reason():
    assert "validation rows were easier" in describe_fall(report_of(0.5, 0.9, loss=0.5))
    sentence = describe_fall(report_of(0.5, 0.9, loss=0.7))
    assert "the retrain learnt less than the trainings in the search" in sentence
    assert "rows is 0.700, theirs is at most 0.500" in sentence
    assert "easier" not in sentence


def test_a_fall_without_a_full_training_to_compare_with_is_put_down_to_the_rows():
    report = report_of(0.5, 0.9, loss=0.7)
    report["retrain"]["fixed_rows_loss_in_search"] = []
    assert "validation rows were easier" in describe_fall(report)


def test_one_replicate_has_the_standard_error_of_the_test_score():
    joint = math.sqrt(2) * 0.03
    for away, met in ((2.9, True), (3.1, False)):
        report = report_of(0.8 - away * joint, 0.8, of_mean=None)
        assert check_against_confirmation(report)[BELOW_CONFIRMED]["met"] is met


def test_without_a_confirmation_nothing_is_claimed():
    report = report_of(0.1, None, of_mean=None)
    assert check_against_confirmation(report) == {}
    assert describe_fall(report) == ""


def test_the_check_against_the_confirmation_is_a_gate():
    stages = {"evaluation": check_against_confirmation(report_of(0.1, 0.9))}
    missed = all_unmet("minimum", {"gates": {}, "stages": stages})
    assert missed == [f"evaluation: {BELOW_CONFIRMED}"]


NUM_ROWS = 320


def _unmet(stage):
    return [name for name, found in stage.items() if not found["met"]]


# Data.


@pytest.fixture(scope="module")
def config(data_file):
    return DataConfig(path=str(data_file), labels=STUDY_LABELS)


@pytest.fixture(scope="module")
def data(config):
    return prepare(config)


@pytest.fixture(scope="module")
def test_rows(config, data):
    return read_test_rows(config, sha256=data.summary.sha256).test


@pytest.fixture
def splits(data, tmp_path):
    """Rows of a splits.csv, read like that of a run."""
    rows = data.assignment.astype(str).to_dict("records")
    write_csv(tmp_path / "splits.csv", ("row", "split", "reason"), rows)
    return read_csv(tmp_path / "splits.csv")


def test_sound_data_meet_every_check(data, test_rows, splits, config):
    stage = check_data(data, test_rows, splits, config)
    assert _unmet(stage) == []
    assert stage["no text in two splits"]["value"].startswith("0 of ")
    assert json.loads(json.dumps(stage, allow_nan=False)) == stage


def test_a_row_that_is_missing_or_listed_twice_in_splits_is_found(data, test_rows, splits, config):
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
    assert stage["rows in the recorded split"]["value"] == "2 rows are in another split"
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


def test_a_group_in_two_splits_is_found(data, test_rows, splits, config):
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


@pytest.mark.parametrize("is_sampled", [True, False])
def test_with_fixed_test_rows_sampled_validation_rows_are_checked_and_fixed_ones_are_not(
    tmp_path, config, is_sampled
):
    table = pd.read_csv(config.path)
    index = np.arange(len(table))
    table["part"] = np.where(index % 5 == 0, "test", "train")
    if not is_sampled:
        mild = table["final_label"] == STUDY_LABELS[1]
        table.loc[(index % 5 == 1) | ((index % 5 == 2) & mild), "part"] = "validation"
    table.to_csv(tmp_path / "rows.csv", index=False)
    data = prepare(
        DataConfig(
            path=str(tmp_path / "rows.csv"), split_column="part", near_duplicate_threshold=None
        )
    )
    fixed = data.config
    test = read_test_rows(fixed, sha256=data.summary.sha256).test

    def shares(changed):
        return check_data(changed, test, [], fixed)["class shares kept"]

    found = shares(data)
    assert found["met"]
    assert (found["value"] == "fixed by the file") is not is_sampled
    # Without some rows of a class its share is too small if the rows were sampled.
    labels = data.train.labels.copy()
    labels[labels == 0] = 1
    changed = shares(replace(data, train=replace(data.train, labels=labels)))
    assert changed["met"] is not is_sampled


def test_a_small_class_may_miss_its_share_by_a_whole_row(data, config):
    def rows(*counts):
        labels = np.repeat(np.arange(4), counts)
        groups = np.arange(len(labels))
        texts = [f"text {label} {row}" for row, label in enumerate(labels)]
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


def _training(tuned, *, loss_limit=1.0, has_reference=True, **changes):
    training = toy_training(**changes)
    return check_training(
        tuned,
        tuned.evaluations,
        training,
        num_rows=NUM_ROWS,
        loss_limit=loss_limit,
        has_reference=has_reference,
    )


def test_a_sound_training_meets_every_check(trained):
    stage = _training(trained)
    assert _unmet(stage) == []
    assert json.loads(json.dumps(stage, allow_nan=False)) == stage


def test_the_rule_of_the_limit_names_its_origin(trained):
    name = "loss on fixed rows within the guard's limit"
    assert "the winner's full trainings in the search" in _training(trained)[name]["rule"]
    assert _training(trained, has_reference=False)[name]["rule"].startswith(
        "at most 1.0000, the loss of a uniform guess, because the search has no full training of"
    )


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


@pytest.mark.parametrize(("loss", "met"), [(1.098, True), (1.099, False)])
def test_a_single_evaluation_is_compared_with_the_loss_of_a_uniform_guess(trained, loss, met):
    assert trained.model.config.num_labels == 3
    once = replace(trained, evaluations=(replace(trained.evaluations[-1], train_loss=loss),))
    found = _training(once)["loss fallen"]
    assert found["met"] is met
    assert "below 1.0986" in found["rule"]


def test_each_rule_of_the_training_states_where_it_is_checked(trained):
    rules = {name: found["rule"] for name, found in _training(trained).items()}
    by_guard = {name for name, rule in rules.items() if "the guard" in rule}
    assert by_guard == {
        *("every loss finite", "not collapsed", "loss on fixed rows within the guard's limit"),
    }
    for name in rules.keys() - by_guard:
        assert "only checked here" in rules[name]


def test_a_training_without_evaluations_meets_no_check_of_its_losses(trained):
    assert set(_unmet(_training(replace(trained, evaluations=())))) == {
        *("every loss finite", "loss fallen", "not collapsed"),
    }
