"""The command `evaluation.predict` with files, pipes, signals and limited memory."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.evaluation.conftest import ROOT, run_module
from tests.evaluation.predicted import assert_has_error, assert_has_label


def test_the_output_may_not_have_the_input_as_its_part(
    run_predict, one_error, finished_final, tmp_path
):
    part = tmp_path / "b.csv.part"
    part.write_text("text\nkowe\n", encoding="utf-8")
    arguments = ["--model", finished_final.model, "--input", part]
    assert run_predict([*arguments, "--output", tmp_path / "b.csv"]) == 2
    assert "must be another file" in one_error()
    assert part.read_text("utf-8") == "text\nkowe\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_command_leaves_complete_rows_in_the_part_and_no_file(
    finished_final, tmp_path, number
):
    pipe, target = tmp_path / "pipe", tmp_path / "b.csv"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "evaluation.predict", "--model", str(finished_final.model)]
    process = subprocess.Popen(
        [*command, "--input", str(pipe), "--output", str(target)], cwd=ROOT, stderr=subprocess.PIPE
    )
    part = tmp_path / "b.csv.part"
    with pipe.open("w", encoding="utf-8") as rows:
        rows.write("text\n" + "kowe bodho\n" * 5_000)
        rows.flush()
        deadline = time.monotonic() + 60
        while not part.exists() or part.stat().st_size < 50_000:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        _, printed = process.communicate(timeout=30)
    assert not target.exists()
    text = part.read_text("utf-8")
    assert text.endswith("\n")
    num_rows = len(text.splitlines()) - 1
    assert num_rows % 1024 == 0
    if number == signal.SIGINT:
        assert process.returncode == 130
        *_, counted, interrupted = printed.decode().splitlines()
        assert counted == f"{num_rows:,} rows are in {part}"
        assert interrupted == "error: interrupted; the same command starts again"


def test_a_reader_that_closes_the_pipe_ends_the_command_without_a_traceback(
    finished_final, tmp_path
):
    source = tmp_path / "a.csv"
    source.write_text("text\n" + "kowe bodho\n" * 20_000, encoding="utf-8")
    command = [sys.executable, "-m", "evaluation.predict", "--model", str(finished_final.model)]
    process = subprocess.Popen(
        [*command, "--input", str(source), "--output", "-"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"text,label,")
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def test_a_missing_text_column_suggests_the_nearest(
    run_predict, one_error, finished_final, tmp_path
):
    (tmp_path / "a.csv").write_text("id,tekst\n1,kowe\n", encoding="utf-8")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.csv"]
    assert run_predict([*arguments, "--output", tmp_path / "b.csv"]) == 2
    line = one_error()
    assert "did you mean tekst?" in line
    assert "--text-column" in line
    assert not (tmp_path / "b.csv").exists()


def test_the_output_may_not_be_the_input(run_predict, one_error, finished_final, tmp_path):
    source, link = tmp_path / "a.csv", tmp_path / "link.csv"
    source.write_text("text\nkowe\n", encoding="utf-8")
    link.symlink_to(source)
    for target in (source, link):
        arguments = ["--model", finished_final.model, "--input", source, "--output", target]
        assert run_predict(arguments) == 2
        assert "must be another file" in one_error()
    assert source.read_text("utf-8") == "text\nkowe\n"


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("nowhere.csv", "b.csv", "--input is"),
        (".", "b.csv", "--input is"),
        ("a.csv", "nowhere/b.csv", "--output is"),
        ("a.csv", ".", "--output is"),
        ("empty.csv", "b.csv", "first line is empty"),
        ("a.csv", "x" * 300, "--output is"),
        ("x" * 300, "b.csv", "--input is"),
        ("a.csv", "loop", "--output is"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_exit_code_2(
    run_predict, one_error, finished_final, tmp_path, source, target, words
):
    (tmp_path / "a.csv").write_text("text\nkowe\n", encoding="utf-8")
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    arguments = ["--model", finished_final.model, "--input", tmp_path / source]
    assert run_predict([*arguments, "--output", tmp_path / target]) == 2
    assert words in one_error()


def test_a_directory_without_a_model_is_one_line_and_exit_code_2(run_predict, one_error, tmp_path):
    arguments = ["--input", "-", "--output", "-"]
    assert run_predict(["--model", tmp_path / "nowhere", *arguments]) == 2
    assert "no such directory" in one_error()
    assert run_predict(["--model", tmp_path, *arguments]) == 2
    assert "has no training_config.yaml" in one_error()


def test_rows_in_a_pipe_keep_every_byte(finished_final):
    content = b'\xef\xbb\xbfid,text\r\n1,"kowe\r\nbodho"\r\n2,kow\xe9 \xf0\x9f\x98\xa1\r\n'
    ended = run_module(
        "evaluation.predict",
        *("--model", str(finished_final.model), "--input", "-", "--output", "-"),
        stdin=content,
    )
    assert ended.code == 0
    first, second = csv.DictReader(ended.stdout.splitlines(keepends=True))
    assert first["text"] == "kowe\r\nbodho"
    assert second["text"] == "kow\\udce9 \U0001f621"
    assert_has_label(first)
    assert_has_error(second, "not UTF-8")
    assert re.fullmatch(r"2 rows, 1 with an error, [\d,]+ rows/s\n", ended.stderr)


def test_json_lines_are_detected_in_a_pipe_by_their_first_character(finished_final):
    ended = run_module(
        "evaluation.predict",
        *("--model", str(finished_final.model), "--input", "-", "--output", "-"),
        stdin='\ufeff {"text": "kowe 😡"}\n'.encode(),
    )
    assert ended.code == 0
    row = json.loads(ended.stdout)
    assert row["text"] == "kowe 😡"
    assert_has_label(row)


PEAK = """
import sys
from pathlib import Path
from evaluation.predict import main
assert main(sys.argv[1:]) == 0
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", [pytest.param("torch", marks=pytest.mark.long), "onnx"])
def test_memory_does_not_grow_with_the_rows(finished_final, data_file, tmp_path, backend):
    everything = pd.read_csv(data_file)["text"].dropna()
    texts = everything[
        everything.str.len() < 1000
    ].tolist()  # a few long rows would make the peak depend on chance
    peaks = {}
    for num_rows in (2_000, 40_000):
        source = tmp_path / f"{num_rows}.csv"
        repeated = (texts * (num_rows // len(texts) + 1))[:num_rows]
        # A second column makes a table in memory visible: 40 MB more.
        pd.DataFrame({"text": repeated, "note": "x" * 1000}).to_csv(source, index=False)
        target = tmp_path / f"{num_rows}-answers.csv"
        arguments = ["--model", finished_final.model, "--input", source, "--output", target]
        arguments += ["--backend", backend]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[num_rows] = int(done.stdout) / 1024
        with target.open(encoding="utf-8", newline="") as file:
            assert sum(1 for _ in csv.reader(file)) == num_rows + 1
    assert peaks[40_000] - peaks[2_000] < 25, f"MiB at the peak, by rows: {peaks}"
