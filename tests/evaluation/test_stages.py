"""Stage gates of data and training: each is met by sound ones, and by nothing else."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evaluation.gates import check_data, check_training
from results.files import read_csv, write_csv
from tests.training.toys import toy_task, toy_training
from training.config import DataConfig
from training.data import open_test, prepare
from training.finetune import finetune
from training.tokens import LabelledTexts

NUM_ROWS = 320


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


@pytest.mark.parametrize("drawn", [True, False])
def test_under_a_fixed_test_a_drawn_validation_is_checked_and_a_fixed_one_is_said_to_be(
    tmp_path, config, drawn
):
    table = pd.read_csv(config.path)
    place = np.arange(len(table))
    table["part"] = np.where(place % 5 == 0, "test", "train")
    if not drawn:
        mild = table["final_label"] == config.labels[1]
        table.loc[(place % 5 == 1) | ((place % 5 == 2) & mild), "part"] = "validation"
    table.to_csv(tmp_path / "rows.csv", index=False)
    fixed = DataConfig(
        path=str(tmp_path / "rows.csv"), split_column="part", near_duplicate_threshold=None
    )
    data = prepare(fixed)
    test = open_test(fixed, sha256=data.summary.sha256).test

    def shares(changed):
        return check_data(changed, test, [], fixed)["class shares kept"]

    found = shares(data)
    assert found["met"]
    assert (found["value"] == "fixed by the file") is not drawn
    # Rows of a class that go missing leave its share too small where it was drawn.
    labels = data.train.labels.copy()
    labels[labels == 0] = 1
    changed = shares(replace(data, train=replace(data.train, labels=labels)))
    assert changed["met"] is not drawn


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


@pytest.mark.parametrize(("loss", "met"), [(1.098, True), (1.099, False)])
def test_a_single_evaluation_is_held_against_the_loss_of_a_uniform_guess(trained, loss, met):
    assert trained.model.config.num_labels == 3
    once = replace(trained, evaluations=(replace(trained.evaluations[-1], train_loss=loss),))
    found = _training(once)["loss fallen"]
    assert found["met"] is met
    assert "below 1.0986" in found["rule"]


def test_each_rule_of_the_training_says_where_it_is_enforced(trained):
    rules = {name: found["rule"] for name, found in _training(trained).items()}
    by_guard = {name for name, rule in rules.items() if "the retrain's guard" in rule}
    assert by_guard == {
        *("every loss finite", "not collapsed", "loss on fixed rows within the guard's limit"),
    }
    for name in rules.keys() - by_guard:
        assert "checked here alone" in rules[name]


def test_a_training_without_evaluations_shows_nothing(trained):
    assert set(_unmet(_training(replace(trained, evaluations=())))) == {
        *("every loss finite", "loss fallen", "not collapsed"),
    }
