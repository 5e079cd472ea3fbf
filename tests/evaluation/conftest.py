"""A real search and a real final evaluation, each made once and copied where a test changes it."""

import csv
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from evaluation import final, predict
from results.errors import RunError
from results.log import PACKAGES
from tests.evaluation.attacks import attacking_texts
from training.cli import run_command

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "training" / "sample" / "sample.csv"
NUM_RECORDS = 1000
NUM_ATTACKS = 3  # of each kind in each class: some of each are test rows

# Long enough for the tiny model to leave the constant answer, short enough for a test.
SEARCH = (
    *("--config", "ci", "--trials", "2", "--search.confirm_replicates", "0"),
    *("--search.scheduler", "none", "--training.epochs", "3", "--training.batch_size", "16"),
    *("--training.learning_rate", "4e-3", "--search.space", "{batch_size: {choice: [16, 32]}}"),
)


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str


def run_module(module: str, *arguments: str, stdin: bytes = b"") -> Ended:
    """Run a command in a process of its own, from the root of the project."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, input=stdin, capture_output=True
    )
    return Ended(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first records of the bundled sample, and in each class texts that attack."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        records = list(csv.reader(file))[: NUM_RECORDS + 1]
    text, label, confidence = map(records[0].index, ("text", "final_label", "confidence_score"))
    for number, name in enumerate(sorted({record[label] for record in records[1:]} - {""})):
        for kind in range(NUM_ATTACKS):
            for attack in attacking_texts(NUM_ATTACKS * number + kind):
                record = [""] * len(records[0])
                record[text], record[label], record[confidence] = attack, name, "0.9"
                records.append(record)
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(records)
    return path


@pytest.fixture(scope="session")
def finished_search(tmp_path_factory: pytest.TempPathFactory, data_file: Path) -> Path:
    """The directory of a completed search; not to be changed."""
    directory = tmp_path_factory.mktemp("runs")
    ended = run_module(
        "tuning.search",
        *SEARCH,
        *("--data", str(data_file), "--output.directory", str(directory), "--name", "search"),
    )
    assert ended.code == 0, ended.stdout + ended.stderr
    return directory / "search"


@dataclass(frozen=True)
class FinalRun:
    """A run whose test was opened once, and how the command ended."""

    directory: Path
    ended: Ended

    @property
    def model(self) -> Path:
        return self.directory / "final" / "model"

    @property
    def reports(self) -> Path:
        return self.directory / "final" / "reports"


@pytest.fixture(scope="session")
def finished_final(finished_search: Path, tmp_path_factory: pytest.TempPathFactory) -> FinalRun:
    """A completed search and its final evaluation; not to be changed."""
    directory = tmp_path_factory.mktemp("final") / "run"
    shutil.copytree(finished_search, directory)
    ended = run_module(
        "evaluation.final", "--run", str(directory), "--gates", "none", "--weights", "bin"
    )
    assert ended.code == 0, ended.stdout + ended.stderr
    return FinalRun(directory, ended)


@pytest.fixture
def run_directory(finished_search: Path, tmp_path: Path) -> Path:
    """A copy of the completed search."""
    return Path(shutil.copytree(finished_search, tmp_path / "run"))


@pytest.fixture
def model_directory(finished_final: FinalRun, tmp_path: Path) -> Path:
    """A copy of the model directory."""
    return Path(shutil.copytree(finished_final.model, tmp_path / "model"))


Command = Callable[[Sequence[str]], int]


@pytest.fixture
def run_final(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command `evaluation.final` in this process; returns its exit code."""
    return lambda arguments: _run(monkeypatch, final.main, arguments)


@pytest.fixture
def run_predict(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command `evaluation.predict` in this process; returns its exit code."""
    return lambda arguments: _run(monkeypatch, predict.main, arguments)


def _run(monkeypatch: pytest.MonkeyPatch, main: Command, arguments: Sequence[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    try:
        return run_command(main, bad_input=(RunError,))
    except SystemExit as ended:  # argparse's own end
        return int(ended.code or 0)
    finally:
        for name in PACKAGES:
            logger = logging.getLogger(name)
            for handler in logger.handlers:
                handler.close()
            logger.handlers, logger.propagate = [], True


@pytest.fixture
def one_error(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """The one line on stderr that a refused command leaves."""

    def read() -> str:
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        return lines[0]

    return read
