"""`evaluation.final` on a run in a storage: it is fetched, evaluated and copied back."""

import json
import shutil
from pathlib import Path

import pytest

import evaluation.evaluate
from tests.evaluation.conftest import Command


@pytest.fixture
def mirrored(finished_search: Path, tmp_path: Path) -> Path:
    """A completed search as a mirror leaves it."""
    return Path(shutil.copytree(finished_search, tmp_path / "storage" / "mine"))


def _machine(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a new working directory, as on another machine; return where it keeps its runs."""
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory / "results" / "runs"


@pytest.mark.slow
@pytest.mark.long
def test_the_result_is_copied_back_and_no_other_machine_may_evaluate_again(
    mirrored: Path, tmp_path: Path, run_final: Command, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    runs = _machine(tmp_path / "first", monkeypatch)
    assert run_final(["--run", f"file://{mirrored}", "--gates", "none"]) == 0
    for name in ("test_openings.json", "final/model/model.safetensors", "report.html"):
        assert (mirrored / name).read_bytes() == (runs / "mine" / name).read_bytes()
    capsys.readouterr()
    second = _machine(tmp_path / "second", monkeypatch)
    assert run_final(["--run", f"file://{mirrored}", "--gates", "none"]) == 2
    assert "may be done once" in capsys.readouterr().err
    assert (second / "mine" / "final" / "model" / "model.safetensors").exists()


@pytest.mark.slow
def test_an_access_is_copied_back_even_when_the_evaluation_fails(
    mirrored: Path, tmp_path: Path, run_final: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the failure is simulated; all that comes before and after it is real.
    def fail(*_arguments: object) -> None:
        raise OSError("made to fail")

    monkeypatch.setattr(evaluation.evaluate, "predict_test_rows", fail)
    _machine(tmp_path / "first", monkeypatch)
    assert run_final(["--run", f"file://{mirrored}", "--gates", "none"]) == 1
    (access,) = json.loads((mirrored / "test_openings.json").read_text())
    assert access["state"] == "opened"


def test_a_storage_without_the_run_is_refused(
    tmp_path: Path, run_final: Command, monkeypatch: pytest.MonkeyPatch, one_error
) -> None:
    _machine(tmp_path / "first", monkeypatch)
    assert run_final(["--run", f"file://{tmp_path}/none"]) == 2
    assert "no search was mirrored there" in one_error()
