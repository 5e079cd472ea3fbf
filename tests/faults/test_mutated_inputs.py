"""Whatever bytes stand in a file, a command ends with a line a problem: exit code 2, or 0.

How much is tried, and what: FUZZ_INPUTS commands in this process and FUZZ_PROCESSES as processes
of their own (475 and 25 are a full run), damaged by the seed FUZZ_SEED.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from evaluation.test_lock import TestLock
from evaluation.winner import load_winner
from results.run import open_run
from tests.faults.commands import LONGEST_SECONDS, Ended, run_here, run_main
from tests.faults.materials import Materials, make_materials
from tests.faults.mutations import (
    BILLION_LAUGHS,
    EXTREMES,
    YAML,
    mutate_directory,
    mutate_file,
    mutated_bytes,
    mutated_values,
)
from tuning.config import SECTIONS
from tuning.resume import recall_trials
from tuning.start import build, read_yaml

NUM_INPUTS = int(os.environ.get("FUZZ_INPUTS", "95"))
NUM_PROCESSES = int(os.environ.get("FUZZ_PROCESSES", "5"))
SEED = int(os.environ.get("FUZZ_SEED", "20260101"))

COUNT_OF_ROWS = re.compile(r"[0-9,]+ rows ")  # what predict says of its progress

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command on something damaged."""

    module: str
    arguments: list[str]
    main: Callable[[Sequence[str]], int] | None = None
    """Instead of the module's own; only for what no command does quickly."""
    may_leave: Sequence[str] = ()
    """Names of files that it may write."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a case is made of."""

    sound: Materials
    place: Path
    draws: random.Random

    def table(self, *suffixes: str) -> str:
        source = self.sound.table(self.draws.choice(suffixes))
        path = self.sound.copy(source, self.place)
        mutate_file(path, self.draws)
        return str(path)

    def directory(self, source: Path) -> str:
        copied = self.sound.copy(source, self.place)
        mutate_directory(copied, self.draws)
        return str(copied)


def table_of_a_search(bench: Bench) -> Case:
    config = ["--config", str(bench.sound.configuration)]
    data = ["--data", bench.table(".csv", ".csv", ".jsonl", ".parquet")]
    return Case(module="tuning.search", arguments=["--dry-run", *config, *data])


def bytes_of_a_configuration(bench: Bench) -> Case:
    path = bench.place / "mine.yaml"
    content = bench.sound.configuration.read_bytes()
    if bench.draws.random() < 0.05:
        content += BILLION_LAUGHS
    path.write_bytes(mutated_bytes(content, bench.draws, YAML))
    return Case(module="tuning.search", arguments=["--print-config", "--config", str(path)])


def values_of_a_configuration(bench: Bench) -> Case:
    path = bench.place / "mine.yaml"
    values = yaml.safe_load(bench.sound.configuration.read_text("utf-8"))
    path.write_text(yaml.safe_dump(mutated_values(values, bench.draws)), encoding="utf-8")
    return Case(module="tuning.search", arguments=["--dry-run", "--config", str(path)])


def value_of_an_option(bench: Bench) -> Case:
    section = bench.draws.choice(list(SECTIONS))
    field = bench.draws.choice(list(SECTIONS[section].model_fields))
    value = str(bench.draws.choice(EXTREMES)).replace("\0", "")  # no command line holds one
    config = ["--config", str(bench.sound.configuration)]
    given = [f"--{section}.{field}={value}"]
    return Case(module="tuning.search", arguments=["--dry-run", *config, *given])


def model_of_a_search(bench: Bench) -> Case:
    config = ["--config", str(bench.sound.configuration)]
    model = ["--model", bench.directory(bench.sound.model)]
    weights = ["--model.weights", bench.draws.choice(("pretrained", "random"))]
    return Case(module="tuning.search", arguments=["--dry-run", *config, *model, *weights])


def model_of_predict(bench: Bench) -> Case:
    backend = ["--backend", bench.draws.choice(("torch", "torch", "onnx"))]
    model = ["--model", bench.directory(bench.sound.model)]
    source = str(bench.sound.table(".csv"))
    return _predict(bench, [*model, *backend, "--input", source], ".csv")


def input_of_predict(bench: Bench) -> Case:
    model = ["--model", str(bench.sound.model)]
    source = bench.table(".csv", ".jsonl")
    return _predict(bench, [*model, "--input", source], bench.draws.choice((".csv", ".jsonl")))


def _predict(bench: Bench, arguments: list[str], suffix: str) -> Case:
    output = f"answers{suffix}"
    return Case(
        module="evaluation.predict",
        arguments=[*arguments, "--output", str(bench.place / output)],
        may_leave=(output, f"{output}.part"),
    )


def run_of_status(bench: Bench) -> Case:
    return Case(module="tuning.status", arguments=["--run", bench.directory(bench.sound.run)])


