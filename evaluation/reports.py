"""The tables and the record that the final report leaves."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import classification_report

from evaluation import baseline, uncertainty
from evaluation.baseline import Answers
from evaluation.error_analysis import analyse_errors
from evaluation.gates import GateKind, check_gates
from evaluation.low_confidence import report_low_confidence
from evaluation.markdown import one_line
from evaluation.scores import NUM_BINS, SCORE, calibration, score
from evaluation.tested import Tested
from results.files import write_json, write_text
from results.png_plots import (
    plot_class_f1,
    plot_confusion_matrix,
    plot_reliability,
    plot_training_curves,
)
from results.run import TEST_REPORT
from training.objective import Objective

# Where a reader may begin a cell or a row, whatever separator it takes.
_SEPARATORS = r";|,\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029"

# What a spreadsheet takes for a formula, also behind blanks, quotes and marks that it drops (OWASP,
# "CSV Injection"); the wide forms count in East Asian settings.
_FORMULA = (
    rf"(?:[^\S{_SEPARATORS}]|[\x00-\x08\x0e-\x1b\x1f\x7f\"\u200b-\u200f\u202a-\u202e\u2060-\u2069"
    r"\ufeff\ufffd])*+[=+\-@\uff1d\uff0b\uff0d\uff20]"
)
_STARTS_CELL = re.compile(rf"(^|[{_SEPARATORS}])(?={_FORMULA})")

# A cell of a spreadsheet holds 32,767 units of UTF-16; what is more can spill into another cell.
_MAX_CELL_UNITS = 32_000

_INTERVALS_COVER = (
    "which test rows were drawn, near-duplicates together; not another seed or training split"
)
_RELIABILITY = (
    "in a bin whose accuracy is below its confidence the model is too sure of itself; the expected"
    " calibration error is the mean of these distances over the rows"
)
_LABELS_ARE = (
    "a score is agreement with whoever labelled the rows; where that was a machine, it is not truth"
)


def write_predictions(path: Path, answers: Answers, names: Sequence[str]) -> None:
    """Write predictions.csv: a line a test row, names for codes, probabilities unrounded.

    Args:
        path: the file, replaced whole.
        answers: on the test rows.
        names: [num_labels], names in the order of the codes.

    Raises:
        OSError: the file cannot be written.
    """
    _write_table(path, _prediction_header(names), _prediction_lines(answers, names))


def write_low_confidence(
    path: Path, answers: Answers, confidences: NDArray[np.float64], names: Sequence[str]
) -> None:
    """Write low_confidence.csv: the columns of predictions.csv and the labeller's `confidence`.

    Args:
        path: the file, replaced whole.
        answers: on the rows that the confidence filter took from the test part.
        confidences: float64 [n], the labeller's; a cell stays empty where it is NaN.
        names: [num_labels], names in the order of the codes.

    Raises:
        OSError: the file cannot be written.
    """
    cells = ("" if np.isnan(confidence) else float(confidence) for confidence in confidences)
    lines = zip(_prediction_lines(answers, names), cells, strict=True)
    header = [*_prediction_header(names), "confidence"]
    _write_table(path, header, ([*line, cell] for line, cell in lines))


def write_misclassified(path: Path, answers: Answers, names: Sequence[str]) -> None:
    """Write misclassified.csv: the wrong rows, most confident first, safe in a spreadsheet.

    Columns: `row`, `label`, `prediction`, `confidence` (probability of the prediction),
    `label_probability`, `text`, made safe by `spreadsheet_cell`.

    Args:
        path: the file, replaced whole.
        answers: on the test rows.
        names: [num_labels], names in the order of the codes.

    Raises:
        OSError: the file cannot be written.
    """
    data = answers.data
    lines = [
        [
            int(data.rows[place]),
            spreadsheet_cell(names[data.labels[place]]),
            spreadsheet_cell(names[answers.predictions[place]]),
            float(answers.confidence[place]),
            float(answers.probabilities[place, data.labels[place]]),
            spreadsheet_cell(data.texts[place]),
        ]
        for place in answers.most_confident_errors().tolist()
    ]
    header = ["row", "label", "prediction", "confidence", "label_probability", "text"]
    _write_table(path, header, lines)


def spreadsheet_cell(text: str) -> str:
    """The text as a cell that no spreadsheet runs, or spills into the next.

    What would start a formula gets an apostrophe before it, at the start of the text and after
    each `;`, `|`, comma, tab and line break in it: spreadsheets of many countries take another
    separator than the comma and mind no quotes then. NUL becomes U+FFFD; a text beyond 32,000
    units of UTF-16 is cut, which its last word says.
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


