"""The files of `final/reports`: `evaluation_report.json`, tables, error analysis and plots."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import classification_report

from evaluation import uncertainty
from evaluation.error_analysis import analyse_errors
from evaluation.gates import GateKind, check_gates
from evaluation.markdown import one_line
from evaluation.predictions import Predictions, TestPredictions, report_low_confidence
from evaluation.scores import NUM_BINS, SCORE, calibration, score
from results.files import write_json, write_text
from results.intervals import CONFIDENCE, SIGNIFICANCE
from results.png_plots import (
    plot_class_f1,
    plot_confusion_matrix,
    plot_reliability,
    plot_training_curves,
)
from results.run import TEST_REPORT
from training.baseline import NAME
from training.objective import Objective

Curve = Sequence[Mapping[str, Any]]

# Characters after which some reader starts a cell or a row, whichever separator it uses.
_SEPARATORS = r";|,\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029"

# What a spreadsheet reads as a formula, also after blanks, quotes and marks that it drops (OWASP,
# "CSV Injection"); the full-width forms are formulas in East Asian settings.
_FORMULA = (
    rf"(?:[^\S{_SEPARATORS}]|[\x00-\x08\x0e-\x1b\x1f\x7f\"\u200b-\u200f\u202a-\u202e\u2060-\u2069"
    r"\ufeff\ufffd])*+[=+\-@\uff1d\uff0b\uff0d\uff20]"
)

_STARTS_CELL = re.compile(rf"(^|[{_SEPARATORS}])(?={_FORMULA})")

# A spreadsheet cell has at most 32,767 units of UTF-16; a longer text can spill into another cell.
_MAX_CELL_UNITS = 32_000

_INTERVALS_COVER = (
    "the sampling of the test rows, near-duplicates together; not another seed or training split"
)

_RELIABILITY = (
    "the model is overconfident in a bin whose accuracy is below its confidence; the expected"
    " calibration error is the mean of these differences over the rows"
)

_LABELS_ARE = (
    "a score measures agreement with the labeller of the rows; if that was a machine, it is not the"
    " truth"
)


def write_reports(
    directory: Path,
    predictions: TestPredictions,
    report: Mapping[str, Any],
    names: Sequence[str],
    *,
    is_ordered: bool,
    search_curve: Curve,
    final_curve: Curve,
) -> None:
    """Write `evaluation_report.json`, then tables, error analysis and plots.

    Args:
        directory: `final/reports`.
        predictions: predictions on the test rows.
        report: content of `evaluation_report.json`.
        names: label names in the order of their codes.
        is_ordered: whether the labels are a scale.
        search_curve: evaluations of the winner in the search.
        final_curve: evaluations of the retrain.

    Raises:
        OSError: a file cannot be written.
    """
    test = predictions.test
    write_json(directory / TEST_REPORT, report)
    write_predictions(directory / "predictions.csv", test, names)
    write_misclassified(directory / "misclassified.csv", test, names)
    if predictions.low_confidence is not None:
        write_low_confidence(
            directory / "low_confidence.csv",
            predictions.low_confidence,
            predictions.low_confidences,
            names,
        )
    analysis = analyse_errors(test, names, predictions.facts, is_ordered=is_ordered)
    write_json(directory / "error_analysis.json", analysis)
    text = classification_text(test.data.labels, test.of_model, names)
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


def build_report(
    *,
    predictions: Predictions,
    low_confidence: Predictions | None,
    names: Sequence[str],
    decided_by: Objective,
    is_ordered: bool = True,
    gates_kind: GateKind,
    test_openings: list[dict[str, Any]],
    seed: int,
) -> dict[str, Any]:
    """Build the content of evaluation_report.json.

    Args:
        predictions: predictions on the test rows, at least one.
        low_confidence: predictions on the rows that the confidence filter removed from the test
            set; None if there is no such row.
        names: [num_labels], names in the order of the codes.
        decided_by: the objective of the search.
        is_ordered: whether the labels are a scale.
        gates_kind: which quality gates are checked.
        test_openings: [{at, reason}], every access to the test set.
        seed: seed of the bootstrap and of the randomisation test.

    Returns:
        `summary` (a sentence), `objective` (as in search.json), the keys of `scores.score`,
        `confidence_intervals`, `baseline` {name, the keys of `scores.score`,
        confidence_intervals, difference {key of `scores.compared_metrics`: model minus baseline},
        p_value {the same keys}}, `calibration`, `low_confidence` (see `report_low_confidence`),
        `gates`, `test_openings`, `method` (its `few_rows` {class: rows} names the classes with
        too few rows for their interval). All of it can be written as JSON.
    """
    labels, groups = predictions.data.labels, predictions.data.groups

    def scores(codes: NDArray[np.int64]) -> dict[str, Any]:
        return {
            **score(labels, codes, names, decided_by, is_ordered=is_ordered),
            "confidence_intervals": uncertainty.bootstrap_intervals(
                *(labels, codes, groups, names),
                decided_by=decided_by,
                is_ordered=is_ordered,
                seed=seed,
            ),
        }

    report = {
        "objective": decided_by.as_record(),
        **scores(predictions.of_model),
    }
    tests = uncertainty.paired_randomisation(
        labels,
        predictions.of_model,
        predictions.of_baseline,
        groups,
        len(names),
        decided_by=decided_by,
        seed=seed,
    )
    report["baseline"] = {
        "name": NAME,
        **scores(predictions.of_baseline),
        "difference": {metric: test["difference"] for metric, test in tests.items()},
        "p_value": {metric: test["p_value"] for metric, test in tests.items()},
    }
    return {
        "summary": summary_sentence(report),
        **report,
        "calibration": calibration(labels, predictions.probabilities),
        "low_confidence": report_low_confidence(
            low_confidence, names, seed=seed, is_ordered=is_ordered
        ),
        "gates": check_gates(gates_kind, report),
        "test_openings": test_openings,
        "method": {
            **_method(len(labels), len(np.unique(groups)), seed),
            "few_rows": uncertainty.few_rows(labels, groups, names),
        },
    }


def summary_sentence(report: Mapping[str, Any]) -> str:
    """Return the score, its interval and the comparison with the baseline in one sentence."""
    low, high = report["confidence_intervals"][SCORE]
    against, label = report["baseline"], one_line(report["objective"]["label"])
    difference, p_value = against["difference"][SCORE], against["p_value"][SCORE]
    verdict = "beats" if difference > 0 else "loses to" if difference < 0 else "scores the same as"
    if difference and p_value >= SIGNIFICANCE:
        verdict = (
            f"is {'above' if difference > 0 else 'below'}, but not significantly different from,"
        )
    return (
        f"Test {label} {report[SCORE]:.3f} (95 % interval {low:.3f} to {high:.3f}): the model"
        f" {verdict} the baseline ({against['name']}), which has {against[SCORE]:.3f}"
        f" (difference {difference:+.3f}, p = {p_value:.4f})."
    )


def _method(num_rows: int, num_groups: int, seed: int) -> dict[str, Any]:
    return {
        "rows": num_rows,
        "groups": num_groups,
        "intervals": "percentile bootstrap over near-duplicate groups, stratified by class",
        "level": CONFIDENCE,
        "resamples": uncertainty.NUM_RESAMPLES,
        "intervals_cover": _INTERVALS_COVER,
        "test": "paired approximate randomisation over near-duplicate groups, two-sided",
        "draws": uncertainty.NUM_PERMUTATIONS,
        "calibration": "equal-mass bins of the highest probability",
        "bins": NUM_BINS,
        "reliability": _RELIABILITY,
        "labels": _LABELS_ARE,
        "seed": seed,
    }


def classification_text(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], names: Sequence[str]
) -> str:
    """Return precision, recall, F1 and support of each class as a text table of scikit-learn.

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


