"""Whatever bytes a file holds, a command ends with exit code 0, or 2 and one line a problem.

FUZZ_INPUTS commands run in this process and FUZZ_PROCESSES in processes of their own (475 and 25
are a full run, 42 and 3 the default); FUZZ_SEED is the seed of the damage.
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
from tests.faults.commands import Ended, run_here, run_main
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

NUM_INPUTS = int(os.environ.get("FUZZ_INPUTS", "42"))
NUM_PROCESSES = int(os.environ.get("FUZZ_PROCESSES", "3"))
SEED = int(os.environ.get("FUZZ_SEED", "20260101"))

COUNT_OF_ROWS = re.compile(r"[0-9,]+ rows ")  # the progress that predict prints

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command on something damaged."""

    module: str
    arguments: list[str]
    main: Callable[[Sequence[str]], int] | None = None
    """Instead of the module's `main`; only for code that no command runs quickly."""
    may_leave: Sequence[str] = ()
    """Names of files that it may write."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The files and random numbers of a case."""

    sound: Materials
    scratch: Path
    rng: random.Random

    def table(self, *suffixes: str) -> str:
        source = self.sound.table(self.rng.choice(suffixes))
        path = self.sound.copy(source, self.scratch)
        mutate_file(path, self.rng)
        return str(path)

    def directory(self, source: Path) -> str:
        copied = self.sound.copy(source, self.scratch)
        mutate_directory(copied, self.rng)
        return str(copied)


def table_of_a_search(bench: Bench) -> Case:
    config = ["--config", str(bench.sound.configuration)]
    data = ["--data", bench.table(".csv", ".csv", ".jsonl", ".parquet")]
    return Case(module="tuning.search", arguments=["--dry-run", *config, *data])


def bytes_of_a_configuration(bench: Bench) -> Case:
    path = bench.scratch / "mine.yaml"
    content = bench.sound.configuration.read_bytes()
    if bench.rng.random() < 0.05:
        content += BILLION_LAUGHS
    path.write_bytes(mutated_bytes(content, bench.rng, YAML))
    return Case(module="tuning.search", arguments=["--print-config", "--config", str(path)])


def values_of_a_configuration(bench: Bench) -> Case:
    path = bench.scratch / "mine.yaml"
    values = yaml.safe_load(bench.sound.configuration.read_text("utf-8"))
    path.write_text(yaml.safe_dump(mutated_values(values, bench.rng)), encoding="utf-8")
    return Case(module="tuning.search", arguments=["--dry-run", "--config", str(path)])


def value_of_an_option(bench: Bench) -> Case:
    section = bench.rng.choice(list(SECTIONS))
    field = bench.rng.choice(list(SECTIONS[section].model_fields))
    value = str(bench.rng.choice(EXTREMES)).replace("\0", "")  # a command line cannot hold one
    config = ["--config", str(bench.sound.configuration)]
    given = [f"--{section}.{field}={value}"]
    return Case(module="tuning.search", arguments=["--dry-run", *config, *given])


def model_of_a_search(bench: Bench) -> Case:
    config = ["--config", str(bench.sound.configuration)]
    model = ["--model", bench.directory(bench.sound.model)]
    weights = ["--model.weights", bench.rng.choice(("pretrained", "random"))]
    return Case(module="tuning.search", arguments=["--dry-run", *config, *model, *weights])


def model_of_predict(bench: Bench) -> Case:
    backend = ["--backend", bench.rng.choice(("torch", "torch", "onnx"))]
    model = ["--model", bench.directory(bench.sound.model)]
    source = str(bench.sound.table(".csv"))
    return _predict(bench, [*model, *backend, "--input", source], ".csv")


def input_of_predict(bench: Bench) -> Case:
    model = ["--model", str(bench.sound.model)]
    source = bench.table(".csv", ".jsonl")
    return _predict(bench, [*model, "--input", source], bench.rng.choice((".csv", ".jsonl")))


def _predict(bench: Bench, arguments: list[str], suffix: str) -> Case:
    output = f"answers{suffix}"
    return Case(
        module="evaluation.predict",
        arguments=[*arguments, "--output", str(bench.scratch / output)],
        may_leave=(output, f"{output}.part"),
    )