def run_that_is_taken_up(bench: Bench) -> Case:
    """What --resume and evaluation.final read of a run, without the trainings that follow."""

    def read(arguments: Sequence[str]) -> int:
        run = open_run(Path(arguments[0]))
        recall_trials(run, build(read_yaml(run.config)))
        TestLock(run).next_directory("a reason")
        load_winner(run)
        return 0

    run = bench.directory(bench.sound.run)
    return Case(module="evaluation.final", main=read, arguments=[run])


KINDS: tuple[Callable[[Bench], Case], ...] = (
    table_of_a_search,
    values_of_a_configuration,
    model_of_predict,
    input_of_predict,
    run_of_status,
    model_of_a_search,
    bytes_of_a_configuration,
    run_that_is_taken_up,
    value_of_an_option,
    table_of_a_search,
    values_of_a_configuration,
    model_of_a_search,
    input_of_predict,
    model_of_predict,
)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory, small_bert: Path) -> Materials:
    return make_materials(tmp_path_factory.mktemp("sound"), small_bert)


@pytest.fixture
def bench(tmp_path: Path, sound: Materials, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)  # what a relative name would make is seen too
    return Bench(sound=sound, place=tmp_path, draws=random.Random())


def files_under(*places: Path) -> set[Path]:
    return {path for place in places for path in place.rglob("*")}


def problems_of(ended: Ended, left: set[str]) -> list[str]:
    """What is against the promise."""
    lines = [line for line in ended.stderr.splitlines() if not COUNT_OF_ROWS.match(line)]
    errors = [line for line in lines if line.startswith("error: ")]
    found = {
        f"exit code {ended.code}": ended.code not in (0, 2),
        "no line says why": ended.code == 2 and not errors,
        "an error, but exit code 0": ended.code == 0 and bool(errors),
        "lines that are no error": ended.code == 2 and errors != lines,
        "memory was asked for without bound": "allocate" in ended.stderr,
        "a line of more than 2,000 characters": any(len(line) > 2000 for line in errors),
        f"left behind: {sorted(left)}": bool(left),
    }
    return [what for what, holds in found.items() if holds]


def tell(number: int, case: Case, place: Path, problems: list[str], ended: Ended | None) -> str:
    """How a failure is repeated, and where its input is kept."""
    kept = Path(tempfile.mkdtemp(prefix=f"mutated-{SEED}-{number}-"))
    shutil.copytree(place, kept / "input", symlinks=True)
    return (
        f"{problems}\nrepeat: FUZZ_SEED={SEED} FUZZ_INPUTS={max(NUM_INPUTS, number + 1)} pytest -m"
        f" slow tests/faults/test_mutated_inputs.py -k '[{number}]'\ninput: {kept}/input\n"
        f"command: python -m {case.module} {' '.join(case.arguments)[:2000]}\n"
        f"stderr: {ended.stderr[-3000:] if ended else ''}"
    )


@pytest.mark.parametrize("number", range(NUM_INPUTS))
@pytest.mark.timeout(3 * LONGEST_SECONDS)
def test_a_damaged_input_ends_in_one_line_a_problem(
    number: int,
    bench: Bench,
    sound: Materials,
    capfd: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    bench.draws.seed(f"{SEED}/{number}")
    case = KINDS[number % len(KINDS)](bench)
    before = files_under(bench.place, sound.directory)
    try:
        if case.main is None:
            ended = run_here(capfd, case.module, case.arguments)
        else:
            ended = run_main(capfd, case.main, case.arguments, module=case.module)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise AssertionError(tell(number, case, bench.place, [reason], None)) from error
    record_property("exit_code", ended.code)
    left = {
        path.name
        for path in files_under(bench.place, sound.directory) - before
        if path.name not in case.may_leave
    }
    problems = problems_of(ended, left)
    assert not problems, tell(number, case, bench.place, problems, ended)


@pytest.mark.parametrize("number", range(NUM_INPUTS, NUM_INPUTS + NUM_PROCESSES))
@pytest.mark.timeout(3 * LONGEST_SECONDS)
def test_a_damaged_input_ends_a_process_likewise(
    number: int,
    bench: Bench,
    sound: Materials,
    record_property: Callable[[str, object], None],
) -> None:
    bench.draws.seed(f"{SEED}/{number}")
    kinds = [kind for kind in KINDS if kind is not run_that_is_taken_up]
    case = kinds[number % len(kinds)](bench)
    before = files_under(bench.place, sound.directory)
    ended = subprocess.run(
        [sys.executable, "-m", case.module, *case.arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=2 * LONGEST_SECONDS,
        check=False,
    )
    told = Ended(
        code=ended.returncode, stdout="", stderr=ended.stderr.decode("utf-8", "replace"), seconds=0
    )
    record_property("exit_code", told.code)
    left = {
        path.name
        for path in files_under(bench.place, sound.directory) - before
        if path.name not in case.may_leave
    }
    problems = problems_of(told, left)
    assert not problems, tell(number, case, bench.place, problems, told)
