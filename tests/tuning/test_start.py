from pathlib import Path
from typing import Any

import pytest
import yaml

from results.errors import RunError
from results.run import Run, create_run
from training.errors import InputError
from tuning.command_line import command_line, read_command
from tuning.config import Configuration
from tuning.search import main
from tuning.start import find_run, new_run, shipped_names, with_name, write_configuration

# Values of the configuration `indobert` that users and scripts rely on.
STUDY: dict[str, dict[str, Any]] = {
    "data": {
        "text_column": "text",
        "label_column": "final_label",
        "labels": (
            "Bukan Ujaran Kebencian",
            "Ujaran Kebencian - Ringan",
            "Ujaran Kebencian - Sedang",
            "Ujaran Kebencian - Berat",
        ),
        "confidence_column": "confidence_score",
        "min_confidence": 0.7,
        "ordered": True,
        "error_column": "error",
        "group_column": None,
        "split_column": None,
        "test_size": 0.2,
        "split_seed": 42,
        "near_duplicate_threshold": 0.8,
    },
    "model": {"revision": None, "weights": "pretrained", "max_length": 128},
    "training": {
        "epochs": 3,
        "batch_size": 16,
        "eval_batch_size": 32,
        "learning_rate": 2e-5,
        "warmup_steps": 500,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "class_weights": "balanced",
        "early_stopping_patience": 3,
        "precision": "auto",
        "seed": 42,
    },
    "search": {
        "algorithm": "random",
        "scheduler": "asha",
        "trials": 24,
        "evaluations_per_epoch": 4,
        "grace_epochs": 0.5,
        "reduction_factor": 3,
        "time_budget_s": None,
        "max_concurrent": None,
        "seed": 42,
        "confirm_top": 3,
        "confirm_replicates": 3,
        "confirm_max_replicates": 5,
    },
    "cluster": {"address": None, "storage_path": None, "max_failures": 3},
    "output": {"directory": "results/runs", "name": None},
}


def resolved(*arguments: str) -> Configuration:
    return read_command(arguments)[2]


def refused(*arguments: str) -> list[str]:
    with pytest.raises(InputError) as error:
        read_command(arguments)
    return list(error.value.problems)


def started(directory: Path, name: str, *arguments: str) -> Run:
    run = create_run(directory, name)
    write_configuration(run, resolved(*arguments))
    return run


def test_without_an_option_the_sample_runs() -> None:
    configuration = resolved()
    assert (configuration.data.path, configuration.model.name) == ("sample", "tiny")
    assert configuration == resolved("--config", "sample")


@pytest.mark.parametrize("name", ["indobert", "indobert-grid"])
@pytest.mark.parametrize("section", STUDY)
def test_the_study_s_values_hold_under_its_configurations(name: str, section: str) -> None:
    expected = STUDY[section]
    if (name, section) == ("indobert-grid", "search"):
        expected = {**expected, "algorithm": "grid", "scheduler": "none"}
    values = getattr(resolved("--config", name, "--data", "x.csv"), section)
    assert {field: getattr(values, field) for field in expected} == expected


def test_the_base_of_a_pretrained_model_fits_any_table() -> None:
    configuration = resolved("--model", "indobenchmark/indobert-base-p1", "--data", "x.csv")
    data, space = configuration.data, configuration.search.space
    assert (data.text_column, data.label_column, data.labels, data.ordered) == (None,) * 4
    assert configuration.training.warmup_steps == 0.1
    assert space["learning_rate"].log_uniform == (1e-5, 1e-4)
    assert space["batch_size"].choice == (16, 32)
    assert space["warmup_steps"].uniform == (0.0, 0.2)
    assert configuration == resolved(
        "--config", "encoder", "--model", "indobenchmark/indobert-base-p1", "--data", "x.csv"
    )


