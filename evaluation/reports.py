"""Writes what a final evaluation says: tables, analysis, pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.error_analysis import analyse_errors
from evaluation.tables import (
    classification_text,
    write_low_confidence,
    write_misclassified,
    write_predictions,
)
from evaluation.tested import Tested
from results.files import write_json, write_text
from results.plots import plot_confusion_matrix, plot_training_curves
from results.run import TEST_REPORT
from results.score_plots import plot_class_f1, plot_reliability

Curve = Sequence[Mapping[str, Any]]


def write_reports(
    directory: Path,
    tested: Tested,
    report: Mapping[str, Any],
    names: Sequence[str],
    *,
    search_curve: Curve,
    final_curve: Curve,
) -> None:
    """Write `evaluation_report.json`, then tables, analysis and pictures.

    Args:
        directory: `final/reports`.
        tested: answers on the test rows.
        report: content of `evaluation_report.json`.
        names: label names in the order of their codes.
        search_curve: the winner's evaluations in the search.
        final_curve: those of the retrain.

    Raises:
        OSError: a file cannot be written.
    """
    answers = tested.answers
    write_json(directory / TEST_REPORT, report)
    write_predictions(directory / "predictions.csv", answers, names)
    write_misclassified(directory / "misclassified.csv", answers, names)
    if tested.low_confidence is not None:
        write_low_confidence(
            directory / "low_confidence.csv", tested.low_confidence, tested.low_confidences, names
        )
    analysis = analyse_errors(answers, names, tested.facts)
    write_json(directory / "error_analysis.json", analysis)
    text = classification_text(answers.data.labels, answers.predictions, names)
    write_text(directory / "classification_report.txt", text)
    plot_confusion_matrix(directory / "confusion_matrix.png", report["confusion_matrix"], names)
    plot_training_curves(
        directory / "training_curves.png",
        search_curve=search_curve,
        final_curve=final_curve,
        score_label=report["objective"]["label"],
    )
    plot_reliability(directory / "reliability.png", report["calibration"])
    plot_class_f1(directory / "class_f1.png", names, report)
