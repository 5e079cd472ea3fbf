import csv
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
)

from evaluation.predictions import NOTE, RowFacts, TestPredictions
from evaluation.reports import (
    build_report,
    classification_text,
    spreadsheet_cell,
    write_low_confidence,
    write_misclassified,
    write_predictions,
    write_reports,
)
from results.score_names import F1_MACRO_PRESENT
from tests.evaluation.rows import predictions_of
from training.baseline import fit
from training.objective import objective

HOSTILE_NAMES = ["fine", "<img src=x onerror=alert(1)>", "=severe, \u202ereally"]
TEXTS = [
    *("<script>alert(1)</script>", "=cmd|' /C calc'!A0", "kowe " * 25_000, "\U0001f621" * 9),
    *("a\x00b", "\u202eabc\u202c", "\ud800 alone", ' "quoted"\r\nline', ""),
]
FILES = {
    *("evaluation_report.json", "predictions.csv", "misclassified.csv", "error_analysis.json"),
    *("classification_report.txt", "confusion_matrix.png", "training_curves.png"),
    *("reliability.png", "class_f1.png"),
}


@pytest.fixture
def predictions():
    num_rows = len(TEXTS)
    chances = np.random.default_rng(0).dirichlet(np.ones(3), num_rows)
    return predictions_of(np.arange(num_rows) % 3, chances, texts=TEXTS)


def _write(directory, predictions, low_confidence, *, metric="f1_macro"):
    report = build_report(
        predictions=predictions,
        low_confidence=low_confidence,
        names=HOSTILE_NAMES,
        decided_by=objective(metric, HOSTILE_NAMES),
        gates_kind="minimum",
        test_openings=[{"at": "2026-01-01T00:00:00+00:00", "reason": "first evaluation"}],
        seed=0,
    )
    of_test_rows = TestPredictions(
        test=predictions,
        facts=RowFacts(
            label_confidences=np.linspace(0.7, 1.0, len(TEXTS)),
            unknown_shares=None,
            similarities=np.linspace(0.0, 0.9, len(TEXTS)),
            fills_max_length=np.zeros(len(TEXTS), dtype=bool),
        ),
        low_confidence=low_confidence,
        low_confidences=np.full(len(TEXTS), 0.5),
        baseline=fit(["a"], np.array([0]), names=HOSTILE_NAMES, seed=0),
    )
    write_reports(
        directory,
        of_test_rows,
        report,
        HOSTILE_NAMES,
        is_ordered=True,
        search_curve=[],
        final_curve=[],
    )


def test_hostile_texts_are_harmless_in_every_report(tmp_path, predictions):
    _write(tmp_path, predictions, None)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    cells = (tmp_path / "misclassified.csv").read_text("utf-8")
    assert "\x00" not in cells
    assert "\n=" not in cells
    assert ",=" not in cells
    analysis = (tmp_path / "error_analysis.json").read_text("utf-8")
    assert json.loads(analysis)["rows"] == len(TEXTS)
    assert "script" not in analysis  # no text of the data


def test_every_file_is_complete_json_or_a_picture_that_opens(tmp_path, predictions):
    _write(tmp_path, predictions, predictions)
    for path in tmp_path.iterdir():
        assert path.stat().st_size > 0, path
        if path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()


@pytest.mark.parametrize("metric", ["f1_macro", "accuracy", "kappa_quadratic", "mcc"])
def test_the_scores_of_the_report_are_those_of_scikit_learn_on_predictions_csv(
    tmp_path, predictions, metric
):
    _write(tmp_path, predictions, None, metric=metric)
    report = json.loads((tmp_path / "evaluation_report.json").read_text("utf-8"))
    table = pd.read_csv(tmp_path / "predictions.csv")
    code = {name: number for number, name in enumerate(HOSTILE_NAMES)}
    labels, model, baseline = (
        table[column].map(code).to_numpy()
        for column in ("label", "prediction", "baseline_prediction")
    )
    for scores, codes in ((report, model), (report["baseline"], baseline)):
        expected = {
            "f1_macro": f1_score(labels, codes, average="macro"),
            "accuracy": accuracy_score(labels, codes),
            "kappa_quadratic": cohen_kappa_score(labels, codes, weights="quadratic"),
            "mcc": matthews_corrcoef(labels, codes),
        }
        assert scores["score"] == pytest.approx(expected[metric], abs=1e-9)
        assert scores["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-9)
        assert scores["f1_macro"] == pytest.approx(expected["f1_macro"], abs=1e-9)
        assert scores["confusion_matrix"] == confusion_matrix(labels, codes).tolist()
        of_classes = precision_recall_fscore_support(labels, codes, zero_division=0)
        for name, *values in zip(HOSTILE_NAMES, *of_classes, strict=True):
            assert list(scores["per_class"][name].values()) == pytest.approx(values, abs=1e-9)


def test_rows_of_low_confidence_have_their_own_table(tmp_path, predictions):
    _write(tmp_path, predictions, predictions)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "low_confidence.csv"}
    report = json.loads((tmp_path / "evaluation_report.json").read_text("utf-8"))
    assert report["low_confidence"]["rows"] == len(TEXTS)


