import io
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from evaluation import predict
from evaluation.predicted_rows import (
    ModelBrokenError,
    RowPredictions,
    make_writer,
    predict_rows,
)
from tests.evaluation.conftest import ROOT
from training.cells import Unreadable
from training.errors import InputError
from training.table import open_table

PREDICTIONS = RowPredictions(labels=["a"], probabilities=[[0.25, 0.75]], errors=[""])


@pytest.mark.parametrize(("kind", "name"), [("jsonl", "a.jsonl"), ("csv", "a.csv")])
def test_own_columns_called_like_ours_but_for_white_space_are_renamed(kind, name):
    content = '{"text": "x", " label": 1e5}\n' if kind == "jsonl" else "text, label\nx,1e5\n"
    target = io.BytesIO()
    source = io.BytesIO(content.encode())
    with open_table(source, name=name, where=name, wanted=["text"]) as table:
        first = next(table.chunks)
        make_writer(target, kind, ",", table, first, ["a", "b"]).write(first, PREDICTIONS)
    written = target.getvalue().decode()
    if kind == "jsonl":
        assert written.startswith('{"text": "x", "input_ label": 1e5, "label": "a", ')
        assert json.loads(written)["p_b"] == 0.75
    else:
        assert written.splitlines() == [
            "text,input_ label,label,p_a,p_b,error",
            "x,1e5,a,0.25,0.75,",
        ]


@pytest.mark.parametrize("name", ["b.xlsx", "b.csv.zip", "b.ODS"])
def test_an_output_that_would_not_be_what_its_name_says_is_refused(name):
    with pytest.raises(InputError, match="tables are written as"):
        predict.main(["--model", "-", "--input", "-", "--output", name])


INTERRUPTED_WHILE_IT_WRITES = """
import sys
from evaluation.predicted_rows import _flush
with open(sys.stdout.fileno(), "wb", closefd=False) as file:
    print("ready", file=sys.stderr, flush=True)
    try:
        while True:
            _flush(file, ("x" * 1000 + "\\n") * 1000)
    except KeyboardInterrupt:
        pass
"""


def test_ctrl_c_cuts_no_line(tmp_path):
    path = tmp_path / "out.csv"
    command = [sys.executable, "-c", INTERRUPTED_WHILE_IT_WRITES]
    with path.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, cwd=ROOT)
        assert process.stderr is not None
        assert process.stderr.readline() == b"ready\n"
        while path.stat().st_size < 5_000_000:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, b"")
    lines = path.read_text("utf-8").split("\n")
    assert lines.pop() == ""
    assert len(lines) % 1000 == 0
    assert set(lines) == {"x" * 1000}


class Lengths:
    """Classifies by length; some texts break it, some for good."""

    names = ("short", "long")
    text_column = "text"

    def __init__(self):
        self.is_dead = False
        self.num_calls = 0

    def probabilities(self, texts):
        self.num_calls += 1
        self.is_dead = self.is_dead or "dies" in texts
        if self.is_dead:
            raise RuntimeError("device-side assert\ntriggered")
        if "memory" in texts:
            raise torch.OutOfMemoryError("out of memory")
        if "breaks" in texts:
            raise IndexError("index out of range")
        long = np.array([min(len(text), 10) / 10 for text in texts])
        return np.stack([1 - long, long], axis=1)


def _predict(texts, classifier=None):
    return predict_rows(classifier or Lengths(), texts, [""] * len(texts))


def test_a_text_that_breaks_the_model_costs_only_its_own_answer():
    texts = [*["a"] * 500, "breaks", *["aaaaaaaaa"] * 523]
    classifier = Lengths()
    predictions = _predict(texts, classifier)
    assert predictions.labels == [*["short"] * 500, "", *["long"] * 523]
    assert [row is None for row in predictions.probabilities].count(True) == 1
    assert predictions.errors[500] == (
        "the model cannot classify this text (IndexError: index out of range)"
    )
    assert classifier.num_calls < 30  # halves, not one by one


def test_a_model_that_died_ends_the_command_in_one_line_instead_of_a_million_errors():
    with pytest.raises(ModelBrokenError, match="device-side assert triggered") as caught:
        _predict(["a", "dies", "b"])
    assert "\n" not in str(caught.value)


def test_memory_that_runs_out_is_no_fault_of_a_text():
    with pytest.raises(torch.OutOfMemoryError):
        _predict(["a", "memory"])


def test_a_row_that_cannot_be_read_keeps_its_own_error():
    predictions = predict_rows(Lengths(), ["a", "b"], ["torn", ""])
    assert predictions.labels == ["", "short"]
    assert predictions.probabilities[0] is None
    assert predictions.errors == ["torn", ""]


def test_cells_without_text_have_no_label():
    predictions = _predict([None, "", " \n\u00a0", Unreadable("a JSON list"), "a"])
    assert predictions.labels == ["", "", "", "", "short"]
    assert predictions.errors == [*["no text"] * 3, "the text must be text, not a JSON list", ""]
