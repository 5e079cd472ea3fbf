"""Stage gate of the evaluation: its files are whole, and its scores come out of them again."""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from evaluation.gates import Check, Stage, check
from evaluation.markdown import one_line
from evaluation.scores import COMPARED, SCORE
from results.files import read_csv
from results.score_names import OVERALL
from training.objective import Objective, objective

AGREEMENT = 1e-9
"""How far a score computed again may be from the one reported."""

FILES = {
    "metrics written": ("training_metrics.json", "evaluation_report.json"),
    "pictures written": (
        *("confusion_matrix.png", "training_curves.png", "reliability.png", "class_f1.png"),
    ),
    "tables written": ("predictions.csv", "misclassified.csv", "classification_report.txt"),
    "analysis written": ("error_analysis.json",),
}
"""What the reports' directory must hold, by the name of the check."""

_COLUMNS = ("row", "label", "prediction", "baseline_prediction")


def check_evaluation(
    reports: Path,
    report: Mapping[str, Any],
    splits: Sequence[Mapping[str, str]],
    names: Sequence[str],
) -> Stage:
    """Check the evaluation stage; what is missing or broken is told, never raised.

    Args:
        reports: directory of the written reports.
        report: content of `evaluation_report.json`.
        splits: rows of the search's `splits.csv`, each with `row` and `split`.
        names: [num_labels], label names in the order of the codes.
    """
    predictions, problem = _read_predictions(reports / "predictions.csv", names)
    return {
        **{name: _whole(reports, files) for name, files in FILES.items()},
        "scores come out again": _scores(predictions, problem, report, names),
        "predictions for the test rows alone": _test_rows(predictions, problem, splits),
    }


def _whole(directory: Path, files: Sequence[str]) -> Check:
    problems = [f"{name}: {why}" for name in files if (why := _broken(directory / name))]
    rule = f"{', '.join(files)}: there, not empty, JSON and pictures open"
    return check(not problems, "; ".join(problems) or f"{len(files)} of {len(files)}", rule)


def _broken(path: Path) -> str:
    """Why a file cannot be used; empty if it can."""
    try:
        if not path.stat().st_size:
            return "empty"
        if path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError, SyntaxError) as error:  # Pillow says SyntaxError of a bad PNG
        return f"cannot be read ({' '.join(str(error).split())})"
    return ""


def _read_predictions(path: Path, names: Sequence[str]) -> tuple[list[dict[str, str]], str]:
    """Rows of predictions.csv, and why they cannot be used; empty if they can."""
    try:
        rows = read_csv(path)
    except (OSError, ValueError, csv.Error) as error:
        return [], f"predictions.csv cannot be read ({error})"
    if not rows:
        return [], "predictions.csv has no rows"
    missing = [column for column in _COLUMNS if any(row.get(column) is None for row in rows)]
    if missing:
        return [], f"predictions.csv lacks {missing[0]}"
    unknown = {row[column] for row in rows for column in _COLUMNS[1:]} - set(names)
    if unknown:
        return [], f"predictions.csv has the unknown label {min(unknown)!r}"
    return rows, ""


def _scores(
    rows: Sequence[Mapping[str, str]],
    problem: str,
    report: Mapping[str, Any],
    names: Sequence[str],
) -> Check:
    decided_by = objective(report["objective"]["name"], names)
    rule = _rule(decided_by)
    if problem:
        return check(False, problem, rule)
    code = {name: number for number, name in enumerate(names)}
    labels, *predicted = (
        np.array([code[row[column]] for row in rows], dtype=np.int64) for column in _COLUMNS[1:]
    )
    furthest = max(
        np.abs(_figures(labels, predictions, decided_by) - _reported(scores, names)).max()
        for predictions, scores in zip(predicted, (report, report["baseline"]), strict=True)
    )
    return check(furthest <= AGREEMENT, float(furthest), rule)


def _rule(decided_by: Objective) -> str:
    labels = [OVERALL[key] for key in COMPARED]
    own = decided_by.label
    return (
        f"{', '.join(labels)}, figures of each class and confusion matrix of the model and the"
        f" baseline, computed from predictions.csv with scikit-learn, differ by {AGREEMENT:g} at"
        " most" + ("" if own in labels else f", and so does {one_line(own)}, computed once more")
    )


def _figures(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], decided_by: Objective
) -> NDArray[np.float64]:
    """The score, what is compared, precision, recall, F1, support by class, then the matrix."""
    codes = np.arange(decided_by.num_labels)
    by_class = precision_recall_fscore_support(
        labels, predictions, labels=codes, average=None, zero_division=0.0
    )
    matrix = confusion_matrix(labels, predictions, labels=codes)
    overall = [
        decided_by.score(labels, predictions),
        accuracy_score(labels, predictions),
        by_class[2].mean(),
    ]
    return np.concatenate([overall, *by_class, matrix.ravel()])


def _reported(scores: Mapping[str, Any], names: Sequence[str]) -> NDArray[np.float64]:
    """The same figures as a report has them."""
    by_class = [
        [scores["per_class"][name][key] for name in names]
        for key in ("precision", "recall", "f1", "support")
    ]
    overall = [scores[key] for key in (SCORE, *COMPARED)]
    matrix = np.ravel(scores["confusion_matrix"])
    return np.concatenate([overall, *by_class, matrix]).astype(np.float64)


def _test_rows(
    rows: Sequence[Mapping[str, str]], problem: str, splits: Sequence[Mapping[str, str]]
) -> Check:
    wanted = Counter(line["row"] for line in splits if line["split"] == "test")
    found = Counter(row["row"] for row in rows)
    missing, beyond = (wanted - found).total(), (found - wanted).total()
    return check(
        not (problem or missing or beyond),
        problem or f"{len(rows):,} rows, {missing} missing, {beyond} beyond the test rows",
        f"predictions.csv has each of the {wanted.total():,} test rows of splits.csv once",
    )
