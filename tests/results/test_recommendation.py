"""The verdict on a run: exactly one of five, with its reasons and its figures."""

from pathlib import Path
from typing import Any

import pytest

from results.key_figures import key_figures
from results.older_runs import OBJECTIVE
from results.recommendation import missed_gates, recommend
from results.run import open_run
from results.trial_states import VerdictKind
from results.trust import Cause, fall_below_confirmed, find_reasons
from tests.results.verdicts import against, record, report, texts, verdict

TESTS = Path(__file__).parents[1]


def test_each_verdict_has_a_sign_a_colour_and_words_of_its_own() -> None:
    kinds = [
        verdict(report()),
        verdict(against(-0.09, 0.01)),
        verdict(against(0.01, 0.4)),
        verdict(report(confusion_matrix=[[20, 0], [20, 0]])),
        verdict(None),
    ]
    assert [found.kind for found in kinds] == list(VerdictKind)
    assert len({found.sign for found in kinds}) == len({found.words for found in kinds}) == 5
    assert all(len(found.sign) == 1 for found in kinds)
    assert [found.colour for found in kinds] == ["green", "red", "amber", "red", "grey"]


def test_a_model_that_is_significantly_better_is_used() -> None:
    found = verdict(report())
    assert found.sentence == (
        "Use this model: on the test rows its macro-F1 is 9.0 points above TF-IDF's (p = 0.012)."
    )


@pytest.mark.parametrize("gates", [{}, {"accuracy": {"met": True}}])
def test_a_model_that_loses_is_not_used_whatever_the_gates(gates: dict[str, Any]) -> None:
    found = verdict(against(-0.123, 0.0001) | {"gates": gates})
    assert found.sentence == (
        "Use TF-IDF instead: on the test rows its macro-F1 is 12.3 points above the model's"
        " (p < 0.001)."
    )


@pytest.mark.parametrize(
    ("p_value", "kind"),
    [
        (0.05, VerdictKind.NO_DIFFERENCE),
        (0.0499, VerdictKind.USE_MODEL),
        (1.0, VerdictKind.NO_DIFFERENCE),
    ],
)
def test_a_p_value_of_exactly_five_per_cent_is_not_significant(
    p_value: float, kind: VerdictKind
) -> None:
    assert verdict(against(0.05, p_value)).kind == kind


def test_without_a_significant_difference_the_simpler_one_is_named() -> None:
    found = verdict(against(0.004, 0.62))
    assert found.sentence == (
        "No significant difference: use the simpler one, TF-IDF. On the test rows the model's"
        " macro-F1 is 0.4 points above TF-IDF's (p = 0.62, not below 0.05)."
    )
    assert "below TF-IDF's (p = 0.62" in verdict(against(-0.004, 0.62)).sentence


def test_two_equal_scores_have_no_difference_to_print() -> None:
    found = verdict(against(0.0, 1.0))
    assert found.kind == VerdictKind.NO_DIFFERENCE
    assert found.sentence.endswith("both have the same macro-F1 to a tenth of a point.")
    assert "0.0 points" not in found.sentence


def test_a_metric_where_lower_is_better_turns_the_comparison_round() -> None:
    lower = {"objective": OBJECTIVE | {"higher_is_better": False}}
    assert verdict(against(-0.09, 0.01) | lower).kind == VerdictKind.USE_MODEL


@pytest.mark.parametrize(("rows", "is_too_few"), [(9, True), (10, False), (0, True)])
def test_a_class_of_fewer_than_ten_test_rows_is_a_reason_not_to_trust(
    rows: int, is_too_few: bool
) -> None:
    found = verdict(report(per_class={"a": {"support": 20}, "b": {"support": rows}}))
    assert (found.kind == VerdictKind.DO_NOT_TRUST) is is_too_few
    if is_too_few:
        count = rows or "no"
        assert found.reasons == (
            f"'b' has {count} test rows, but a reliable score needs at least 10 of each class",
        )
        assert "Label more rows of 'b' (100 now" in texts(found)
        assert (", about 112 in all" in texts(found)) is (rows == 9)


def test_many_rare_classes_are_counted_and_not_listed() -> None:
    rare = {name: {"support": number} for number, name in enumerate("abcdef", 1)}
    (reason,) = verdict(report(per_class=rare)).reasons
    assert "'a' has 1 test row, 'b' has 2 test rows, 'c' has 3 test rows" in reason
    assert "and 3 more classes have as few" in reason


