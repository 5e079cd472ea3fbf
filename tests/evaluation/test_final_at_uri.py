"""`evaluation.final` on a run that lies in a storage: fetched, tested, and mirrored back."""

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
    """The place of runs on another machine: another directory that is worked in."""
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory / "results" / "runs"


@pytest.mark.slow
@pytest.mark.long
def test_the_result_is_mirrored_back_and_no_other_machine_opens_the_test_again(
    mirrored: Path, tmp_path: Path, run_final: Command, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    runs = _machine(tmp_path / "first", monkeypatch)
    assert run_final(["--run", f"file://{mirrored}", "--gates", "none"]) == 0
    for name in ("test_openings.json", "final/model/model.safetensors", "report.html"):
        assert (mirrored / name).read_bytes() == (runs / "mine" / name).read_bytes()
    capsys.readouterr()
    second = _machine(tmp_path / "second", monkeypatch)
    assert run_final(["--run", f"file://{mirrored}", "--gates", "none"]) == 2
    assert "may be opened once" in capsys.readouterr().err
    assert (second / "mine" / "final" / "model" / "model.safetensors").exists()


@pytest.mark.slow
def test_an_opening_is_mirrored_also_when_the_evaluation_fails(
    mirrored: Path, tmp_path: Path, run_final: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The failure is made; what led to it and what follows is real.
    def fail(*_arguments: object) -> None:
        raise OSError("made to fail")

    monkeypatch.setattr(evaluation.evaluate, "open_and_answer", fail)
    _machine(tmp_path / "first", monkeypatch)
    assert run_final(["--run", f"file://{mirrored}", "--gates", "none"]) == 1
    (opening,) = json.loads((mirrored / "test_openings.json").read_text())
    assert opening["state"] == "opened"


def test_a_storage_without_the_run_is_refused(
    tmp_path: Path, run_final: Command, monkeypatch: pytest.MonkeyPatch, one_error
) -> None:
    _machine(tmp_path / "first", monkeypatch)
    assert run_final(["--run", f"file://{tmp_path}/none"]) == 2
    assert "no search was mirrored there" in one_error()
