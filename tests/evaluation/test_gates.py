import pytest

from evaluation.gates import advice, all_unmet, check, check_gates, unmet, unmet_stages


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
    assert unmet(gates) == []
    assert gates["f1_macro"] == {"threshold": 0.80, "value": 0.81, "met": True}
    assert len(gates) == 5


@pytest.mark.parametrize(
    ("kind", "accuracy", "f1_macro", "f1"),
    [("minimum", 0.85, 0.80, 0.70), ("optimal", 0.90, 0.85, 0.80)],
)
def test_a_value_at_exactly_its_threshold_is_unmet(kind, accuracy, f1_macro, f1):
    gates = check_gates(kind, _report(accuracy, f1_macro, f1, difference=0.0))
    assert unmet(gates) == ["accuracy", "f1_macro", "f1 of macro", "beats the baseline"]


@pytest.mark.parametrize(
    ("difference", "p_value", "met"),
    [(0.001, 0.049, True), (0.1, 0.05, False), (-0.1, 0.001, False), (0.0, 1.0, False)],
)
def test_the_baseline_is_beaten_by_a_difference_that_chance_does_not_make(difference, p_value, met):
    gate = check_gates("minimum", _report(0.9, 0.9, 0.9, difference, p_value))["beats the baseline"]
    assert gate == {"threshold": 0.0, "value": difference, "met": met, "p_value": p_value}


def test_one_weak_class_alone_is_named():
    assert unmet(check_gates("minimum", _report(0.95, 0.9, 0.5))) == ["f1 of macro"]


def test_no_gates_are_checked_when_none_are_asked_for():
    assert check_gates("none", _report(0.1, 0.1, 0.1)) == {}
    assert unmet({}) == []


def test_unmet_checks_are_named_by_stage_and_count_unless_no_gates_are_asked_for():
    stages = {
        "data": {"no text in two splits": check(False, "1 of 9", "0"), "else": check(True, 1, "")},
        "readiness": {"artefacts load": {"met": False, "value": "no", "rule": "they do"}},
    }
    named = ["data: no text in two splits", "readiness: artefacts load"]
    assert unmet_stages(stages) == named
    report = {"gates": {"accuracy": {"met": False}}, "stages": stages}
    assert all_unmet("minimum", report) == ["accuracy", *named]
    assert all_unmet("none", report) == []


def test_a_model_that_only_does_not_beat_the_baseline_needs_no_more_labels() -> None:
    assert "use it" in advice(["beats the baseline"])
    assert "label more rows" in advice(["f1 of a", "beats the baseline"])