def test_the_model_s_name_in_a_file_chooses_the_base(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("data: {path: x.csv}\nmodel: {name: some/encoder}\n")
    assert resolved("--config", str(file)).training.learning_rate == 2e-5
    assert resolved("--config", str(file), "--model", "tiny").training == resolved().training


def test_an_option_overrides_the_file_and_the_file_the_base(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("training: {learning_rate: 3e-3, weight_decay: 0.2}\n")
    training = resolved("--config", str(file), "--training.weight_decay", "0.3").training
    assert (training.learning_rate, training.weight_decay) == (3e-3, 0.3)
    assert training.batch_size == resolved().training.batch_size


def test_a_space_in_a_file_or_option_replaces_the_base_s_whole() -> None:
    space = resolved("--search.space", "{weight_decay: {uniform: [0, 1e-1]}}").search.space
    assert list(space) == ["weight_decay"]
    assert space["weight_decay"].uniform == (0.0, 0.1)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (("--data", "x.csv"), ("--data.path", "x.csv")),
        (("--model", "a/b", "--data", "x"), ("--model.name", "a/b", "--data", "x")),
        (("--name", "r"), ("--output.name", "r")),
        (("--trials", "5"), ("--search.trials", "5")),
        (("--address", "auto"), ("--cluster.address", "auto")),
    ],
)
def test_a_short_option_stands_for_its_field(short: tuple[str, ...], long: tuple[str, ...]) -> None:
    assert resolved(*short) == resolved(*long)


def test_values_take_the_type_of_their_field() -> None:
    configuration = resolved(
        "--training.learning_rate=2e-5",
        "--data.labels",
        "[No, Yes]",
        "--data.group_column",
        "null",
        "--search.time_budget_s",
        "60",
    )
    assert configuration.training.learning_rate == 2e-5
    assert configuration.data.labels == ("No", "Yes")
    assert configuration.data.group_column is None
    assert configuration.search.time_budget_s == 60.0


