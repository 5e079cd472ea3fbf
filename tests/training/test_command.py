import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from training.cli import run_command
from training.errors import InputError


class _RunError(ValueError):
    pass


class _ClusterError(RuntimeError):
    pass


def _run(error: BaseException) -> int:
    def main(_: Sequence[str]) -> int:
        raise error

    return run_command(main, bad_input=(_RunError,), environment=(_ClusterError,))


def test_a_command_gets_its_arguments_and_its_code_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["program", "a", "b"])
    assert run_command(lambda arguments: len(arguments)) == 2


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (InputError("one is 1", "two is 2"), 2, ["error: one is 1", "error: two is 2"]),
        (_RunError("the run is there"), 2, ["error: the run is there"]),
        (_RunError("run a\nb: \x1b[31m"), 2, ["error: run a\\nb: \\x1b[31m"]),
        (_ClusterError("no node answers"), 1, ["error: no node answers"]),
        (OSError(28, "No space left"), 1, ["error: No space left; free or repair it"]),
        (KeyboardInterrupt(), 130, ["error: interrupted; the same command starts again"]),
        (BrokenPipeError(), 1, []),
    ],
)
def test_what_users_and_machines_cause_is_a_line_each_and_a_code(
    error: BaseException, code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(error) == code
    said = capsys.readouterr()
    assert said.err.splitlines() == lines
    assert said.out == ""


def test_a_failed_write_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()

    def main(_: Sequence[str]) -> int:
        (tmp_path / "file" / "below").write_text("x")
        return 0

    assert run_command(main) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: Not a directory: ")
    assert str(tmp_path / "file" / "below") in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(("value", "shown"), [("x" * 100_000, "xxx"), ("\0" * 900, "\\x00")])
def test_the_middle_of_a_long_line_is_left_out(
    value: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(InputError(f"labels is {value}, but must hold two")) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: labels is {shown}")
    assert line.endswith(f"{shown}, but must hold two\n")
    assert len(line) < 1100


def test_out_of_memory_says_what_to_make_smaller(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(MemoryError()) == 1
    assert "smaller batches" in capsys.readouterr().err


def test_an_error_of_our_own_code_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        _run(ZeroDivisionError())


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\u2028"])
def test_a_problem_is_one_line_whatever_names_it_holds(line_break: str) -> None:
    error = InputError(f"column a{line_break}b is missing", "another")
    assert list(error.problems) == ["column a b is missing", "another"]
    assert str(error).splitlines() == list(error.problems)


def test_an_exit_asked_for_is_an_exit() -> None:
    def main(_: Sequence[str]) -> int:
        raise SystemExit(2)

    with pytest.raises(SystemExit):
        run_command(main)


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("module", "begun"),
    [
        ("evaluation.predict", "argparse"),
        ("evaluation.final", "argparse"),
        ("tuning.search", "tempfile"),
        ("tuning.status", "json"),
        ("benchmarks.predict", "csv"),
    ],
)
def test_ctrl_c_while_a_command_loads_its_libraries_is_one_line(module: str, begun: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", module, "-h"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while not (line := process.stderr.readline()).rstrip("\n").endswith(f" {begun}"):
        assert line, f"{module} does not import {begun}"
    process.send_signal(signal.SIGINT)
    said = [line for line in process.stderr if not line.startswith("import time:")]
    process.stderr.close()
    assert (process.wait(timeout=30), said) == (130, ["error: interrupted\n"])


def _run_python(script: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, **options
    )


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    script = """
import signal
from training.cli import interrupts_end_at_once, run_command
interrupts_end_at_once()
signal.raise_signal(signal.SIGINT)
def main(_):
    signal.raise_signal(signal.SIGINT)
    return 7
raise SystemExit(run_command(main))
"""
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    assert _run_python(ignoring + script).returncode == 7
    ended = _run_python(script)
    assert (ended.returncode, ended.stderr) == (130, "error: interrupted\n")


def test_in_a_command_ctrl_c_is_an_exception_again() -> None:
    ended = _run_python("""
import signal
from training.cli import interrupts_end_at_once, run_command
interrupts_end_at_once()
def main(_):
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        print("cleaned up")
raise SystemExit(run_command(main))
""")
    assert (ended.returncode, ended.stdout) == (130, "cleaned up\n")
    assert ended.stderr == "error: interrupted; the same command starts again\n"


def test_an_error_does_not_go_to_standard_output_where_stderr_is_closed() -> None:
    ended = _run_python(
        """
from training.cli import run_command
from training.errors import InputError
def main(_):
    raise InputError("wrong")
raise SystemExit(run_command(main))
""",
        preexec_fn=lambda: os.close(2),
    )
    assert (ended.returncode, ended.stdout) == (2, "")
