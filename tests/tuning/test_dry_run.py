import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tuning.searching import Ended, run_here
from tests.tuning.tables import SMALL, table
from tests.tuning.test_planned import REHEARSAL
from tuning.command_line import read_command
from tuning.dry_run import describe_search, plan_from
from tuning.preparation import prepare_search

DryRun = Callable[..., Ended]


@pytest.fixture
def dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> DryRun:
    """Return a function that runs `--dry-run` in this process."""
    output = ("--output.directory", str(tmp_path / "runs"))
    return lambda *arguments: run_here(monkeypatch, capsys, "--dry-run", *arguments, *output)


def line(out: str, name: str) -> str:
    (found,) = [text for text in out.splitlines() if text.startswith(f"{name} ")]
    return found


def test_a_dry_run_prints_the_plan_and_starts_nothing(tmp_path: Path, dry_run: DryRun) -> None:
    code, out, err = dry_run(
        *("--config", "ci", "--training.epochs", "4", "--search.trials", "5"),
        *("--search.grace_epochs", "1", "--search.confirm_replicates", "2"),
        *("--search.confirm_top", "1", "--search.confirm_max_replicates", "3"),
    )
    assert (code, err) == (0, "")
    assert not (tmp_path / "runs").exists()
    num_train = int(out.split("train ")[1].split(":")[0].replace(",", ""))
    assert line(out, "trials").startswith("trials      5 (random), ")
    # No rung at one epoch, which is fewer than 50 steps.
    seen = "training rows seen"
    rungs = f"     {3 * num_train:,} {seen} (asha); budget {4 * num_train:,} {seen}"
    assert line(out, "rungs").endswith(rungs)
    rows = line(out, "rows")
    assert f"at most {5 * 4 * num_train:,} trained by the search" in rows
    assert f"at most {6 * 4 * num_train:,} by the confirmation" in rows
    assert "% unknown, " in line(out, "tokens")
    assert "s per step; typical rows: " in line(out, "model")
    assert "s at batch size 16, " in line(out, "model")
    assert " s here with " in line(out, "time")
    assert ", confirmation " in line(out, "time")
    assert "on 4 such machines, " in out
    assert "on 8 such machines, " in out
    assert "GiB for each of " in line(out, "memory")
    assert "MiB at the peak" in line(out, "disk")
    assert "a small copy of the model was saved, loaded and run in" in line(out, "checks")
    assert re.search(
        rf"macro-F1 0\.\d{{4}} by TF-IDF .* fitted on {num_train:,} training rows in \d+\.\d s",
        line(out, "to beat"),
    )
    last = out.splitlines()[-1]
    assert last.startswith(
        "Nothing was started. Next: python -m tuning.search --config ci --training"
    )
    assert "--dry-run" not in last


def test_a_trial_that_needs_more_than_this_machine_is_refused(
    dry_run: DryRun,
) -> None:
    code, out, err = dry_run("--cluster.cpus_per_trial", "4000")
    assert (code, out) == (2, "")
    (error,) = err.splitlines()
    assert error.startswith("error: cluster: a trial needs 4000 CPU cores")


def test_a_dry_run_refuses_what_a_search_refuses(tmp_path: Path, dry_run: DryRun) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    for arguments in (["--name", "mine"], ["--data", "none.csv"], ["--trials", "0"]):
        code, out, err = dry_run(*arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)


def described(directory: Path, *arguments: str, slots: int = 1) -> str:
    """Return the lines of a dry run whose trials take what `REHEARSAL` has."""
    given = read_command([*arguments, "--output.directory", str(directory / "runs")])[2]
    preparation = prepare_search(given, tokenizer_directory=directory / f"tokenizer-{slots}")
    configuration = preparation.configuration
    plan = plan_from(configuration, preparation, REHEARSAL, slots)
    return "\n".join(describe_search(configuration, preparation, plan, None))


def test_a_dry_run_has_lines_for_the_largest_batch_absent_rungs_and_truncated_rows(
    tmp_path: Path, small_bert: Path
) -> None:
    data = table(tmp_path, {"text": "pasar " * 40}, each=40)
    out = described(tmp_path, "--data", data, "--model", str(small_bert), *SMALL)
    assert "batch size 32 x 128 tokens: 0.50 s per step" in line(out, "model")
    assert "no trial is stopped early by asha: no rung is at 50 steps or more" in out
    assert "of the rows truncated at 16" in line(out, "tokens")


def test_a_dry_run_reports_that_no_rung_is_left(tmp_path: Path) -> None:
    out = described(tmp_path, "--config", "ci", "--training.epochs", "1")
    assert "no trial is stopped early by asha: the first rung" in out
    assert "labels: those of the study" in out


def test_the_needed_disk_space_includes_the_checkpoints_of_all_concurrent_trials(
    tmp_path: Path,
) -> None:
    sizes = []
    for slots in (1, 2):
        out = described(tmp_path, "--config", "ci", slots=slots)
        sizes.append(int(line(out, "disk").split("at most ")[1].split(" MiB")[0]))
    # Weights and two moments of four bytes, the old checkpoint and the new one beside it.
    assert sizes[1] - sizes[0] == pytest.approx(REHEARSAL.num_parameters * 24 / 2**20, abs=3)