def run_of_status(bench: Bench) -> Case:
    return Case(module="tuning.status", arguments=["--run", bench.directory(bench.sound.run)])


def run_to_resume(bench: Bench) -> Case:
    """Read what --resume and evaluation.final read of a run, without their trainings."""

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
    run_to_resume,
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
    monkeypatch.chdir(tmp_path)  # files of relative names are found, too
    return Bench(sound=sound, scratch=tmp_path, rng=random.Random())


def files_under(*directories: Path) -> set[Path]:
    return {path for directory in directories for path in directory.rglob("*")}


def problems_of(ended: Ended, left: set[str]) -> list[str]:
    """Return how an ending breaks the rules for errors."""
    lines = [line for line in ended.stderr.splitlines() if not COUNT_OF_ROWS.match(line)]
    errors = [line for line in lines if line.startswith("error: ")]
    found = {
        f"exit code {ended.code}": ended.code not in (0, 2),
        "no line states the problem": ended.code == 2 and not errors,
        "an error, but exit code 0": ended.code == 0 and bool(errors),
        "lines that are no error": ended.code == 2 and errors != lines,
        "memory was asked for without bound": "allocate" in ended.stderr,
        "a line of more than 2,000 characters": any(len(line) > 2000 for line in errors),
        f"left behind: {sorted(left)}": bool(left),
    }
    return [what for what, holds in found.items() if holds]


def describe_failure(
    number: int, case: Case, scratch: Path, problems: list[str], ended: Ended | None
) -> str:
    """Return how to repeat a failure, and the path of a copy of its input."""
    kept = Path(tempfile.mkdtemp(prefix=f"mutated-{SEED}-{number}-"))
    shutil.copytree(scratch, kept / "input", symlinks=True)
    return (
        f"{problems}\nrepeat: FUZZ_SEED={SEED} FUZZ_INPUTS={max(NUM_INPUTS, number + 1)} pytest -m"
        f" slow tests/faults/test_mutated_inputs.py -k '[{number}]'\ninput: {kept}/input\n"
        f"command: python -m {case.module} {' '.join(case.arguments)[:2000]}\n"
        f"stderr: {ended.stderr[-3000:] if ended else ''}"
    )


@pytest.mark.parametrize("number", range(NUM_INPUTS))
@pytest.mark.timeout(600)
def test_a_damaged_input_ends_in_one_line_a_problem(
    number: int,
    bench: Bench,
    sound: Materials,
    capfd: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    bench.rng.seed(f"{SEED}/{number}")
    case = KINDS[number % len(KINDS)](bench)
    before = files_under(bench.scratch, sound.directory)
    try:
        if case.main is None:
            ended = run_here(capfd, case.module, case.arguments)
        else:
            ended = run_main(capfd, case.main, case.arguments, module=case.module)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise AssertionError(
            describe_failure(number, case, bench.scratch, [reason], None)
        ) from error
    record_property("exit_code", int(ended.code))
    left = {
        path.name
        for path in files_under(bench.scratch, sound.directory) - before
        if path.name not in case.may_leave
    }
    problems = problems_of(ended, left)
    assert not problems, describe_failure(number, case, bench.scratch, problems, ended)


@pytest.mark.parametrize("number", range(NUM_INPUTS, NUM_INPUTS + NUM_PROCESSES))
@pytest.mark.timeout(600)
def test_a_damaged_input_ends_a_process_likewise(
    number: int,
    bench: Bench,
    sound: Materials,
    record_property: Callable[[str, object], None],
) -> None:
    bench.rng.seed(f"{SEED}/{number}")
    kinds = [kind for kind in KINDS if kind is not run_to_resume]
    case = kinds[number % len(kinds)](bench)
    before = files_under(bench.scratch, sound.directory)
    ended = subprocess.run(
        [sys.executable, "-m", case.module, *case.arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=400,
        check=False,
    )
    found = Ended(
        code=ended.returncode, stdout="", stderr=ended.stderr.decode("utf-8", "replace"), seconds=0
    )
    record_property("exit_code", int(found.code))
    left = {
        path.name
        for path in files_under(bench.scratch, sound.directory) - before
        if path.name not in case.may_leave
    }
    problems = problems_of(found, left)
    assert not problems, describe_failure(number, case, bench.scratch, problems, found)
