"""`evaluation.predict --model final/baseline` serves TF-IDF as it serves any model."""

import numpy as np
import pytest

from results.run import BASELINE, TEST_REPORT, Run
from results.status_text import newest_baseline
from tests.evaluation.conftest import read_csv
from tests.evaluation.predicted import LABELS, NEW, assert_has_error, assert_has_label
from training.baseline import fit
from training.baseline_files import write_baseline

TEXTS = ("kowe apik", "kowe bodho", "kowe goblok", "kowe asu", "kowe apik tenan")


@pytest.fixture
def baseline(tmp_path):
    texts, labels = [*TEXTS, *TEXTS], np.array([0, 1, 2, 3, 0] * 2)
    fitted = fit(texts, labels, names=LABELS, seed=0, text_column="ukara")
    write_baseline(fitted, tmp_path / "final" / BASELINE, card="")
    return tmp_path / "final" / BASELINE


@pytest.mark.parametrize("options", [(), ("--backend", "torch")])
def test_every_row_is_written_with_its_columns_label_probabilities_and_error(
    run_predict, baseline, tmp_path, options
):
    rows = 'id,ukara\n1,kowe bodho\n2,\n3,"=1+1, \U0001f621"\n4,kowe,5\n6,kowe asu\n'
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    files = ("--input", tmp_path / "rows.csv", "--output", tmp_path / "out.csv")
    assert run_predict(["--model", baseline, *files, *options]) == 0
    found = read_csv(tmp_path / "out.csv")
    assert list(found[0]) == ["id", "ukara", *NEW]
    assert [row["id"] for row in found] == ["1", "2", "3", "4", "6"]
    assert (found[0]["label"], found[4]["label"]) == (LABELS[1], LABELS[3])
    for row in (found[0], found[2], found[4]):
        assert_has_label(row)
    assert_has_error(found[1], "no text")
    assert_has_error(found[3], "cells")


def test_onnx_runtime_is_refused_in_one_line(run_predict, one_error, baseline):
    arguments = ["--model", baseline, "--input", "-", "--output", "-", "--backend", "onnx"]
    assert run_predict(arguments) == 2
    assert "holds a baseline" in one_error()


def test_a_damaged_baseline_is_refused_in_one_line(run_predict, one_error, baseline):
    (baseline / "weights.npz").unlink()
    assert run_predict(["--model", baseline, "--input", "-", "--output", "-"]) == 2
    assert "restore its files" in one_error()


def test_the_newest_baseline_is_that_of_the_last_evaluation(baseline, tmp_path):
    run = Run(tmp_path)
    assert newest_baseline(run) is None  # the evaluation is not complete
    reports = baseline.parent / "reports"
    reports.mkdir()
    (reports / TEST_REPORT).touch()
    assert newest_baseline(run) == str(baseline)
    later = tmp_path / "final-2" / "reports"  # of a version that shipped none
    later.mkdir(parents=True)
    (later / TEST_REPORT).touch()
    assert newest_baseline(run) is None
