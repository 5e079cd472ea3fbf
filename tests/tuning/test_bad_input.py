"""Mistakes of a user: exit code 2, one line for each problem, no traceback, no files."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tuning.searching import run_here
from tests.tuning.tables import SMALL, table
from tuning.search import main

Arguments = Callable[[Path], list[str]]
"""The arguments of a case, for its temporary directory."""


def file(directory: Path, content: bytes, name: str = "data.csv") -> str:
    path = directory / name
    path.write_bytes(content)
    return str(path)


def config(directory: Path, text: str) -> list[str]:
    return ["--config", file(directory, text.encode(), "mine.yaml")]


def renamed(directory: Path, old: str, new: str) -> str:
    path = Path(table(directory))
    path.write_text(path.read_text().replace(old, new, 1))
    return str(path)


def all_low(directory: Path) -> str:
    return table(directory, *[{"confidence_score": "0.2"}] * 80)


def three_classes(directory: Path) -> str:
    return table(directory, *[{"text": ""}] * 20)


CASES: dict[str, tuple[Arguments, list[str]]] = {
    # --- the file
    "file missing": (lambda d: ["--data", str(d / "none.csv")], ["none.csv"]),
    "file empty": (lambda d: ["--data", file(d, b"")], ["data.csv"]),
    "file is a directory": (lambda d: ["--data", str(d)], ["directory"]),
    "not a table": (
        lambda d: ["--data", file(d, b"\x89PNG\x00\x01")],
        ["data.csv"],
    ),
    "wrong encoding": (
        lambda d: ["--data", file(d, "text,final_label\ncaf\xe9,x\n".encode("latin-1"))],
        ["data.csv", "UTF-8"],
    ),
    "UTF-16": (
        lambda d: ["--data", file(d, "text,final_label\na,b\n".encode("utf-16"))],
        ["data.csv", "UTF-16"],
    ),
    # --- columns
    "text column missing": (
        lambda d: ["--data", renamed(d, "text", "texts")],
        ["'text'", "texts"],
    ),
    "label column missing": (
        lambda d: ["--data", renamed(d, "final_label", "final_labels")],
        ["final_label", "final_labels"],
    ),
    "confidence column missing": (
        lambda d: [
            *("--data", renamed(d, "confidence_score", "confidence")),
            *("--data.confidence_column", "confidence_score"),
        ],
        ["confidence_score", "confidence"],
    ),
    # --- cells
    "unknown label": (
        lambda d: ["--data", table(d, {}, {"final_label": "Mild"}, {"final_label": "Mild"})],
        ["Mild", "2", "1, 2"],
    ),
    "confidence not a number": (
        lambda d: ["--data", table(d, {}, {"confidence_score": "high"})],
        ["'high'", "1"],
    ),
    "a class without rows": (
        lambda d: ["--data", three_classes(d)],
        ["Bukan Ujaran Kebencian", "no kept row"],
    ),
    "nothing left": (lambda d: ["--data", all_low(d)], ["data.csv"]),
    # --- options and configuration
    "unknown option": (lambda _: ["--epochs", "3"], ["--epochs"]),
    "mistyped option": (lambda _: ["--trails", "3"], ["did you mean --trials?"]),
    "unknown key": (
        lambda d: config(d, "training: {learning_rte: 1e-3}"),
        ["training.learning_rte", "did you mean learning_rate?"],
    ),
    "unknown section": (lambda d: config(d, "trainning: {}"), ["did you mean training?"]),
    "wrong type": (lambda _: ["--training.batch_size", "many"], ["batch_size is 'many'"]),
    "out of range": (lambda _: ["--training.learning_rate", "3"], ["learning_rate is '3'"]),
    "not YAML": (lambda d: config(d, "training: {a: [1\n"), ["mine.yaml", "line"]),
    "YAML of one word": (lambda d: config(d, "hello"), ["mine.yaml", "'hello'"]),
    "key twice": (lambda d: config(d, "model: {name: a}\nmodel: {name: b}"), ["is repeated"]),
    "configuration missing": (lambda _: ["--config", "none.yaml"], ["none.yaml"]),
    "configuration mistyped": (lambda _: ["--config", "smaple"], ["did you mean sample?"]),
    "no trials": (lambda _: ["--trials", "0"], ["search.trials is '0'"]),
    "searched epochs": (
        lambda _: ["--search.space", "{epochs: {choice: [1, 2]}}"],
        ["search.space.epochs", "budget"],
    ),
    "space not YAML": (lambda _: ["--search.space", "{a: "], ["--search.space"]),
    "warm-up too long": (
        lambda _: ["--training.warmup_steps", "5000"],
        ["5000 steps", "give a share"],
    ),
    "searched warm-up too long": (
        lambda _: ["--search.space", "{warmup_steps: {integer: [1, 9000]}}"],
        ["search.space.warmup_steps", "9000 steps"],
    ),
    "client address": (lambda _: ["--address", "ray://x:1"], ["address is", "HOST:PORT"]),
    "more cores than there are": (
        lambda _: ["--cluster.cpus_per_trial", "4000"],
        ["cluster: a trial needs 4000 CPU cores"],
    ),
    "storage that is a file": (
        lambda d: ["--cluster.storage_path", file(d, b"x", "taken")],
        ["cluster.storage_path is", "cannot be written"],
    ),
    "storage of an unknown kind": (
        lambda _: ["--cluster.storage_path", "nosuch://x"],
        ["cluster.storage_path is 'nosuch://x'"],
    ),
    # --- the run
    "name leaves the directory": (lambda _: ["--name", "../x"], ["output: name is '../x'"]),
    "name empty": (lambda _: ["--output.name="], ["output: name is ''"]),
    "nothing to resume": (lambda _: ["--resume"], ["no unfinished run"]),
    "no such run": (lambda _: ["--resume", "--name", "x"], ["no such directory"]),
}


Refused = Callable[..., list[str]]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Return a function that runs the command in this process and returns its error lines."""

    def run(*arguments: str, output: Path = tmp_path / "runs") -> list[str]:
        ended = run_here(monkeypatch, capsys, *arguments, *("--output.directory", str(output)))
        assert ended.code == 2, ended
        assert "Traceback" not in ended.err
        lines = ended.err.splitlines()
        assert all(line.startswith("error: ") for line in lines)
        return [line.removeprefix("error: ") for line in lines]

    return run


