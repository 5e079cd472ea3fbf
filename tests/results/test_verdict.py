import pytest

from results.verdict import describe_result


def _record(**changes):
    best = {"trial_id": "t0003", "search_f1_macro": 0.7123, "f1_macro": 0.7012}
    default = {"trial_id": "t0000", "search_f1_macro": 0.6, "f1_macro": 0.61}
    parameters = {"learning_rate": 0.00031234, "batch_size": 16}
    return {
        "seconds": 61.4,
        "trials": {"completed": 3, "stopped_early": 8, "failed": 1},
        "best": {**best, "parameters": parameters},
        "default": {**default, "parameters": {"learning_rate": 0.0005, "batch_size": 32}},
        "confirmation": None,
        **changes,
    }


def _confirmation(difference=0.0912, distinguishable=True):
    return {
        "replicates": [{}, {}, {}],
        "winner_beats_default": {
            "difference": difference,
            "standard_error": 0.0123,
            "distinguishable": distinguishable,
        },
    }


def _lines(**changes):
    lines = list(describe_result(_record(**changes)))
    assert all("\n" not in line for line in lines)
    return lines


def test_it_counts_the_trials_and_names_the_winner_beside_the_default():
    counts, winner, _ = _lines()
    assert counts == "3 trials completed, 8 stopped early, 1 failed, in 61 s"
    assert winner == (
        "winner t0003 (learning_rate 0.0003123, batch_size 16): validation macro-F1 0.7123 in the"
        " search; the default 0.6000"
    )


def test_without_confirmation_the_score_is_called_too_high():
    assert _lines()[-1].startswith("not confirmed: the winner's score is the best of many")


@pytest.mark.parametrize(
    ("distinguishable", "words"),
    [(True, ": distinguishable from"), (False, ": not distinguishable from")],
)
def test_with_confirmation_the_lead_has_its_error_and_a_plain_word(distinguishable, words):
    (line,) = _lines(confirmation=_confirmation(distinguishable=distinguishable))[2:]
    assert "confirmed on 3 fresh draws (selected on these): winner 0.7012, default 0.6100" in line
    assert "+9.12 points, standard error 1.23" in line
    assert words in line


def test_a_default_that_stays_is_said_to_stay():
    default = _record()["default"]
    lines = _lines(best=default, confirmation=_confirmation(-0.01, False))
    assert lines[-1] == "the search found nothing better than the default, which stays"
    assert "-1.00 points" in lines[-2]


def test_a_confirmation_without_a_challenger_says_so():
    lines = _lines(confirmation={"replicates": [], "winner_beats_default": None})
    assert lines[-1].startswith("not confirmed: too few fresh draws ended")


def test_a_default_without_a_score_has_none():
    assert _lines(default=_record()["default"] | {"search_f1_macro": None})[1].endswith("none")