NAMES = ["Bukan, Ujaran", "Ringan", "Berat"]


def _predictions(num_rows: int = 60, *, seed: int = 0):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), num_rows)
    codes = probabilities.argmax(axis=1)
    labels = np.where(rng.random(num_rows) < 0.8, codes, rng.integers(0, 3, num_rows))
    return predictions_of(
        labels,
        probabilities,
        baseline=rng.integers(0, 3, num_rows),
        rows=np.arange(num_rows) * 3,
        groups=np.arange(num_rows) // 2,
    )


def _report(
    predictions,
    low_confidence=None,
    *,
    metric="f1_macro",
    gates_kind="none",
    test_openings=(),
    seed=0,
):
    return build_report(
        predictions=predictions,
        low_confidence=low_confidence,
        names=NAMES,
        decided_by=objective(metric, NAMES),
        gates_kind=gates_kind,
        test_openings=list(test_openings),
        seed=seed,
    )


def test_predictions_are_read_back_to_the_last_digit_and_give_the_report(tmp_path):
    predictions, path = _predictions(), tmp_path / "predictions.csv"
    write_predictions(path, predictions, NAMES)
    table = pd.read_csv(path)
    chances = [f"p_{name}" for name in NAMES]
    assert list(table) == [
        "row",
        "label",
        "prediction",
        "baseline_prediction",
        "group",
        *chances,
    ]
    assert (table[chances].to_numpy() == predictions.probabilities).all()
    assert table["row"].tolist() == predictions.data.rows.tolist()
    assert table["group"].tolist() == predictions.data.groups.tolist()
    report = _report(predictions)
    assert report["accuracy"] == pytest.approx(
        accuracy_score(table["label"], table["prediction"]), abs=1e-12
    )
    assert report["baseline"]["f1_macro"] == pytest.approx(
        f1_score(table["label"], table["baseline_prediction"], average="macro"), abs=1e-12
    )


def test_the_table_of_low_confidence_has_the_columns_of_predictions_and_the_confidence(tmp_path):
    predictions = _predictions(4)
    write_low_confidence(
        tmp_path / "low.csv", predictions, np.array([0.1, np.nan, 0.3, 1 / 3]), NAMES
    )
    write_predictions(tmp_path / "same.csv", predictions, NAMES)
    table, same = pd.read_csv(tmp_path / "low.csv"), pd.read_csv(tmp_path / "same.csv")
    assert table["confidence"].tolist() == pytest.approx([0.1, np.nan, 0.3, 1 / 3], nan_ok=True)
    assert table.drop(columns="confidence").equals(same)


def test_rows_of_low_confidence_are_reported_separately_and_change_nothing_else():
    predictions, low = _predictions(), _predictions(20, seed=1)
    with_low, without = _report(predictions, low), _report(predictions)
    apart = with_low.pop("low_confidence")
    assert without.pop("low_confidence") is None
    assert with_low == without
    labels, codes = low.data.labels, low.of_model
    assert apart["rows"] == 20
    assert apart["accuracy"] == accuracy_score(labels, codes)
    assert apart[F1_MACRO_PRESENT] == pytest.approx(f1_score(labels, codes, average="macro"))
    assert list(apart["per_class"]) == NAMES
    interval = apart["confidence_intervals"]["accuracy"]
    assert interval[0] < apart["accuracy"] < interval[1]
    assert apart["baseline"] == {
        "accuracy": accuracy_score(labels, low.of_baseline),
        F1_MACRO_PRESENT: pytest.approx(f1_score(labels, low.of_baseline, average="macro")),
    }
    assert apart["note"] == NOTE
    assert _report(predictions, _predictions(0))["low_confidence"] is None


def test_the_baseline_has_the_intervals_that_it_would_have_as_the_model():
    predictions = _predictions()
    swapped = predictions_of(
        predictions.data.labels,
        np.eye(3)[predictions.of_baseline],
        groups=predictions.data.groups,
    )
    found = _report(predictions)["baseline"]["confidence_intervals"]
    assert found == _report(swapped)["confidence_intervals"]


