import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from training.command import run_command
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
        (_ClusterError("no node answers"), 1, ["error: no node answers"]),
        (OSError(28, "No space left"), 1, ["error: No space left; free or repair it"]),
        (KeyboardInterrupt(), 130, ["error: interrupted"]),
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
