"""The test against the confirmation: three joint standard errors below it are too many."""

import json
import math

import pytest

from evaluation.gates import (
    BELOW_CONFIRMED,
    advice,
    all_unmet,
    check_against_confirmation,
    describe_fall,
)

HALF_WIDTH = 1.959964  # of a 95 % interval, in standard errors


def report_of(tested, confirmed, *, of_test=0.03, of_mean=0.04, loss=0.3):
    half = HALF_WIDTH * of_test
    return {
        "objective": {"name": "accuracy", "label": "accuracy", "higher_is_better": True},
        "score": tested,
        "f1_macro": 0.99 - tested,  # it decided nothing, and is the other way round
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
def test_a_test_more_than_three_joint_standard_errors_below_is_unmet(tested, met):
    report = report_of(tested, 0.80)  # 0.05 = root of 0.03^2 + 0.04^2
    found = check_against_confirmation(report)
    assert found[BELOW_CONFIRMED]["met"] is met
    assert f"confirmed 0.8000, joint standard error {0.05:.4f}" in found[BELOW_CONFIRMED]["value"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert bool(describe_fall(report)) is not met
    assert found[BELOW_CONFIRMED]["rule"].startswith("accuracy of the test is at most 3 joint")


def test_the_fall_is_told_in_points():
    sentence = describe_fall(report_of(0.596, 0.996))
    assert sentence.startswith("The test is 40.0 points below the confirmed score, more than 3 ")
    assert sentence.endswith(". ")


def test_a_retrain_that_learnt_less_is_the_reason_that_is_told():
    assert "validation rows were easier" in describe_fall(report_of(0.5, 0.9, loss=0.5))
    sentence = describe_fall(report_of(0.5, 0.9, loss=0.7))
    assert "the retrain learnt less than the search's trainings did" in sentence
    assert "rows 0.700, theirs at most 0.500" in sentence
    assert "easier" not in sentence


def test_one_replicate_has_the_standard_error_of_the_test():
    joint = math.sqrt(2) * 0.03
    for away, met in ((2.9, True), (3.1, False)):
        report = report_of(0.8 - away * joint, 0.8, of_mean=None)
        assert check_against_confirmation(report)[BELOW_CONFIRMED]["met"] is met


def test_without_a_confirmation_nothing_is_claimed():
    report = report_of(0.1, None, of_mean=None)
    assert check_against_confirmation(report) == {}
    assert describe_fall(report) == ""


def test_it_is_a_gate_with_advice_of_its_own():
    stages = {"evaluation": check_against_confirmation(report_of(0.1, 0.9))}
    missed = all_unmet("minimum", {"gates": {}, "stages": stages})
    assert missed == [f"evaluation: {BELOW_CONFIRMED}"]
    assert "data.group_column" in advice(missed)
