"""The test held against the confirmation: a fall beyond chance has a reason that must be found."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

from evaluation.markdown import one_line
from evaluation.scores import SCORE
from evaluation.stages import Stage, check
from evaluation.uncertainty import LEVEL

BELOW_CONFIRMED = "test not far below the confirmed score"
"""Name of the check."""

_STANDARD_ERRORS = 3
_HALF_WIDTH = NormalDist().inv_cdf((1 + LEVEL) / 2)
"""Of the test's interval, in standard errors."""


def check_against_confirmation(report: Mapping[str, Any]) -> Stage:
    """Check that the test is not far below what the confirmation led to expect.

    The confirmed mean is of fresh trainings on validation rows drawn afresh. Chance and what is
    left of selection move the test by a standard error or so; a starting model that has seen the
    validation rows, or validation rows that are easier than the test's, by more.

    Args:
        report: content of evaluation_report.json: `objective`, `score`, `confidence_intervals`,
            `search`.

    Returns:
        {name: check}; empty without a confirmation: the search's own score is too high by
        selection, and nothing can be claimed.
    """
    search, tested = report["search"], report[SCORE]
    confirmed = search["confirmed_score"]
    if confirmed is None:
        return {}
    low, high = report["confidence_intervals"][SCORE]
    of_test, of_mean = (high - low) / (2 * _HALF_WIDTH), search["confirmed_standard_error"]
    joint = math.hypot(of_test, of_test if of_mean is None else of_mean)
    return {
        BELOW_CONFIRMED: check(
            tested >= confirmed - _STANDARD_ERRORS * joint,
            f"test {tested:.4f}, confirmed {confirmed:.4f}, joint standard error {joint:.4f}",
            f"{one_line(report['objective']['label'])} of the test is at most {_STANDARD_ERRORS}"
            " joint standard errors below the mean of the winner's replicates; joint: the root of"
            f" the sum of the squares of the test's (from its {LEVEL:.0%} interval) and the mean's"
            " (of one replicate alone, the test's again)",
        )
    }


def describe_fall(report: Mapping[str, Any]) -> str:
    """The sentence to stand before the result of a test that fell so far; empty for others.

    Args:
        report: as in `check_against_confirmation`, and `retrain`, whose loss on the fixed rows
            tells a model that learnt less from rows that were easier.
    """
    if all(found["met"] for found in check_against_confirmation(report).values()):
        return ""
    fall = report["search"]["confirmed_score"] - report[SCORE]
    retrain = report["retrain"]
    loss, highest = retrain["fixed_rows_loss"], max(retrain["fixed_rows_loss_in_search"])
    why = (
        "validation rows were easier than the test's, or known to the starting model, and what was"
        " chosen by them may not be the best"
    )
    if loss > highest:
        why = (
            "the retrain learnt less than the search's trainings did (loss on the same training"
            f" rows {loss:.3f}, theirs at most {highest:.3f}), as models from scratch do with some"
            " seeds"
        )
    return (
        f"The test is {fall * 100:.1f} points below the confirmed score, more than"
        f" {_STANDARD_ERRORS} joint standard errors: {why}. "
    )
