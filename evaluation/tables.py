"""The tables and the record that the final report leaves."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import classification_report

from evaluation import baseline, uncertainty
from evaluation.error_analysis import most_confident_errors
from evaluation.gates import GateKind, check_gates
from evaluation.scores import NUM_BINS, calibration, score
from results.files import write_text

# What a spreadsheet takes for a formula, also behind blanks and marks that it drops (OWASP,
# "CSV Injection"); the wide forms count in East Asian settings.
_FORMULA = re.compile(
    r"[\s\x00-\x20\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]*"
    r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
)

# A cell of a spreadsheet holds 32,767 characters; what is more can spill into another cell.
_MAX_CELL_CHARACTERS = 32_000

_INTERVALS_COVER = (
    "which test rows were drawn, near-duplicates together; not another seed or training split"
)
_LABELS_ARE = (
    "a score is agreement with whoever labelled the rows; where that was a machine, it is not truth"
)


def write_predictions(
    path: Path,
    *,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    baseline_predictions: NDArray[np.int64],
    groups: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    names: Sequence[str],
) -> None:
    """Write predictions.csv: a line a test row, names for codes, probabilities unrounded.

    Args:
        path: the file, replaced whole.
        rows: int64 [n], numbers of the input's records, from 0.
        labels: int64 [n], true codes.
        predictions: int64 [n], predicted codes.
        baseline_predictions: int64 [n], codes that the baseline predicts.
        groups: int64 [n], near-duplicate groups.
        probabilities: float64 [n, num_labels].
        names: [num_labels], names in the order of the codes.

    Raises:
        OSError: the file cannot be written.
    """
    columns = zip(
        rows.tolist(),
        (names[code] for code in labels),
        (names[code] for code in predictions),
        (names[code] for code in baseline_predictions),
        groups.tolist(),
        probabilities.tolist(),
        strict=True,
    )
    header = ["row", "label", "prediction", "baseline_prediction", "group"]
    _write_table(
        path,
        header + [f"p_{name}" for name in names],
        ([*cells, *chances] for *cells, chances in columns),
    )


def write_misclassified(
    path: Path,
    *,
    rows: NDArray[np.int64],
    texts: Sequence[str],
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    names: Sequence[str],
) -> None:
    """Write misclassified.csv: the wrong rows, most confident first, safe in a spreadsheet.

    Columns: `row`, `label`, `prediction`, `confidence` (probability of the prediction),
    `label_probability`, `text`. A cell that starts a formula gets a leading apostrophe; NUL
    becomes U+FFFD; a text beyond 32,000 characters is cut, which its last word says.

    Args:
        path: the file, replaced whole.
        rows: int64 [n], numbers of the input's records, from 0.
        texts: [n], as they stand in the input.
        labels: int64 [n], true codes.
        predictions: int64 [n], predicted codes.
        probabilities: float64 [n, num_labels].
        names: [num_labels], names in the order of the codes.

    Raises:
        OSError: the file cannot be written.
    """
    lines = [
        [
            int(rows[index]),
            spreadsheet_cell(names[labels[index]]),
            spreadsheet_cell(names[predictions[index]]),
            float(probabilities[index, predictions[index]]),
            float(probabilities[index, labels[index]]),
            spreadsheet_cell(texts[index]),
        ]
        for index in most_confident_errors(labels, predictions, probabilities)
    ]
    header = ["row", "label", "prediction", "confidence", "label_probability", "text"]
    _write_table(path, header, lines)


def spreadsheet_cell(text: str) -> str:
    """The text as a cell that no spreadsheet runs, or spills into the next."""
    cell = text.replace("\x00", "\ufffd")
    if len(cell) > _MAX_CELL_CHARACTERS:
        cell = cell[:_MAX_CELL_CHARACTERS] + " ...(cut)"
    starts_formula = text[:1] in ("\t", "\r", "\n") or _FORMULA.match(text)
    return f"'{cell}" if starts_formula else cell


def build_report(
    *,
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    baseline_predictions: NDArray[np.int64],
    groups: NDArray[np.int64],
    names: Sequence[str],
    gates_kind: GateKind,
    test_openings: list[dict[str, Any]],
    seed: int,
) -> dict[str, Any]:
    """The content of evaluation_report.json.

    Args:
        labels: int64 [n], true codes, n at least 1.
        predictions: int64 [n], predicted codes.
        probabilities: float64 [n, num_labels].
        baseline_predictions: int64 [n], codes that the baseline predicts.
        groups: int64 [n], near-duplicate groups.
        names: [num_labels], names in the order of the codes.
        gates_kind: which quality gates are checked.
        test_openings: [{at, reason}], every time that the test rows were opened.
        seed: seed of the bootstrap and of the randomisation.

    Returns:
        `summary` (a sentence), the keys of `scores.score`, `confidence_intervals`,
        `calibration`, `baseline` {name, the keys of `scores.score`, difference {accuracy,
        f1_macro: model minus baseline}, p_value {accuracy, f1_macro}}, `gates`,
        `test_openings`, `method`. All of it can be written as JSON.
    """
    scores = score(labels, predictions, names)
    intervals = uncertainty.bootstrap_intervals(labels, predictions, groups, names, seed=seed)
    tests = uncertainty.paired_randomisation(
        labels, predictions, baseline_predictions, groups, len(names), seed=seed
    )
    against = {"name": baseline.NAME, **score(labels, baseline_predictions, names)}
    for key in ("difference", "p_value"):
        against[key] = {metric: test[key] for metric, test in tests.items()}
    report = {**scores, "confidence_intervals": intervals, "baseline": against}
    return {
        "summary": summary_sentence(report),
        **report,
        "calibration": calibration(labels, probabilities),
        "gates": check_gates(gates_kind, report),
        "test_openings": test_openings,
        "method": _method(len(labels), len(np.unique(groups)), seed),
    }


def summary_sentence(report: Mapping[str, Any]) -> str:
    """What was found, in words: macro-F1, its interval, and whether the baseline is beaten."""
    low, high = report["confidence_intervals"]["f1_macro"]
    against = report["baseline"]
    difference, p_value = against["difference"]["f1_macro"], against["p_value"]["f1_macro"]
    verdict = "beats" if difference > 0 else "loses to" if difference < 0 else "equals"
    if p_value >= 0.05:
        verdict = "cannot be told apart from"
    return (
        f"Test macro-F1 {report['f1_macro']:.3f} (95 % interval {low:.3f} to {high:.3f}): the model"
        f" {verdict} the baseline, {against['name']}, which has {against['f1_macro']:.3f}"
        f" (difference {difference:+.3f}, p = {p_value:.4f})."
    )


def classification_text(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], names: Sequence[str]
) -> str:
    """Precision, recall, F1 and support of each class as a text table, in scikit-learn's form.

    Args:
        labels: int64 [n], true codes.
        predictions: int64 [n], predicted codes.
        names: [num_labels], names in the order of the codes.
    """
    return str(
        classification_report(
            labels,
            predictions,
            labels=np.arange(len(names)),
            target_names=list(names),
            digits=4,
            zero_division=0.0,
        )
    )


def _method(num_rows: int, num_groups: int, seed: int) -> dict[str, Any]:
    return {
        "rows": num_rows,
        "groups": num_groups,
        "intervals": "percentile bootstrap over near-duplicate groups, stratified by class",
        "level": uncertainty.LEVEL,
        "resamples": uncertainty.NUM_RESAMPLES,
        "intervals_cover": _INTERVALS_COVER,
        "test": "paired approximate randomisation over near-duplicate groups, two-sided",
        "draws": uncertainty.NUM_DRAWS,
        "calibration": "equal-mass bins of the highest probability",
        "bins": NUM_BINS,
        "labels": _LABELS_ARE,
        "seed": seed,
    }


def _write_table(path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    write_text(path, text.getvalue())
