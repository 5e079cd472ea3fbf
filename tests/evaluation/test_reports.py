import json

import numpy as np
import pytest

from evaluation.error_analysis import RowFacts
from evaluation.reports import build_report, write_reports
from evaluation.tested import Tested
from tests.evaluation.rows import answers_of
from training.objective import objective

NAMES = ["fine", "<img src=x onerror=alert(1)>", "=severe, \u202ereally"]
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
def answers():
    num_rows = len(TEXTS)
    chances = np.random.default_rng(0).dirichlet(np.ones(3), num_rows)
    return answers_of(np.arange(num_rows) % 3, chances, texts=TEXTS)


def _write(directory, answers, low_confidence):
    report = build_report(
        answers=answers,
        low_confidence=low_confidence,
        names=NAMES,
        decided_by=objective("f1_macro", NAMES),
        gates_kind="minimum",
        test_openings=[{"at": "2026-01-01T00:00:00+00:00", "reason": "first opening"}],
        seed=0,
    )
    tested = Tested(
        answers=answers,
        facts=RowFacts(
            label_confidences=np.linspace(0.7, 1.0, len(TEXTS)),
            unknown_shares=None,
            similarities=np.linspace(0.0, 0.9, len(TEXTS)),
            fills_max_length=np.zeros(len(TEXTS), dtype=bool),
        ),
        low_confidence=low_confidence,
        low_confidences=np.full(len(TEXTS), 0.5),
    )
    write_reports(directory, tested, report, NAMES, search_curve=[], final_curve=[])


def test_texts_that_attack_go_through_every_report(tmp_path, answers):
    _write(tmp_path, answers, None)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    cells = (tmp_path / "misclassified.csv").read_text("utf-8")
    assert "\x00" not in cells
    assert "\n=" not in cells
    assert ",=" not in cells
    analysis = (tmp_path / "error_analysis.json").read_text("utf-8")
    assert json.loads(analysis)["rows"] == len(TEXTS)
    assert "script" not in analysis  # no text of the data


def test_rows_of_low_confidence_have_a_table_of_their_own(tmp_path, answers):
    _write(tmp_path, answers, answers)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "low_confidence.csv"}
    told = json.loads((tmp_path / "evaluation_report.json").read_text("utf-8"))
    assert told["low_confidence"]["rows"] == len(TEXTS)