SHIPPED = ["ci", "encoder", "indobert", "indobert-grid", "sample", "three-encoders", "wide"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_configuration_is_valid(name: str) -> None:
    assert name in shipped_names()
    resolved("--config", name, "--data", "x.csv")


def test_no_configuration_is_shipped_that_no_test_names() -> None:
    assert shipped_names() == SHIPPED


def test_the_grid_is_the_study_s_27_points() -> None:
    configuration = resolved("--config", "indobert-grid", "--data", "x.csv")
    space = configuration.search.space
    assert {name: domain.choice for name, domain in space.items()} == {
        "learning_rate": (1e-5, 2e-5, 3e-5),
        "batch_size": (8, 16, 32),
        "warmup_steps": (100, 500, 1000),
    }
    assert configuration.search.algorithm == "grid"


def test_indobert_searches_the_study_s_ranges() -> None:
    space = resolved("--config", "indobert", "--data", "x.csv").search.space
    assert space["learning_rate"].log_uniform == (1e-5, 5e-5)
    assert space["batch_size"].choice == (8, 16, 32)
    assert space["warmup_steps"].integer == (100, 1000)


def test_data_are_needed_for_a_pretrained_model() -> None:
    (line,) = refused("--model", "some/encoder")
    assert line == (
        "configuration: data.path is missing, but must be given; add it, or --data.path VALUE"
    )


@pytest.mark.parametrize("base", ["", *shipped_names()])
def test_a_printed_configuration_is_printed_unchanged_when_it_is_given(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", base, "--data", "x.csv"] if base else ["--model", "a/b", "--data", "x"]
    assert main([*arguments, "--print-config"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    file = tmp_path / "printed.yaml"
    file.write_text(printed.out)
    assert main(["--config", str(file), "--print-config"]) == 0
    assert capsys.readouterr().out == printed.out
    assert resolved("--config", str(file)) == resolved(*arguments)


def test_a_mistyped_choice_suggests_the_nearest() -> None:
    (line,) = refused("--search.scheduler", "ashaa")
    assert "must be 'asha', 'median' or 'none'; did you mean asha? (" in line


def test_a_run_keeps_its_configuration_without_the_name(tmp_path: Path) -> None:
    directory = str(tmp_path / "runs")
    configuration = resolved("--name", "first", "--output.directory", directory)
    run = new_run(configuration)
    assert run.directory == tmp_path / "runs" / "first"
    assert "name" not in yaml.safe_load(run.config.read_text())["output"]
    again = resolved("--config", str(run.config), "--name", "first")
    assert again == configuration


def test_a_run_without_a_name_is_named_after_its_configuration_and_the_time(
    tmp_path: Path,
) -> None:
    configuration = resolved("--output.directory", str(tmp_path))
    run = new_run(with_name(configuration, "ci"))
    assert run.directory.parent == tmp_path
    assert run.directory.name.startswith("ci-2")


def test_local_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    configuration = resolved("--data", "x.csv", "--model", "model", "--cluster.storage_path", "s")
    assert configuration.data.path == str(tmp_path / "x.csv")
    assert configuration.model.name == str(tmp_path / "model")
    assert configuration.cluster.storage_path == str(tmp_path / "s")
    remote = resolved(
        "--cluster.storage_path", "s3://bucket/x", "--model", "some/encoder", "--data", "x"
    )
    assert remote.cluster.storage_path == "s3://bucket/x"
    assert remote.model.name == "some/encoder"


def test_an_unknown_option_and_a_bad_value_are_reported_at_once() -> None:
    lines = refused("--trails", "5", "--training.learning_rate", "7")
    assert lines[0] == "unknown option --trails; did you mean --trials?"
    assert "training.learning_rate is '7'" in lines[1]


def test_an_unknown_option_alone_is_reported() -> None:
    assert refused("--search.trail", "5") == [
        "unknown option --search.trail; did you mean --search.trials?"
    ]


def test_an_unknown_configuration_name_is_reported_with_the_nearest() -> None:
    (line,) = refused("--config", "indobret")
    assert line.endswith("did you mean indobert?")


def test_the_newest_unfinished_run_is_resumed(tmp_path: Path) -> None:
    for name, status, at in (
        ("a", "interrupted", "2026-01-01"),
        ("b", "interrupted", "2026-01-02"),
        ("c", "completed", "2026-01-03"),
    ):
        create_run(tmp_path, name).write_record({"status": status, "started_at": at})
    (tmp_path / "not-a-run").mkdir()
    assert find_run({"output": {"directory": str(tmp_path)}}, "").directory.name == "b"


def test_a_resume_finds_the_run_in_the_directory_of_the_configuration_file(tmp_path: Path) -> None:
    started(tmp_path / "runs", "mine")
    file = tmp_path / "mine.yaml"
    file.write_text(f"output: {{directory: {tmp_path / 'runs'}}}\n")
    _, found, _ = read_command(["--resume", "--config", str(file), "--name", "mine"])
    assert found is not None
    assert found.directory == tmp_path / "runs" / "mine"


def test_without_an_unfinished_run_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no unfinished run"):
        read_command(["--resume", "--output.directory", str(tmp_path)])


def test_a_resume_keeps_the_configuration_of_the_run(tmp_path: Path) -> None:
    run = started(tmp_path, "mine", "--training.learning_rate", "3e-3", "--trials", "5")
    arguments = ["--resume", "--name", "mine", "--output.directory", str(tmp_path)]
    _, found, configuration = read_command([*arguments, "--trials", "9"])
    assert found == run
    assert configuration.training.learning_rate == 3e-3
    assert configuration.search.trials == 9


def test_a_resume_with_another_learning_rate_is_refused(tmp_path: Path) -> None:
    started(tmp_path, "mine")
    arguments = ["--resume", "--name", "mine", "--output.directory", str(tmp_path)]
    (line,) = refused(*arguments, "--training.learning_rate", "3e-3")
    assert line.startswith("--resume: training.learning_rate is 0.003, but the run started with")


def test_the_command_is_kept_ready_for_a_shell() -> None:
    assert command_line(["--data", "my data.csv"]) == (
        "python -m tuning.search --data 'my data.csv'"
    )