def build_report(
    *,
    answers: Answers,
    low_confidence: Answers | None,
    names: Sequence[str],
    decided_by: Objective,
    gates_kind: GateKind,
    test_openings: list[dict[str, Any]],
    seed: int,
) -> dict[str, Any]:
    """The content of evaluation_report.json.

    Args:
        answers: on the test rows, at least one.
        low_confidence: on the rows that the confidence filter took from the test part;
            None: there is no such row.
        names: [num_labels], names in the order of the codes.
        decided_by: of the search.
        gates_kind: which quality gates are checked.
        test_openings: [{at, reason}], every time that the test rows were opened.
        seed: seed of the bootstrap and of the randomisation.

    Returns:
        `summary` (a sentence), `objective` (as in search.json), the keys of `scores.score`,
        `confidence_intervals`, `baseline` {name, the keys of `scores.score`,
        confidence_intervals, difference {key of `scores.compared_metrics`: model minus baseline},
        p_value {likewise}}, `calibration`, `low_confidence` (as `report_low_confidence`),
        `gates`, `test_openings`, `method` (its `few_rows` {class: rows} names the classes whose
        interval covers too little). All of it can be written as JSON.
    """
    labels, groups = answers.data.labels, answers.data.groups
    report = {
        "objective": decided_by.as_record(),
        **_scores(answers, answers.predictions, names, decided_by, seed),
    }
    tests = uncertainty.paired_randomisation(
        labels,
        answers.predictions,
        answers.baseline_predictions,
        groups,
        len(names),
        decided_by=decided_by,
        seed=seed,
    )
    report["baseline"] = {
        "name": baseline.NAME,
        **_scores(answers, answers.baseline_predictions, names, decided_by, seed),
        "difference": {metric: test["difference"] for metric, test in tests.items()},
        "p_value": {metric: test["p_value"] for metric, test in tests.items()},
    }
    return {
        "summary": summary_sentence(report),
        **report,
        "calibration": calibration(labels, answers.probabilities),
        "low_confidence": report_low_confidence(low_confidence, names, seed=seed),
        "gates": check_gates(gates_kind, report),
        "test_openings": test_openings,
        "method": {
            **_method(len(labels), len(np.unique(groups)), seed),
            "few_rows": uncertainty.few_rows(labels, groups, names),
        },
    }


def _scores(
    answers: Answers,
    predictions: NDArray[np.int64],
    names: Sequence[str],
    decided_by: Objective,
    seed: int,
) -> dict[str, Any]:
    labels, groups = answers.data.labels, answers.data.groups
    return {
        **score(labels, predictions, names, decided_by),
        "confidence_intervals": uncertainty.bootstrap_intervals(
            labels, predictions, groups, names, decided_by=decided_by, seed=seed
        ),
    }


def summary_sentence(report: Mapping[str, Any]) -> str:
    """What was found, in words: the score, its interval, and whether the baseline is beaten."""
    low, high = report["confidence_intervals"][SCORE]
    against, label = report["baseline"], one_line(report["objective"]["label"])
    difference, p_value = against["difference"][SCORE], against["p_value"][SCORE]
    verdict = "beats" if difference > 0 else "loses to" if difference < 0 else "scores the same as"
    if difference and p_value >= uncertainty.SIGNIFICANCE:
        verdict = f"is {'above' if difference > 0 else 'below'}, but cannot be told apart from,"
    return (
        f"Test {label} {report[SCORE]:.3f} (95 % interval {low:.3f} to {high:.3f}): the model"
        f" {verdict} the baseline, {against['name']}, which has {against[SCORE]:.3f}"
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
        "reliability": _RELIABILITY,
        "labels": _LABELS_ARE,
        "seed": seed,
    }


def _prediction_header(names: Sequence[str]) -> list[str]:
    fixed = ["row", "label", "prediction", "baseline_prediction", "group"]
    return fixed + [f"p_{name}" for name in names]


def _prediction_lines(answers: Answers, names: Sequence[str]) -> Iterator[list[object]]:
    data = answers.data
    columns = zip(
        data.rows.tolist(),
        (names[code] for code in data.labels),
        (names[code] for code in answers.predictions),
        (names[code] for code in answers.baseline_predictions),
        data.groups.tolist(),
        answers.probabilities.tolist(),
        strict=True,
    )
    for *cells, chances in columns:
        yield [*cells, *chances]


def _write_table(path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    write_text(path, text.getvalue())


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
