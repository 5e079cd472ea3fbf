"""Sections of `report.html` on the test beside its mistakes: calibration, other scores, method."""

from collections.abc import Mapping
from typing import Any

from results.report.charts import plot_calibration
from results.report.markup import fold, heading, interval, number, paragraphs, table
from results.report.mistakes_section import class_interval
from results.score_names import CALIBRATION, LOW_CONFIDENCE, OVERALL
from results.verdict import describe_seed_variation


def describe_other_scores(test: Mapping[str, Any]) -> str:
    """Write calibration, the other metrics and the rows of low confidence.

    Args:
        test: content of `evaluation_report.json`.
    """
    parts = {
        "Calibration": _calibration(test.get("calibration")),
        "Other metrics": _metrics(test),
        "Rows of low confidence": _low_confidence(test.get("low_confidence")),
    }
    return "".join(heading(title) + content for title, content in parts.items() if content)


def _calibration(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    rows = [[name, number(found.get(key))] for key, name in CALIBRATION.items()]
    return plot_calibration(found) + fold(
        "Calibration in numbers", table(["metric", "value"], rows)
    )


def _metrics(test: Mapping[str, Any]) -> str:
    """Write the metrics of all classes, without the one that the top of the page has."""
    intervals, against = test["confidence_intervals"], test["baseline"]
    of_baseline, objective = against.get("confidence_intervals", {}), test["objective"]
    rows = [
        [
            *(name, number(test[key]), interval(intervals.get(key))),
            *(number(against.get(key)), interval(of_baseline.get(key))),
        ]
        for key, name in OVERALL.items()
        if key in test and key != objective["name"] and name != objective["label"]
    ]
    header = ["metric", "model", "95 % interval", "baseline", "its 95 % interval"]
    return table(header, rows)


def _low_confidence(low: Mapping[str, Any] | None) -> str:
    """Report the scores on the test rows that the confidence filter removed from the test set."""
    if not low:
        return ""
    intervals, few = low.get("confidence_intervals", {}), low.get("few_rows", {})
    overall = [
        [name, number(low[key]), interval(intervals.get(key))]
        for key, name in LOW_CONFIDENCE.items()
        if key in low
    ]
    classes = [
        [name, number(row["f1"]), class_interval(intervals, name, few), row["support"]]
        for name, row in low.get("per_class", {}).items()
        if row["support"]
    ]
    note = low.get("note") or "The confidence filter removed them; no test score includes them."
    return fold(
        f"Scores on the {low['rows']:,} rows that the confidence filter removed",
        paragraphs([note])
        + table(["metric", "these rows", "95 % interval"], overall)
        + table(["class", "F1", "95 % interval", "rows"], classes),
    )


def describe_method(test: Mapping[str, Any]) -> str:
    """Write how the model was retrained and tested, what the intervals cover, and the accesses."""
    method = test["method"]
    accesses = [
        [access["at"], access["reason"], access.get("run", "")] for access in test["test_openings"]
    ]
    return paragraphs(
        [
            f"The baseline is {test['baseline']['name']}, fitted on the same training rows.",
            f"Intervals cover {method['intervals_cover']}.",
            describe_seed_variation(test),
            f"{method['labels']}.",
            *_describe_retrain(test.get("retrain")),
        ]
    ) + table(
        ["evaluated on the test set at", "reason", "run that the search started from"], accesses
    )


def _describe_retrain(found: Mapping[str, Any] | None) -> list[str]:
    """Describe how the evaluated model was trained, and the attempts that were rejected."""
    if not found:
        return []
    rejected = found["rejected_attempts"]
    number_of = f" Attempts rejected before the test: {len(rejected)}." if rejected else ""
    return [
        f"The winner was retrained on {found['rows']:,} rows in {found['seconds']:.0f} s with seed"
        f" {found['seed']}.{number_of}",
        *(f"Rejected attempt: {problem}." for problem in rejected),
    ]
