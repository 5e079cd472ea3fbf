"""What a user can get wrong: exit code 2, one line a problem, no traceback, nothing left behind."""

import csv
import logging
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.addresses import ClusterError
from results.errors import RunError
from results.log import PACKAGES
from training.cli import run_command
from tuning.search import main

LABELS = (
    "Bukan Ujaran Kebencian",
    "Ujaran Kebencian - Ringan",
    "Ujaran Kebencian - Sedang",
    "Ujaran Kebencian - Berat",
)
# Letters that the vocabulary of `small_bert` has where they stand.
FIRST = [consonant + vowel for consonant in "bdgkps" for vowel in "aeiou"]
LATER = [consonant + vowel for consonant in "dghklnrstw" for vowel in "aeiou"]
Place = Callable[[Path], list[str]]

# What fits the small model and a few rows.
SMALL = [
    *("--model.max_length", "16", "--training.warmup_steps", "0"),
    *("--search.space", "{batch_size: {choice: [8]}}"),
]


def rows(each: int = 20) -> list[dict[str, str]]:
    """Rows of every class, no two texts alike."""
    draws = random.Random(0)
    return [
        {
            "text": " ".join(
                draws.choice(FIRST) + "".join(draws.sample(LATER, 2)) for _ in range(8)
            ),
            "final_label": label,
            "confidence_score": "0.9",
            "error": "",
        }
        for label in LABELS
        for _ in range(each)
    ]


def table(directory: Path, *changes: dict[str, Any], drop: str = "", each: int = 20) -> str:
    """A CSV of good rows; the first ones changed, or one column dropped."""
    written = rows(each)
    for row, change in zip(written, changes, strict=False):
        row.update(change)
    columns = [name for name in written[0] if name != drop]
    path = directory / "data.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(written)
    return str(path)


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


CASES: dict[str, tuple[Place, list[str]]] = {
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
        lambda d: ["--data", renamed(d, "confidence_score", "confidence")],
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
    "key twice": (lambda d: config(d, "model: {name: a}\nmodel: {name: b}"), ["stands twice"]),
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
        lambda place: ["--cluster.storage_path", file(place, b"x", "taken")],
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


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., list[str]]]:
    """Run the command in this process; give the problems that it told."""
    kept = {
        name: (logger.level, logger.propagate, list(logger.handlers))
        for name in PACKAGES
        if (logger := logging.getLogger(name))
    }

    def refused(*arguments: str, output: Path = tmp_path / "runs") -> list[str]:
        given = ["search", *arguments, "--output.directory", str(output)]
        monkeypatch.setattr(sys, "argv", given)
        code = run_command(main, bad_input=(RunError,), environment=(ClusterError,))
        told = capsys.readouterr()
        assert code == 2, told
        assert "Traceback" not in told.err
        lines = told.err.splitlines()
        assert all(line.startswith("error: ") for line in lines)
        return [line.removeprefix("error: ") for line in lines]

    yield refused
    for name, (level, propagate, handlers) in kept.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


@pytest.mark.parametrize("case", CASES)
def test_a_user_s_mistake_is_one_line_and_leaves_nothing_behind(
    case: str, tmp_path: Path, run: Callable[..., list[str]]
) -> None:
    arguments, expected = CASES[case]
    (line,) = run(*arguments(tmp_path))
    missing = [part for part in expected if part not in line]
    assert missing == [], line
    assert not (tmp_path / "runs").exists()


def test_two_mistakes_of_different_kinds_are_told_at_once(
    tmp_path: Path, run: Callable[..., list[str]]
) -> None:
    mine = config(tmp_path, "training: {learning_rte: 1e-3}\nsearch: {trials: 0}")
    lines = run(*mine, "--modle", "tiny")
    assert len(lines) == 3
    for part, line in zip(("--modle", "learning_rte", "search.trials"), lines, strict=True):
        assert part in line


def test_two_missing_columns_are_told_at_once(
    tmp_path: Path, run: Callable[..., list[str]]
) -> None:
    data = table(tmp_path)
    lines = run("--data", data, "--data.text_column", "tweet", "--data.label_column", "klass")
    assert len(lines) == 2


def test_an_option_without_its_value_ends_with_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--trials"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: argument --trials: expected one argument")


def test_a_name_that_exists_is_refused_and_its_files_stay(
    tmp_path: Path, run: Callable[..., list[str]]
) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "search.json").write_text("{}")
    (line,) = run("--name", "mine")
    assert "output.name is 'mine'" in line
    assert "--resume" in line
    assert [path.name for path in (tmp_path / "runs" / "mine").iterdir()] == ["search.json"]


def test_an_output_directory_that_is_a_file_is_refused(
    tmp_path: Path, run: Callable[..., list[str]]
) -> None:
    place = tmp_path / "file"
    place.write_text("x")
    for output in (place, place / "runs"):
        (line,) = run(output=output)
        assert "output.directory is" in line
        assert "cannot be written" in line


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where root cannot write")
def test_an_output_directory_where_nothing_can_be_made_is_refused(
    run: Callable[..., list[str]],
) -> None:
    (line,) = run(output=Path("/proc/self/runs"))
    assert "cannot be written" in line


def test_a_resumed_run_with_another_model_is_refused(
    tmp_path: Path, run: Callable[..., list[str]]
) -> None:
    directory = tmp_path / "runs" / "mine"
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text("training: {seed: 1}")
    (line,) = run("--resume", "--name", "mine", "--training.seed", "2")
    assert line == (
        "--resume: training.seed is 2, but the run started with 1; leave it as it was, or start a"
        " new run"
    )


def test_a_run_without_a_configuration_is_not_resumed(
    tmp_path: Path, run: Callable[..., list[str]]
) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (line,) = run("--resume", "--name", "mine")
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
    run: Callable[..., list[str]],
    small_bert: Path,
    without: str,
    expected: str,
) -> None:
    place = model(small_bert, tmp_path, without=without)
    (line,) = run("--data", table(tmp_path), "--model", str(place), *SMALL)
    assert expected in line
    assert str(place) in line
    assert not (tmp_path / "runs").exists()


def test_a_tokenizer_that_does_not_know_the_script_is_refused(
    tmp_path: Path, run: Callable[..., list[str]], small_bert: Path
) -> None:
    javanese = [{"text": f"ꦲꦏꦸ {'ꦧ' * n} pasar"} for n in range(1, 81)]
    place = model(small_bert, tmp_path, without="nothing")
    lone = ["--data.near_duplicate_threshold", "null"]
    (line,) = run("--data", table(tmp_path, *javanese), "--model", str(place), *SMALL, *lone)
    assert "[UNK]" in line
    assert "at most 20%" in line


def test_rows_longer_than_the_model_s_positions_are_refused(
    tmp_path: Path, run: Callable[..., list[str]], small_bert: Path
) -> None:
    long = ["--model.max_length", "128"]
    (line,) = run("--data", table(tmp_path), "--model", str(small_bert), *SMALL, *long)
    assert "model.max_length is 128, but must be at most 32" in line


@pytest.mark.parametrize("arguments", [["--data", "none.csv"], ["--trials", "0", "--trails", "1"]])
def test_the_command_itself_ends_with_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    told = subprocess.run(
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
    assert told.returncode == 2
    assert told.stdout == ""
    assert [line[:7] for line in told.stderr.splitlines()] == ["error: "] * (len(arguments) // 2)
    assert not (tmp_path / "runs").exists()
