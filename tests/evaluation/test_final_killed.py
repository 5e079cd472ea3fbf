"""`evaluation.final` killed with SIGKILL: it is resumed, and evaluates on the test set once."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.evaluation.conftest import ROOT, run_module

pytestmark = pytest.mark.slow

ARGUMENTS = ("--gates", "none", "--weights", "bin")


def kill_when(run: Path, sign: Path, text: str = "") -> None:
    """Start the command and kill it as soon as the file `sign` exists and contains `text`."""
    command = [sys.executable, "-m", "evaluation.final", "--run", str(run), *ARGUMENTS]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not (sign.exists() and text in sign.read_text("utf-8")):
            assert process.poll() is None, f"it ended before {sign.name} held {text!r}"
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL


def resume(run: Path) -> str:
    """Run the command again to its end; return the new lines of its log."""
    log = run / "final" / "logs" / "training.log"
    before = log.read_text("utf-8")
    ended = run_module("evaluation.final", "--run", str(run), *ARGUMENTS)
    assert ended.code == 0, ended.stdout + ended.stderr
    return log.read_text("utf-8").removeprefix(before)


def hashes(run: Path) -> dict[str, str]:
    names = ("model/model.safetensors", "model/model.onnx", "reports/predictions.csv")
    return {n: hashlib.sha256((run / "final" / n).read_bytes()).hexdigest() for n in names}


def accesses(run: Path) -> list[dict[str, str]]:
    return list(json.loads((run / "test_openings.json").read_text("utf-8")))


def test_a_killed_retrain_is_resumed_and_ends_like_one_without_interruption(
    run_directory, finished_final
):
    log = run_directory / "final" / "logs" / "training.log"
    kill_when(run_directory, log, "epoch 1.5")
    assert not (run_directory / "test_openings.json").exists()
    assert not (run_directory / "final" / "model").exists()
    again = resume(run_directory)
    assert "resum" in again
    assert hashes(run_directory) == hashes(finished_final.directory)
    metrics = "final/reports/training_metrics.json"
    broken, whole = (
        json.loads((run / metrics).read_text("utf-8"))
        for run in (run_directory, finished_final.directory)
    )
    assert broken["history"] == whole["history"]
    (access,) = accesses(run_directory)
    assert access["state"] == "complete"
    assert not (run_directory / "final" / ".retrain").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "sign",
    ["evaluation_report.json", pytest.param("error_analysis.json", marks=pytest.mark.long)],
)
def test_killed_while_its_results_are_written_it_writes_the_same_without_another_access(
    run_directory, finished_final, sign
):
    kill_when(run_directory, run_directory / "final" / "reports" / sign)
    (before,) = accesses(run_directory)
    assert before["state"] == "seen"
    resume(run_directory)
    assert accesses(run_directory) == [{**before, "state": "complete"}]
    assert hashes(run_directory) == hashes(finished_final.directory)
    ended = run_module("evaluation.final", "--run", str(run_directory), *ARGUMENTS)
    assert ended.code == 2
    assert "may be done once" in ended.stderr