def test_a_test_score_far_below_the_confirmed_mean_is_a_reason() -> None:
    fallen = report(search={"confirmed_score": 0.99, "confirmed_standard_error": 0.01})
    fall = fall_below_confirmed(fallen)
    assert fall is not None
    assert fall.is_too_far
    found = verdict(fallen)
    assert found.sentence == (
        "Do not trust this result, because its test score is 20.0 points below the mean of its"
        " replicates (0.990), which is more than 3 joint standard errors."
    )
    assert "data.group_column" in texts(found)


def test_a_retrain_that_learnt_less_is_not_shipped() -> None:
    less = {"fixed_rows_loss": 0.9, "fixed_rows_loss_in_search": [0.3]}
    fallen = report(
        search={"confirmed_score": 0.99, "confirmed_standard_error": 0.01}, retrain=less
    )
    assert "data.group_column" not in texts(verdict(fallen))
    assert "its retrain learnt less" in texts(verdict(fallen))


def test_without_a_confirmation_no_fall_can_be_found() -> None:
    test = report(search={"confirmed_score": None, "confirmed_standard_error": None})
    assert fall_below_confirmed(test) is None
    assert verdict(test, confirmation=None).kind == VerdictKind.USE_MODEL


def test_a_second_access_is_a_reason_but_an_interrupted_one_without_scores_is_not() -> None:
    first = {"at": "2026-01-01", "reason": "first evaluation"}
    twice = verdict(report(test_openings=[first, first]))
    assert twice.reasons == ("this run was evaluated on its test set 2 times",)
    interrupted = report(test_openings=[first | {"has_scores": False}, first])
    assert verdict(interrupted).kind == VerdictKind.USE_MODEL


def test_an_evaluation_of_a_run_that_the_search_started_from_is_as_a_second_access() -> None:
    first = {"at": "2026-01-02", "reason": "more rows", "has_scores": True}
    earlier = {**first, "at": "2026-01-01", "run": "old", "rows": 410}
    found = verdict(against(-0.1, 0.001) | {"test_openings": [earlier, first]})
    assert found.kind == VerdictKind.DO_NOT_TRUST
    assert found.reasons == (
        "its search started from old (at 2026-01-01), of which a model was evaluated on up to 410"
        " of these test rows",
    )
    assert "Label new rows" in texts(found)
    assert "Quote" not in texts(found)


def test_an_evaluation_of_another_run_on_the_same_rows_is_a_reason_and_no_seed_is_advised() -> None:
    earlier = [{"run": f"r{n}", "at": "2026", "reason": "", "rows": 9} for n in (1, 1, 2, 3, 4)]
    found = verdict(report(earlier_openings=earlier))
    assert (
        "other runs were evaluated on these test rows before (r1, r2, r3 and 1 more)"
        in (found.reasons[0])
    )
    assert "Label new rows" in texts(found)
    assert "seed" not in texts(found)


@pytest.mark.parametrize(
    ("difference", "p_value", "kind"),
    [
        (0.1, 0.001, VerdictKind.DO_NOT_TRUST),
        (0.01, 0.5, VerdictKind.DO_NOT_TRUST),
        (-0.01, 0.5, VerdictKind.DO_NOT_TRUST),
        (-0.1, 0.05, VerdictKind.DO_NOT_TRUST),
        (-0.1, 0.001, VerdictKind.USE_BASELINE),
    ],
)
def test_evaluations_of_other_runs_flatter_a_model_so_that_only_its_loss_stands(
    difference: float, p_value: float, kind: VerdictKind
) -> None:
    earlier = {"earlier_openings": [{"run": "r1", "at": "2026", "reason": "", "rows": 9}]}
    found = verdict(against(difference, p_value) | earlier)
    assert found.kind == kind
    assert "(r1)" in found.reasons[0]
    assert "(r1)" in found.sentence
    assert texts(found).count("Label new rows") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"test_openings": [{"at": "2026", "reason": "first"}] * 2},
        {"confusion_matrix": [[0, 20], [0, 20]]},
    ],
)
def test_a_loss_is_not_trusted_either_after_a_second_access_of_its_own_run_or_a_collapse(
    changes: dict[str, Any],
) -> None:
    earlier = [{"run": "r1", "at": "2026", "reason": "", "rows": 9}]
    found = verdict(against(-0.1, 0.001) | changes | {"earlier_openings": earlier})
    assert found.kind == VerdictKind.DO_NOT_TRUST
    assert len(found.reasons) == 2