def test_the_report_is_json_and_describes_its_method():
    accesses = [{"at": "2025-01-01T00:00:00Z", "reason": "first"}]
    predictions = _predictions()
    report = _report(predictions, predictions, gates_kind="minimum", test_openings=accesses, seed=3)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["test_openings"] == accesses
    assert report["method"]["seed"] == 3
    assert report["method"]["groups"] == 30
    assert report["method"]["resamples"] == report["method"]["draws"] == 10_000
    assert report["method"]["bins"] == 15
    assert report["gates"]["accuracy"]["threshold"] == 0.85
    difference = report["f1_macro"] - report["baseline"]["f1_macro"]
    assert report["baseline"]["difference"]["f1_macro"] == pytest.approx(difference)
    assert next(iter(report)) == "summary"


@pytest.mark.parametrize(
    ("model", "baseline", "words"),
    [
        ("good", "bad", "beats the baseline"),
        ("bad", "good", "loses to the baseline"),
        ("good", "good", "scores the same as the baseline"),
    ],
)
def test_the_summary_compares_the_model_with_the_baseline(model, baseline, words):
    labels = np.tile([0, 1, 2], 40)
    codes = {"good": labels, "bad": np.roll(labels, 1)}
    report = _report(predictions_of(labels, np.eye(3)[codes[model]], baseline=codes[baseline]))
    assert words in report["summary"]


def test_the_score_is_macro_f1_by_default_and_nothing_else_changes_with_the_metric():
    predictions = _predictions()
    by_f1, by_accuracy = _report(predictions), _report(predictions, metric="accuracy")
    for found, key in ((by_f1, "f1_macro"), (by_accuracy, "accuracy")):
        for values in (found, found["confidence_intervals"]):
            assert values["score"] == values[key]
        for part in ("confidence_intervals", "difference", "p_value"):
            assert found["baseline"][part]["score"] == found["baseline"][part][key]
        assert found["baseline"]["score"] == found["baseline"][key]
    assert by_f1["objective"]["label"] == "macro-F1"
    assert by_accuracy["objective"]["name"] == "accuracy"
    changed = {key for key in by_f1 if by_f1[key] != by_accuracy[key]}
    assert changed == {"summary", "objective", "score", "confidence_intervals", "baseline"}


def test_the_summary_speaks_of_the_metric_that_decided():
    # The model finds every row of the rare class; the baseline finds none of them and most others.
    labels = np.repeat([0, 1, 2], [200, 80, 20])
    model, baseline = labels.copy(), np.where(labels == 2, 0, labels)
    model[:60] = 1
    predictions = predictions_of(labels, np.eye(3)[model], baseline=baseline)
    of_recall = _report(predictions, metric="balanced_accuracy")["summary"]
    assert of_recall.startswith("Test balanced accuracy 0.900 (95 % interval ")
    assert "the model beats the baseline" in of_recall
    of_rows = _report(predictions, metric="accuracy")["summary"]
    assert of_rows.startswith("Test accuracy 0.800 (95 % interval ")
    assert "the model loses to the baseline" in of_rows
    of_class = _report(predictions, metric="f1:Bukan, Ujaran")["summary"]
    assert of_class.startswith("Test F1 of Bukan, Ujaran 0.824 (95 % interval ")


@pytest.mark.parametrize(("change", "side"), [(1, "below"), (-1, "above")])
def test_a_difference_that_is_not_significant_is_reported_with_its_sign(change, side):
    labels = np.tile([0, 1, 2], 40)
    worse = labels.copy()
    worse[:6] = np.roll(worse[:6], 1)
    better = labels.copy()
    better[:5] = np.roll(better[:5], 1)
    model, baseline = (worse, better) if change == 1 else (better, worse)
    report = _report(
        predictions_of(labels, np.eye(3)[model], baseline=baseline), gates_kind="minimum"
    )
    assert (
        f"the model is {side}, but not significantly different from, the baseline ("
        in report["summary"]
    )
    assert not report["gates"]["beats the baseline"]["met"]


def test_classes_of_few_rows_are_named_and_keep_their_numbers():
    labels = np.repeat([0, 1, 2], [20, 8, 2])
    codes = np.where(labels == 2, 0, labels)
    report = _report(predictions_of(labels, np.eye(3)[codes]))
    assert report["method"]["few_rows"] == {"Berat": 2}
    assert report["confidence_intervals"]["f1 of Berat"] == [0.0, 0.0]