def write_predictions(path: Path, predictions: Predictions, names: Sequence[str]) -> None:
    """Write predictions.csv: one line per test row, with label names and unrounded probabilities.

    Args:
        path: the file; it is replaced atomically.
        predictions: predictions on the test rows.
        names: [num_labels], names in the order of the codes.

    Raises:
        OSError: the file cannot be written.
    """
    _write_table(path, _prediction_header(names), _prediction_lines(predictions, names))


def write_low_confidence(
    path: Path, predictions: Predictions, confidences: NDArray[np.float64], names: Sequence[str]
) -> None:
    """Write low_confidence.csv: the columns of predictions.csv and the labeller's `confidence`.

    Args:
        path: the file; it is replaced atomically.
        predictions: predictions on the rows that the confidence filter removed from the test set.
        confidences: float64 [n], the labeller's confidence; the cell of a NaN is empty.
        names: [num_labels], names in the order of the codes.

    Raises:
        OSError: the file cannot be written.
    """
    cells = ("" if np.isnan(confidence) else float(confidence) for confidence in confidences)
    lines = zip(_prediction_lines(predictions, names), cells, strict=True)
    header = [*_prediction_header(names), "confidence"]
    _write_table(path, header, ([*line, cell] for line, cell in lines))


def _prediction_header(names: Sequence[str]) -> list[str]:
    fixed = ["row", "label", "prediction", "baseline_prediction", "group"]
    return fixed + [f"p_{name}" for name in names]


