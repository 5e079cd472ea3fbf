"""One real search and one real final evaluation per session; a test that changes one copies it."""

import csv
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from evaluation import final, predict
from results.errors import RunError
from results.log import PACKAGES
from tests.conftest import make_once
from tests.evaluation.hostile_texts import hostile_texts
from training.cli import run_command

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "training" / "sample" / "sample.csv"
NUM_RECORDS = 1000
NUM_HOSTILE = 3  # of each kind in each class, so that some of each kind are test rows

# Long enough for the tiny model to predict more than one class, short enough for a test. Most
# of the time is spent on starting processes, so one worker runs both trials.
SEARCH = (
    *("--config", "ci", "--trials", "2", "--search.confirm_replicates", "0"),
    *("--search.max_concurrent", "1"),
    *("--search.scheduler", "none", "--training.epochs", "3", "--training.batch_size", "16"),
    *("--training.learning_rate", "4e-3", "--search.space", "{batch_size: {choice: [16, 32]}}"),
)


@dataclass(frozen=True)
class Ended:
    """A finished command: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str


def run_module(module: str, *arguments: str, stdin: bytes = b"") -> Ended:
    """Run a command in a new process, from the root of the project."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, input=stdin, capture_output=True
    )
    return Ended(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first records of the bundled sample, and hostile texts in each class."""
    directory = make_once(tmp_path_factory, "evaluation-data", _write_data)
    return directory / "rows.csv"


def _write_data(directory: Path) -> None:
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        records = list(csv.reader(file))[: NUM_RECORDS + 1]
    text, label, confidence = map(records[0].index, ("text", "final_label", "confidence_score"))
    for number, name in enumerate(sorted({record[label] for record in records[1:]} - {""})):
        for repetition in range(NUM_HOSTILE):
            for hostile in hostile_texts(NUM_HOSTILE * number + repetition):
                record = [""] * len(records[0])
                record[text], record[label], record[confidence] = hostile, name, "0.9"
                records.append(record)
    directory.mkdir()
    with (directory / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(records)


@pytest.fixture(scope="session")
def finished_search(tmp_path_factory: pytest.TempPathFactory, data_file: Path) -> Path:
    """The directory of a completed search; a test must not change it."""

    def search(directory: Path) -> None:
        ended = run_module(
            "tuning.search",
            *SEARCH,
            *("--data", str(data_file), "--output.directory", str(directory), "--name", "search"),
        )
        assert ended.code == 0, ended.stdout + ended.stderr

    return make_once(tmp_path_factory, "evaluation-search", search) / "search"


@dataclass(frozen=True)
class FinalRun:
    """A run whose winner was evaluated on the test set, and the finished command."""

    directory: Path
    ended: Ended

    @property
    def model(self) -> Path:
        return self.directory / "final" / "model"

    @property
    def baseline(self) -> Path:
        return self.directory / "final" / "baseline"

    @property
    def reports(self) -> Path:
        return self.directory / "final" / "reports"


@pytest.fixture(scope="session")
def finished_final(finished_search: Path, tmp_path_factory: pytest.TempPathFactory) -> FinalRun:
    """A completed search and its final evaluation; a test must not change them."""

    def evaluate(directory: Path) -> None:
        run = shutil.copytree(finished_search, directory / "run")
        options = ("--run", str(run), "--gates", "none", "--weights", "bin")
        ended = run_module("evaluation.final", *options)
        assert ended.code == 0, ended.stdout + ended.stderr
        (directory / "ended.json").write_text(json.dumps(asdict(ended)), "utf-8")

    directory = make_once(tmp_path_factory, "evaluation-final", evaluate)
    ended = json.loads((directory / "ended.json").read_text("utf-8"))
    return FinalRun(directory / "run", Ended(**ended))


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
    except SystemExit as ended:  # raised by argparse
        return int(ended.code or 0)
    finally:
        for name in PACKAGES:
            logger = logging.getLogger(name)
            for handler in logger.handlers:
                handler.close()
            logger.handlers, logger.propagate = [], True


@pytest.fixture
def one_error(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Read the only line on stderr of a refused command."""

    def read() -> str:
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        return lines[0]

    return read
