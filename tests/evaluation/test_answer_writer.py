import io
import json
import signal
import subprocess
import sys

import pytest

from evaluation import predict
from evaluation.answers import RowAnswers, make_writer
from tests.evaluation.conftest import ROOT
from training.errors import InputError
from training.table import open_table

ANSWERS = RowAnswers(labels=["a"], probabilities=[[0.25, 0.75]], errors=[""])


@pytest.mark.parametrize(("kind", "name"), [("jsonl", "a.jsonl"), ("csv", "a.csv")])
def test_own_columns_called_like_ours_but_for_white_space_are_renamed(kind, name):
    content = '{"text": "x", " label": 1e5}\n' if kind == "jsonl" else "text, label\nx,1e5\n"
    target = io.BytesIO()
    source = io.BytesIO(content.encode())
    with open_table(source, name=name, where=name, wanted=["text"]) as table:
        first = next(table.chunks)
        make_writer(target, kind, ",", table, first, ["a", "b"]).write(first, ANSWERS)
    told = target.getvalue().decode()
    if kind == "jsonl":
        assert told.startswith('{"text": "x", "input_ label": 1e5, "label": "a", ')
        assert json.loads(told)["p_b"] == 0.75
    else:
        assert told.splitlines() == [
            "text,input_ label,label,p_a,p_b,error",
            "x,1e5,a,0.25,0.75,",
        ]


@pytest.mark.parametrize("name", ["b.xlsx", "b.csv.zip", "b.ODS"])
def test_an_output_that_would_not_be_what_its_name_says_is_refused(name):
    with pytest.raises(InputError, match="tables are written as"):
        predict.main(["--model", "-", "--input", "-", "--output", name])


INTERRUPTED_WHILE_IT_WRITES = """
import sys
from evaluation.answers import _flush
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
