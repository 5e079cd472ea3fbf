import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from training.cli import ExitCode, OptionParser, excerpt, nearest, run_command, shorten
from training.config import DataConfig, ModelConfig, Section, TrainingConfig
from training.errors import InputError
from training.options import FieldHelp, add_fields, describe_values, given_fields, parse_value


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
    captured = capsys.readouterr()
    assert captured.err.splitlines() == lines
    assert captured.out == ""


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


@pytest.mark.parametrize(("value", "part"), [("x" * 100_000, "xxx"), ("\0" * 900, "\\x00")])
def test_the_middle_of_a_long_line_is_left_out(
    value: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(InputError(f"labels is {value}, but must hold two")) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: labels is {part}")
    assert line.endswith(f"{part}, but must hold two\n")
    assert len(line) < 1100


def test_the_error_of_memory_names_what_to_make_smaller(capsys: pytest.CaptureFixture[str]) -> None:
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
    ("module", "imported"),
    [
        ("evaluation.predict", "ctypes"),
        ("evaluation.final", "logging"),
        ("tuning.search", "tempfile"),
        ("tuning.status", "json"),
        ("benchmarks.predict", "csv"),
        ("results.compare", "shlex"),
    ],
)
def test_ctrl_c_while_a_command_loads_its_libraries_is_one_line(module: str, imported: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", module, "-h"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while not (line := process.stderr.readline()).rstrip("\n").endswith(f" {imported}"):
        assert line, f"{module} does not import {imported}"
    process.send_signal(signal.SIGINT)
    errors = [line for line in process.stderr if not line.startswith("import time:")]
    process.stderr.close()
    assert (process.wait(timeout=400), errors) == (130, ["error: interrupted\n"])


def _run_python(script: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, **options
    )


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    script = """
import signal
from training.cli import exit_on_interrupt, run_command
exit_on_interrupt()
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
from training.cli import exit_on_interrupt, run_command
exit_on_interrupt()
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
from training.cli import OptionParser, run_command
from training.errors import InputError
def main(_):
    raise InputError("wrong")
raise SystemExit(run_command(main))
""",
        preexec_fn=lambda: os.close(2),
    )
    assert (ended.returncode, ended.stdout) == (2, "")


SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
}


def _options(*arguments: str) -> dict[str, Any]:
    parser = OptionParser(prog="program")
    add_fields(parser, SECTIONS, {})
    return given_fields(parser.parse(arguments), SECTIONS)


def test_options_give_the_fields_that_were_given_and_no_others() -> None:
    assert _options() == {}
    assert _options(
        "--training.learning_rate", "2e-5", "--data.labels", "[No, Yes]", "--data.path=a.csv",
        "--data.error_column", "null",
    ) == {
        "training": {"learning_rate": "2e-5"},
        "data": {"labels": ["No", "Yes"], "path": "a.csv", "error_column": None},
    }  # fmt: skip


def test_an_option_s_text_is_not_parsed_unless_it_is_a_list_or_a_mapping() -> None:
    assert parse_value("a: b # c", where="option") == "a: b # c"
    assert parse_value(" {choice: [8, 16]}", where="option") == {"choice": ["8", "16"]}
    assert parse_value("~", where="option") is None
    with pytest.raises(InputError, match=r"option --data\.labels, line 1, column \d+: not YAML"):
        _options("--data.labels", "[a, b")


def test_every_unknown_option_is_reported_with_the_nearest_one() -> None:
    with pytest.raises(InputError) as caught:
        _options("--training.learning_rte", "1", "--zzzz=3")
    assert list(caught.value.problems) == [
        "unknown option --training.learning_rte; did you mean --training.learning_rate?",
        "unknown option --zzzz; -h lists the options",
    ]


def test_an_abbreviated_option_is_not_guessed() -> None:
    with pytest.raises(InputError, match=r"unknown option --training\.learn;"):
        _options("--training.learn", "1")


def test_an_option_without_its_value_is_one_line_and_code_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        _options("--data.path")
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: argument --data.path")
    assert error.endswith("see program -h\n")


def test_help_explains_every_field_from_its_own_documentation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        _options("-h")
    assert caught.value.code == 0
    help_text = " ".join(capsys.readouterr().out.split())
    for section, model in SECTIONS.items():
        for name, field in model.model_fields.items():
            assert f"--{section}.{name} VALUE" in help_text
            assert field.description
            assert " ".join(field.description.split()) in help_text


def test_help_lists_the_values_of_a_field_and_its_value_in_each_base(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = OptionParser(prog="program", formatter_class=FieldHelp)
    bases = {
        "sample": {"training": {"epochs": 6, "learning_rate": 2e-5, "class_weights": "none"}},
        "study": {"training": {"epochs": 3, "learning_rate": 2e-5}},
    }
    add_fields(parser, {"training": TrainingConfig}, bases)
    with pytest.raises(SystemExit):
        parser.parse(["-h"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert "[whole number at least 1, at most 1000; sample: 6; study: 3]" in help_text
    assert "[number above 0, at most 1; base: 2e-05]" in help_text
    assert "[one of balanced, sqrt, none; sample: none; study: must be given]" in help_text


def test_a_separator_is_legible_in_the_help() -> None:
    schema = DataConfig.model_json_schema()["properties"]["separator"]
    assert describe_values(schema).startswith(r"one of ',', ';', '\t', '|'")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_s_values_can_be_described(section: str) -> None:
    for schema in SECTIONS[section].model_json_schema()["properties"].values():
        assert describe_values(schema)


def test_a_choice_that_is_not_there_suggests_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = OptionParser(prog="program")
    parser.add_argument("--gates", choices=("minimum", "optimal", "none"))
    for given, hint in (("minimun", "did you mean minimum?"), ("x", "choose one")):
        with pytest.raises(SystemExit):
            parser.parse(["--gates", given])
        assert capsys.readouterr().err == (
            f"error: argument --gates: is '{given}', but must be one of minimum, optimal, none;"
            f" {hint}; see program -h\n"
        )


def test_a_name_that_is_like_no_other_lists_them_all_unless_something_else_is_given() -> None:
    assert nearest("zzzz", ["one", "two"]) == "choose from one, two"
    assert nearest("zzzz", ["one", "two"], otherwise="") == ""
    assert nearest("TEXTT", ["Text", "label"]) == "did you mean Text?"


def test_a_long_value_is_shortened() -> None:
    assert shorten("ab") == "'ab'"
    assert len(shorten("x" * 500)) == 80
    assert excerpt("one\n  two " + "x" * 500) == "one two " + "x" * 49 + "..."


def test_exit_codes_are_those_that_scripts_rely_on() -> None:
    codes = {code.name: int(code) for code in ExitCode}
    assert codes == {
        "DONE": 0,
        "ENVIRONMENT_FAILED": 1,
        "BAD_INPUT": 2,
        "GATE_NOT_MET": 3,
        "SEARCH_ABORTED": 4,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }
