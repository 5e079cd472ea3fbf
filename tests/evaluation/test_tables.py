import csv
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from evaluation.tables import (
    build_report,
    classification_text,
    spreadsheet_cell,
    write_misclassified,
    write_predictions,
)

NAMES = ["Bukan, Ujaran", "Ringan", "Berat"]


def _arrays(num_rows: int = 60):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), num_rows)
    predictions = probabilities.argmax(axis=1)
    labels = np.where(rng.random(num_rows) < 0.8, predictions, rng.integers(0, 3, num_rows))
    return {
        "labels": labels,
        "predictions": predictions,
        "probabilities": probabilities,
        "baseline_predictions": rng.integers(0, 3, num_rows),
        "groups": np.arange(num_rows) // 2,
    }


def test_predictions_are_read_back_to_the_last_digit_and_give_the_report(tmp_path):
    arrays, path = _arrays(), tmp_path / "predictions.csv"
    rows = np.arange(60) * 3
    write_predictions(path, rows=rows, names=NAMES, **arrays)
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
    assert (table[chances].to_numpy() == arrays["probabilities"]).all()
    assert table["row"].tolist() == rows.tolist()
    assert table["group"].tolist() == arrays["groups"].tolist()
    report = build_report(gates_kind="none", test_openings=[], seed=0, names=NAMES, **arrays)
    assert report["accuracy"] == pytest.approx(
        accuracy_score(table["label"], table["prediction"]), abs=1e-12
    )
    assert report["baseline"]["f1_macro"] == pytest.approx(
        f1_score(table["label"], table["baseline_prediction"], average="macro"), abs=1e-12
    )


def test_the_report_is_json_and_says_how_it_was_made():
    openings = [{"at": "2025-01-01T00:00:00Z", "reason": "first"}]
    report = build_report(
        gates_kind="minimum", test_openings=openings, seed=3, names=NAMES, **_arrays()
    )
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
    report = build_report(
        labels=labels,
        predictions=answers[model],
        probabilities=np.eye(3)[answers[model]],
        baseline_predictions=answers[baseline],
        groups=np.arange(120),
        names=NAMES,
        gates_kind="none",
        test_openings=[],
        seed=0,
    )
    assert words in report["summary"]


def test_mistakes_come_most_confident_first_and_their_texts_survive(tmp_path):
    path = tmp_path / "misclassified.csv"
    texts = ["fine", 'a "quoted"\nline, with comma', "=HYPERLINK(1)", "\u202e<script>"]
    write_misclassified(
        path,
        rows=np.array([5, 6, 7, 8]),
        texts=texts,
        labels=np.array([0, 0, 1, 2]),
        predictions=np.array([0, 1, 2, 0]),
        probabilities=np.array([[1, 0, 0], [0.1, 0.6, 0.3], [0, 0.1, 0.9], [0.5, 0.1, 0.4]]),
        names=["=none", "mild", "severe"],
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
    write_misclassified(
        path,
        rows=np.array([0]),
        texts=["x"],
        labels=np.array([0]),
        predictions=np.array([0]),
        probabilities=np.array([[1.0, 0.0, 0.0]]),
        names=NAMES,
    )
    assert path.read_text() == "row,label,prediction,confidence,label_probability,text\n"


def test_the_text_report_names_absent_classes():
    text = classification_text(np.array([0, 0]), np.array([0, 1]), NAMES)
    for name in NAMES:
        assert name in text
    assert "macro avg" in text