def _prediction_lines(predictions: Predictions, names: Sequence[str]) -> Iterator[list[object]]:
    data = predictions.data
    columns = zip(
        data.rows.tolist(),
        (names[code] for code in data.labels),
        (names[code] for code in predictions.of_model),
        (names[code] for code in predictions.of_baseline),
        data.groups.tolist(),
        predictions.probabilities.tolist(),
        strict=True,
    )
    for *cells, probabilities in columns:
        yield [*cells, *probabilities]


def write_misclassified(path: Path, predictions: Predictions, names: Sequence[str]) -> None:
    """Write misclassified.csv: the misclassified rows, most confident first.

    The columns are `row`, `label`, `prediction`, `confidence` (probability of the prediction),
    `label_probability` and `text`; `spreadsheet_cell` makes labels and texts safe.

    Args:
        path: the file; it is replaced atomically.
        predictions: predictions on the test rows.
        names: [num_labels], names in the order of the codes.

    Raises:
        OSError: the file cannot be written.
    """
    data = predictions.data
    lines = [
        [
            int(data.rows[index]),
            spreadsheet_cell(names[data.labels[index]]),
            spreadsheet_cell(names[predictions.of_model[index]]),
            float(predictions.confidence[index]),
            float(predictions.probabilities[index, data.labels[index]]),
            spreadsheet_cell(data.texts[index]),
        ]
        for index in predictions.most_confident_errors().tolist()
    ]
    header = ["row", "label", "prediction", "confidence", "label_probability", "text"]
    _write_table(path, header, lines)


def spreadsheet_cell(text: str) -> str:
    """Return the text as a cell that no spreadsheet runs as a formula or spills into the next cell.

    An apostrophe is put before anything that would start a formula: at the start of the text, and
    after each `;`, `|`, comma, tab and line break, because spreadsheets of many countries use
    another separator than the comma and then ignore quotes. NUL becomes U+FFFD. A text of more than
    32,000 units of UTF-16 is truncated and then ends with "...(cut)".
    """
    cell = _STARTS_CELL.sub(r"\1'", text.replace("\x00", "\ufffd"))
    if text[:1] in ("\t", "\r", "\n"):
        cell = f"'{cell}"
    units = cell.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * _MAX_CELL_UNITS:
        return cell
    kept = units[: 2 * _MAX_CELL_UNITS].decode("utf-16-le", "surrogatepass")
    # The cut may have left the first half of a pair.
    return (kept[:-1] if "\ud800" <= kept[-1] <= "\udbff" else kept) + " ...(cut)"


def _write_table(path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    write_text(path, text.getvalue())