def test_low_confidence_averages_over_the_classes_that_have_rows():
    labels = np.repeat([0, 2], 5)
    low = predictions_of(labels, np.eye(3)[labels])
    apart = _report(_predictions(), low)["low_confidence"]
    assert apart[F1_MACRO_PRESENT] == apart["baseline"][F1_MACRO_PRESENT] == 1.0
    assert apart["confidence_intervals"][F1_MACRO_PRESENT] == [1.0, 1.0]
    assert apart["classes_present"] == ["Bukan, Ujaran", "Berat"]
    assert apart["few_rows"] == {"Bukan, Ujaran": 5, "Berat": 5}
    assert "f1 of Ringan" not in apart["confidence_intervals"]
    assert "f1_macro" not in apart, "it would be compared with that of the test set"


def test_errors_are_written_most_confident_first_with_their_texts(tmp_path):
    path = tmp_path / "misclassified.csv"
    texts = ["fine", 'a "quoted"\nline, with comma', "=HYPERLINK(1)", "\u202e<script>"]
    write_misclassified(
        path,
        predictions_of(
            [0, 0, 1, 2],
            np.array([[1, 0, 0], [0.1, 0.6, 0.3], [0, 0.1, 0.9], [0.5, 0.1, 0.4]]),
            rows=np.array([5, 6, 7, 8]),
            texts=texts,
        ),
        ["=none", "mild", "severe"],
    )
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["row"] for line in lines] == ["7", "6", "8"]
    assert [line["text"] for line in lines] == ["'=HYPERLINK(1)", texts[1], texts[3]]
    assert (lines[1]["confidence"], lines[1]["label_probability"]) == ("0.6", "0.1")
    assert lines[2]["prediction"] == "'=none"


@pytest.mark.parametrize(
    "text",
    [
        "=1",
        "+1",
        "-1",
        "@x",
        "\tx",
        "\rx",
        "\nx",
        "  =1",
        "\x00=1",
        "\ufeff=1",
        "\u200f@x",
        "\uff1d1",
        '"=1"',
    ],
)
def test_a_cell_that_starts_a_formula_gets_an_apostrophe(text):
    assert spreadsheet_cell(text) == "'" + text.replace("\x00", "\ufffd")


@pytest.mark.parametrize("separator", [";", "|", ",", "\t", "\r", "\n", "\r\n", "\x0b", "\u2028"])
@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\uff1d", ' "=', "\u200b@", "\xa0 -"])
def test_what_another_separator_makes_a_cell_starts_no_formula(separator, start):
    cell = spreadsheet_cell(f"halo{separator}{start}1{separator}{start}2")
    assert cell == f"halo{separator}'{start}1{separator}'{start}2"


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_spreadsheet_of_another_separator_sees_no_formula(tmp_path, separator):
    path = tmp_path / "misclassified.csv"
    texts = [f'halo{separator}=HYPERLINK("http://x")', "foo\n=1+1", f'a{separator}"=1"{separator}-']
    chances = np.tile([0.9, 0.1], (3, 1))
    write_misclassified(path, predictions_of([1, 1, 1], chances, texts=texts), ["a", "b"])
    for quoting in (csv.QUOTE_NONE, csv.QUOTE_MINIMAL):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter=separator, quoting=quoting))
        for cell in (cell for row in rows for cell in row):
            assert cell.lstrip(' "')[:1] not in ("=", "+", "-", "@"), rows


def test_a_text_of_separators_alone_is_made_safe_at_once():
    cell = spreadsheet_cell("; \n" * 200_000)
    assert cell.startswith("; \n;")


@pytest.mark.parametrize("text", ["x" * 40_000, "\U0001f621" * 20_000, ";=" * 20_000])
@pytest.mark.parametrize("before", ["", "x"])
def test_a_cell_is_cut_by_what_a_spreadsheet_counts_and_between_characters(before, text):
    cell = spreadsheet_cell(before + text)
    assert 31_990 < len(cell.encode("utf-16-le")) / 2 < 32_767
    assert cell.endswith(" ...(cut)")


@pytest.mark.parametrize("text", ["", "a=1", "\U0001f620", "1-2", "#x", "'", "a, b; c - d | e"])
def test_an_ordinary_cell_stays_as_it_is(text):
    assert spreadsheet_cell(text) == text


def test_without_errors_the_table_has_only_a_header(tmp_path):
    path = tmp_path / "misclassified.csv"
    write_misclassified(path, predictions_of([0], np.array([[1.0, 0.0, 0.0]])), NAMES)
    assert path.read_text() == "row,label,prediction,confidence,label_probability,text\n"


def test_the_text_report_names_absent_classes():
    text = classification_text(np.array([0, 0]), np.array([0, 1]), NAMES)
    for name in NAMES:
        assert name in text
    assert "macro avg" in text
