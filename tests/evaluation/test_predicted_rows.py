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
def test_columns_of_the_input_with_the_name_of_a_new_column_are_renamed_despite_spaces(kind, name):
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
def test_an_output_in_a_format_that_cannot_be_written_is_refused(name):
    with pytest.raises(InputError, match="must end in"):
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


def test_ctrl_c_truncates_no_line(tmp_path):
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
    """Classify by length; fail on one text, and on another from then on."""

    names = ("short", "long")
    text_column = "text"

    def __init__(self):
        self.is_broken = False
        self.num_calls = 0

    def probabilities(self, texts):
        self.num_calls += 1
        self.is_broken = self.is_broken or "breaks it" in texts
        if self.is_broken:
            raise RuntimeError("device-side assert\ntriggered")
        if "memory" in texts:
            raise torch.OutOfMemoryError("out of memory")
        if "breaks" in texts:
            raise IndexError("index out of range")
        long = np.array([min(len(text), 10) / 10 for text in texts])
        return np.stack([1 - long, long], axis=1)


def _predict(texts, classifier=None):
    return predict_rows(classifier or Lengths(), texts, [""] * len(texts))


def test_a_text_on_which_the_model_fails_changes_no_other_prediction():
    texts = [*["a"] * 500, "breaks", *["aaaaaaaaa"] * 523]
    classifier = Lengths()
    predictions = _predict(texts, classifier)
    assert predictions.labels == [*["short"] * 500, "", *["long"] * 523]
    assert [row is None for row in predictions.probabilities].count(True) == 1
    assert predictions.errors[500] == (
        "the model cannot classify this text (IndexError: index out of range)"
    )
    assert classifier.num_calls < 30  # halves, not one by one


def test_a_model_that_fails_on_every_text_ends_the_command_with_one_line():
    with pytest.raises(ModelBrokenError, match="device-side assert triggered") as caught:
        _predict(["a", "breaks it", "b"])
    assert "\n" not in str(caught.value)


def test_running_out_of_memory_is_not_the_error_of_a_row():
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
