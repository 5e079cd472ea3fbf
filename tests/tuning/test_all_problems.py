"""A user sees every problem of a command in one answer: options, fields, space, table, model."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from results.errors import RunError
from tests.tuning.tables import SMALL, table
from training.config import STUDY_LABELS, DataConfig
from training.errors import InputError, Problems
from training.options import read_yaml
from tuning.command_line import read_command
from tuning.config import Configuration
from tuning.initial_state import prepare_new
from tuning.preparation import prepare_search
from tuning.rungs import describe_absent_rungs, plan_of
from tuning.search import main
from tuning.start import resolve, shipped_names

RENAMED = ("text,final_label", "review,stars")


def renamed(directory: Path) -> str:
    """Write a table whose columns have other names; return its path."""
    path = Path(table(directory))
    path.write_text(path.read_text().replace(*RENAMED, 1))
    return str(path)


def problems_of(*arguments: str) -> list[str]:
    with pytest.raises(InputError) as refused:
        read_command(arguments)
    return list(refused.value.problems)


def problems_of_start(configuration: Configuration, directory: Path) -> list[str]:
    with pytest.raises(InputError) as refused:
        prepare_new(configuration, "search", directory / "tokenizer")
    return list(refused.value.problems)


def resolved(*arguments: str) -> Configuration:
    return read_command(arguments)[2]


def test_four_mistakes_of_four_kinds_are_four_lines(tmp_path: Path) -> None:
    lines = problems_of(
        *("--trails", "5", "--training.learning_rate", "7"),
        *("--data", renamed(tmp_path), "--model", "./no/such/model"),
    )
    assert len(lines) == 4
    assert lines[0] == "unknown option --trails; did you mean --trials?"
    assert "training.learning_rate is '7'" in lines[1]
    assert lines[2].endswith("add --data.text_column review --data.label_column stars")
    assert "model.name is './no/such/model', but there is no such directory" in lines[3]


def test_the_space_is_checked_although_a_field_is_wrong(tmp_path: Path) -> None:
    lines = problems_of(
        *("--data.test_size", "2", "--data", str(tmp_path / "none.csv")),
        *("--search.space", "{learning_rate: {choice: [3, 1e-3]}}"),
    )
    assert len(lines) == 3
    assert "data.test_size is '2'" in lines[0]
    assert "search.space.learning_rate.choice has 3, but" in lines[1]
    assert "none.csv: no such file" in lines[2]


def test_a_mistyped_option_alone_is_answered_without_loading_libraries() -> None:
    program = (
        "import sys\n"
        "from tuning.command_line import read_command\n"
        "try: read_command(['--trails', '5'])\n"
        "except ValueError as error: print(error)\n"
        "print([name for name in ('torch', 'pandas', 'ray') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines() == ["unknown option --trails; did you mean --trials?", "[]"]


def test_table_model_and_resources_are_reported_together(tmp_path: Path, small_bert: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(small_bert, model, ignore=shutil.ignore_patterns("model.safetensors"))
    configuration = resolved(
        *("--data", renamed(tmp_path), "--model", str(model), *SMALL),
        *("--cluster.cpus_per_trial", "4096", "--cluster.address", "local"),
        *("--output.directory", str(tmp_path / "runs")),
    )
    lines = problems_of_start(configuration, tmp_path)
    assert len(lines) == 3
    assert "a trial needs 4096 CPU cores" in lines[0]
    assert "--data.label_column stars" in lines[1]
    assert "no model can be loaded" in lines[2]
    assert not (tmp_path / "runs").exists()


def test_a_warmup_the_metric_and_the_model_are_reported_together(
    tmp_path: Path, small_bert: Path
) -> None:
    configuration = resolved(
        *("--data", table(tmp_path), "--model", str(small_bert), *SMALL),
        *("--model.max_length", "128", "--training.warmup_steps", "100000"),
        *("--search.metric", "f1:good"),
    )
    lines = problems_of_start(configuration, tmp_path)
    assert len(lines) == 3
    assert "must be followed by one of the labels; choose from Bukan Ujaran Kebencian" in lines[0]
    assert "training.warmup_steps is 100000 steps" in lines[1]
    assert "model.max_length is 128, but must be at most 32" in lines[2]


def test_a_name_that_is_taken_is_reported_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    output = ["--name", "mine", "--output.directory", str(tmp_path / "runs")]
    lines = problems_of_start(resolved("--data", renamed(tmp_path), *output), tmp_path)
    assert len(lines) == 2
    assert "output.name is 'mine'" in lines[0]
    with pytest.raises(RunError, match=r"output\.name is 'mine'"):
        prepare_new(resolved("--config", "ci", *output), "search", tmp_path / "tokenizer")


def test_one_problem_is_raised_as_it_is_and_equal_lines_are_reported_once() -> None:
    def fail(error: Exception) -> None:
        raise error

    problems = Problems(RunError)
    assert problems.attempt(lambda: 5) == 5
    problems.raise_any()
    problems.attempt(lambda: fail(RunError("taken")))
    with pytest.raises(RunError, match="taken"):
        problems.raise_any()
    problems.add("a", "b")
    problems.add("a")
    with pytest.raises(InputError) as raised:
        problems.raise_any()
    assert raised.value.problems == ("taken", "a", "b")
    with pytest.raises(KeyError):
        problems.attempt(lambda: fail(KeyError()))


@pytest.mark.parametrize("scheduler", ["asha", "median"])
@pytest.mark.parametrize("base", shipped_names())
def test_one_epoch_is_enough_under_every_base(base: str, scheduler: str) -> None:
    configuration = resolved(
        *("--config", base, "--data", "x.csv", "--training.epochs", "1"),
        *("--search.scheduler", scheduler, "--search.grace_epochs", "1"),
    )
    plan = plan_of(configuration, 5000)
    assert plan.rungs == ()
    assert plan.end == plan.budget == 5000
    assert describe_absent_rungs(configuration, plan) == (
        f"no trial is stopped early by {scheduler}: the first rung, search.grace_epochs 1, is not"
        " below the budget, training.epochs 1"
    )


def test_shares_of_the_steps_always_end_in_time(tmp_path: Path) -> None:
    configuration = resolved(
        *("--data", table(tmp_path), "--training.epochs", "1", "--training.batch_size", "4096"),
        *("--search.space", "{warmup_steps: {uniform: [0.0, 0.99]}}"),
    )
    preparation = prepare_search(configuration, tokenizer_directory=tmp_path / "tokenizer")
    assert preparation.num_rows < 4096


def test_a_run_keeps_what_was_recognised_so_that_its_configuration_repeats_it(
    tmp_path: Path,
) -> None:
    output = ["--output.directory", str(tmp_path / "runs"), "--name", "mine"]
    data = table(tmp_path, drop="confidence_score")
    configuration = resolved("--data", data, *output)
    assert configuration.data.labels is None
    run = prepare_new(configuration, "search", tmp_path / "tokenizer").make_run()
    written = DataConfig.model_validate(read_yaml(run.config)["data"])
    assert (written.text_column, written.label_column) == ("text", "final_label")
    assert written.labels == STUDY_LABELS
    assert written.ordered is True
    assert written.confidence_column is None
    repeated = resolve(read_yaml(run.config))
    preparation = prepare_search(repeated, tokenizer_directory=tmp_path / "again")
    assert preparation.configuration.data == written


def test_null_stands_for_what_was_recognised_when_a_run_is_resumed(tmp_path: Path) -> None:
    output = ["--output.directory", str(tmp_path / "runs"), "--name", "mine"]
    configuration = resolved("--data", table(tmp_path), *output)
    run = prepare_new(configuration, "search", tmp_path / "tokenizer").make_run()
    file = tmp_path / "mine.yaml"
    file.write_text("data: {text_column: null, label_column: null, labels: null, ordered: null}\n")
    resumed = resolved("--resume", *output, "--config", str(file), "--trials", "20")
    assert resumed.data == DataConfig.model_validate(read_yaml(run.config)["data"])
    assert resumed.search.trials == 20
    with pytest.raises(InputError, match=r"--resume: data\.labels is"):
        resolved("--resume", *output, "--data.labels", "[a, b]")


def test_a_printed_configuration_asks_for_no_column_that_nobody_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = table(tmp_path, drop="confidence_score")
    assert main(["--data", data, "--print-config"]) == 0
    file = tmp_path / "printed.yaml"
    file.write_text(capsys.readouterr().out)
    configuration = resolved("--config", str(file))
    found = prepare_search(configuration, tokenizer_directory=tmp_path / "tokenizer")
    assert found.configuration.data.confidence_column is None
    asked = ["--data.confidence_column", "confidence_score"]
    assert main(["--data", table(tmp_path), *asked, "--print-config"]) == 0
    assert "confidence_column: confidence_score" in capsys.readouterr().out