@pytest.mark.parametrize("case", CASES)
def test_a_user_s_mistake_is_one_line_and_leaves_no_files(
    case: str, tmp_path: Path, refused: Refused
) -> None:
    arguments, expected = CASES[case]
    (line,) = refused(*arguments(tmp_path))
    missing = [part for part in expected if part not in line]
    assert missing == [], line
    assert not (tmp_path / "runs").exists()


def test_two_mistakes_of_different_kinds_are_reported_at_once(
    tmp_path: Path, refused: Refused
) -> None:
    mine = config(tmp_path, "training: {learning_rte: 1e-3}\nsearch: {trials: 0}")
    lines = refused(*mine, "--modle", "tiny")
    assert len(lines) == 3
    for part, line in zip(("--modle", "learning_rte", "search.trials"), lines, strict=True):
        assert part in line


def test_two_missing_columns_are_reported_at_once(tmp_path: Path, refused: Refused) -> None:
    data = table(tmp_path)
    lines = refused("--data", data, "--data.text_column", "tweet", "--data.label_column", "klass")
    assert len(lines) == 2


def test_an_option_without_its_value_ends_with_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--trials"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: argument --trials: expected one argument")


def test_a_name_that_exists_is_refused_and_its_files_stay(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "search.json").write_text("{}")
    (line,) = refused("--name", "mine")
    assert "output.name is 'mine'" in line
    assert "--resume" in line
    assert [path.name for path in (tmp_path / "runs" / "mine").iterdir()] == ["search.json"]


def test_an_output_directory_that_is_a_file_is_refused(tmp_path: Path, refused: Refused) -> None:
    taken = tmp_path / "file"
    taken.write_text("x")
    for output in (taken, taken / "runs"):
        (line,) = refused(output=output)
        assert "output.directory is" in line
        assert "cannot be written" in line


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="needs a directory in which root cannot write"
)
def test_an_output_directory_where_nothing_can_be_made_is_refused(
    refused: Refused,
) -> None:
    (line,) = refused(output=Path("/proc/self/runs"))
    assert "cannot be written" in line


def test_a_resumed_run_with_another_model_is_refused(tmp_path: Path, refused: Refused) -> None:
    directory = tmp_path / "runs" / "mine"
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text("training: {seed: 1}")
    (line,) = refused("--resume", "--name", "mine", "--training.seed", "2")
    assert line == (
        "--resume: training.seed is 2, but the run started with 1; leave it as it was, or start a"
        " new run"
    )


def test_a_run_without_a_configuration_is_not_resumed(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (line,) = refused("--resume", "--name", "mine")
    assert "config.yaml" in line


def model(small_bert: Path, directory: Path, *, without: str) -> Path:
    return Path(
        shutil.copytree(small_bert, directory / "model", ignore=shutil.ignore_patterns(without))
    )


@pytest.mark.parametrize(
    ("without", "expected"),
    [("model.safetensors", "no model can be loaded"), ("tokenizer*", "tokenizer"), ("*", "model")],
)
def test_a_model_directory_that_lacks_a_part_is_refused(
    tmp_path: Path,
    refused: Refused,
    small_bert: Path,
    without: str,
    expected: str,
) -> None:
    directory = model(small_bert, tmp_path, without=without)
    (line,) = refused("--data", table(tmp_path), "--model", str(directory), *SMALL)
    assert expected in line
    assert str(directory) in line
    assert not (tmp_path / "runs").exists()


def test_a_tokenizer_that_does_not_know_the_script_is_refused(
    tmp_path: Path, refused: Refused, small_bert: Path
) -> None:
    javanese = [{"text": f"ꦲꦏꦸ {'ꦧ' * n} pasar"} for n in range(1, 81)]
    directory = model(small_bert, tmp_path, without="nothing")
    lone = ["--data.near_duplicate_threshold", "null"]
    (line,) = refused(
        "--data", table(tmp_path, *javanese), "--model", str(directory), *SMALL, *lone
    )
    assert "[UNK]" in line
    assert "at most 20%" in line


def test_rows_longer_than_the_model_s_positions_are_refused(
    tmp_path: Path, refused: Refused, small_bert: Path
) -> None:
    long = ["--model.max_length", "128"]
    (line,) = refused("--data", table(tmp_path), "--model", str(small_bert), *SMALL, *long)
    assert "model.max_length is 128, but must be at most 32" in line


@pytest.mark.parametrize("arguments", [["--data", "none.csv"], ["--trials", "0", "--trails", "1"]])
def test_the_command_itself_ends_with_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "tuning.search",
            *arguments,
            "--output.directory",
            tmp_path / "runs",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert [line[:7] for line in ended.stderr.splitlines()] == ["error: "] * (len(arguments) // 2)
    assert not (tmp_path / "runs").exists()