def test_a_loss_is_not_trusted_where_the_starting_model_had_seen_rows() -> None:
    data = record()["data"] | {"rows_seen": {"train": 0, "validation": 0, "test": 5}}
    assert verdict(against(-0.1, 0.001), data=data).kind == VerdictKind.DO_NOT_TRUST


def test_rows_that_the_starting_model_had_seen_are_a_reason() -> None:
    data = record()["data"] | {"rows_seen": {"train": 4, "validation": 0, "test": 1200}}
    found = verdict(report(), data=data)
    assert found.reasons == (
        "the starting model was trained on 1,200 test rows and 4 train rows of these data",
    )
    unconfirmed = verdict(report(), data=data, confirmation=None)
    assert "4 train rows" not in unconfirmed.sentence
    nothing = data | {"rows_seen": {"train": 0, "validation": 0, "test": 0}}
    assert verdict(report(), data=nothing).kind == VerdictKind.USE_MODEL


def test_all_reasons_are_listed_the_gravest_first() -> None:
    first = {"at": "2026-01-01", "reason": "first evaluation"}
    test = report(
        confusion_matrix=[[0, 20], [0, 9]],
        per_class={"a": {"support": 20}, "b": {"support": 9}},
        test_openings=[first, first],
        search={"confirmed_score": 0.99, "confirmed_standard_error": None},
    )
    causes = [reason.cause for reason in find_reasons(record(), test)]
    assert causes == [
        *(Cause.COLLAPSED, Cause.BELOW_CONFIRMED, Cause.SECOND_ACCESS, Cause.FEW_ROWS),
    ]
    found = verdict(test)
    assert len(found.reasons) == 4
    assert found.sentence.count("because") == 4
    assert "it predicts one class 'b' for every test row" in found.reasons[0]


def test_missed_gates_are_named_and_change_nothing() -> None:
    gates = {"accuracy": {"met": False}, "f1 of a": {"met": True}}
    stages = {"data": {"no text in two splits": {"met": False}}}
    found = verdict(report(gates=gates, stages=stages))
    assert found.kind == VerdictKind.USE_MODEL
    assert found.missed_gates == ("accuracy", "data: no text in two splits")
    assert missed_gates({}) == []


@pytest.mark.parametrize(
    "baseline", [{}, {"name": "TF-IDF", "score": 0.7}, {"difference": {"score": 0.1}}]
)
def test_a_report_without_a_comparison_gives_no_verdict(baseline: dict[str, Any]) -> None:
    found = verdict(report(baseline=baseline))
    assert found.kind == VerdictKind.NOT_EVALUATED
    assert "no comparison with TF-IDF" in found.sentence
    assert found.next_steps


def test_a_report_of_an_older_version_has_its_macro_f1_compared() -> None:
    test = report()
    for part in (test, test["baseline"], test["confidence_intervals"]):
        part["f1_macro"] = part.pop("score")
    test["baseline"]["difference"] = {"f1_macro": 0.09}
    test["baseline"]["p_value"] = {"f1_macro": 0.012}
    test["baseline"]["confidence_intervals"] = {}
    test["search"] = {"confirmed_f1_macro": 0.8, "confirmed_standard_error": 0.01}
    for key in ("objective", "earlier_openings", "stages", "confusion_matrix"):
        del test[key]
    assert verdict(test).kind == VerdictKind.USE_MODEL


@pytest.mark.parametrize("name", ["run-0.1.0", "run-0.2.0"])
def test_a_run_of_an_older_version_has_a_verdict(name: str) -> None:
    run = open_run(TESTS / name)
    found = recommend(run, run.read_whole_record(), None)
    assert found.kind == VerdictKind.NOT_EVALUATED
    assert found.sentence == (
        "Not evaluated yet: the search found nothing better than the default configuration, which"
        " stays."
    )
    first = found.next_steps[0].command
    assert first is not None
    assert first.startswith("python -m evaluation.final --run ")
    assert "further" not in texts(found)  # the default was not selected from a range
    assert key_figures(run.read_whole_record(), None)
