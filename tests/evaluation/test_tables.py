import csv
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from evaluation.low_confidence import NOTE
from evaluation.tables import (
    build_report,
    classification_text,
    spreadsheet_cell,
    write_low_confidence,
    write_misclassified,
    write_predictions,
)
from tests.evaluation.rows import answers_of

NAMES = ["Bukan, Ujaran", "Ringan", "Berat"]


def _answers(num_rows: int = 60, *, seed: int = 0):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(3), num_rows)
    predictions = probabilities.argmax(axis=1)
    labels = np.where(rng.random(num_rows) < 0.8, predictions, rng.integers(0, 3, num_rows))
    return answers_of(
        labels,
        probabilities,
        baseline=rng.integers(0, 3, num_rows),
        rows=np.arange(num_rows) * 3,
        groups=np.arange(num_rows) // 2,
    )


def _report(answers, low_confidence=None, *, gates_kind="none", test_openings=(), seed=0):
    return build_report(
        answers=answers,
        low_confidence=low_confidence,
        names=NAMES,
        gates_kind=gates_kind,
        test_openings=list(test_openings),
        seed=seed,
    )


def test_predictions_are_read_back_to_the_last_digit_and_give_the_report(tmp_path):
    answers, path = _answers(), tmp_path / "predictions.csv"
    write_predictions(path, answers, NAMES)
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
    assert (table[chances].to_numpy() == answers.probabilities).all()
    assert table["row"].tolist() == answers.data.rows.tolist()
    assert table["group"].tolist() == answers.data.groups.tolist()
    report = _report(answers)
    assert report["accuracy"] == pytest.approx(
        accuracy_score(table["label"], table["prediction"]), abs=1e-12
    )
    assert report["baseline"]["f1_macro"] == pytest.approx(
        f1_score(table["label"], table["baseline_prediction"], average="macro"), abs=1e-12
    )


def test_rows_of_low_confidence_have_a_table_of_their_own_with_their_confidence(tmp_path):
    answers = _answers(4)
    write_low_confidence(tmp_path / "low.csv", answers, np.array([0.1, np.nan, 0.3, 1 / 3]), NAMES)
    write_predictions(tmp_path / "same.csv", answers, NAMES)
    table, same = pd.read_csv(tmp_path / "low.csv"), pd.read_csv(tmp_path / "same.csv")
    assert table["confidence"].tolist() == pytest.approx([0.1, np.nan, 0.3, 1 / 3], nan_ok=True)
    assert table.drop(columns="confidence").equals(same)


def test_rows_of_low_confidence_are_reported_apart_and_change_nothing_else():
    answers, low = _answers(), _answers(20, seed=1)
    with_low, without = _report(answers, low), _report(answers)
    apart = with_low.pop("low_confidence")
    assert without.pop("low_confidence") is None
    assert with_low == without
    labels, predictions = low.data.labels, low.predictions
    assert apart["rows"] == 20
    assert apart["accuracy"] == accuracy_score(labels, predictions)
    assert apart["f1_macro"] == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert list(apart["per_class"]) == NAMES
    interval = apart["confidence_intervals"]["accuracy"]
    assert interval[0] < apart["accuracy"] < interval[1]
    assert apart["baseline"] == {
        "accuracy": accuracy_score(labels, low.baseline_predictions),
        "f1_macro": pytest.approx(f1_score(labels, low.baseline_predictions, average="macro")),
    }
    assert apart["note"] == NOTE
    assert _report(answers, _answers(0))["low_confidence"] is None


def test_the_baseline_has_the_intervals_that_it_would_have_as_the_model():
    answers = _answers()
    swapped = answers_of(
        answers.data.labels,
        np.eye(3)[answers.baseline_predictions],
        groups=answers.data.groups,
    )
    found = _report(answers)["baseline"]["confidence_intervals"]
    assert found == _report(swapped)["confidence_intervals"]


def test_the_report_is_json_and_says_how_it_was_made():
    openings = [{"at": "2025-01-01T00:00:00Z", "reason": "first"}]
    answers = _answers()
    report = _report(answers, answers, gates_kind="minimum", test_openings=openings, seed=3)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["test_openings"] == openings
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
        ("good", "good", "cannot be told apart from the baseline"),
    ],
)
def test_the_summary_says_who_wins(model, baseline, words):
    labels = np.tile([0, 1, 2], 40)
    answers = {"good": labels, "bad": np.roll(labels, 1)}
    report = _report(answers_of(labels, np.eye(3)[answers[model]], baseline=answers[baseline]))
    assert words in report["summary"]


def test_mistakes_come_most_confident_first_and_their_texts_survive(tmp_path):
    path = tmp_path / "misclassified.csv"
    texts = ["fine", 'a "quoted"\nline, with comma', "=HYPERLINK(1)", "\u202e<script>"]
    write_misclassified(
        path,
        answers_of(
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
        "\n=1",
        "  =1",
        "\x00=1",
        "\ufeff=1",
        "\u200f@x",
        "\uff1d1",
    ],
)
def test_a_cell_that_starts_a_formula_gets_an_apostrophe(text):
    assert spreadsheet_cell(text) == "'" + text.replace("\x00", "\ufffd")


@pytest.mark.parametrize("text", ["", "a=1", "\U0001f620", "1-2", "#x", "'"])
def test_an_ordinary_cell_stays_as_it_is(text):
    assert spreadsheet_cell(text) == text


def test_a_cell_too_long_for_a_spreadsheet_is_cut_and_says_so():
    cell = spreadsheet_cell("x" * 40_000 + "=1")
    assert len(cell) < 32_767
    assert cell.endswith("...(cut)")


def test_no_mistakes_leave_a_table_with_a_header_alone(tmp_path):
    path = tmp_path / "misclassified.csv"
    write_misclassified(path, answers_of([0], np.array([[1.0, 0.0, 0.0]])), NAMES)
    assert path.read_text() == "row,label,prediction,confidence,label_probability,text\n"


def test_the_text_report_names_absent_classes():
    text = classification_text(np.array([0, 0]), np.array([0, 1]), NAMES)
    for name in NAMES:
        assert name in text
    assert "macro avg" in text
