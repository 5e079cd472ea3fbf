"""A run of version 0.1.0, whose rules for duplicate rows differ, is refused with the reason."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from evaluation.winner import load_winner
from results.compare import main as compare
from results.environment import VERSION, recorded_version
from results.errors import RunError
from results.run import Run
from tests.training.tables import configured, table_of
from training.data import prepare
from training.options import read_yaml
from tuning.checks import check_same_split
from tuning.run_search import run_search
from tuning.start import build

ROOT = Path(__file__).parents[1]
RECORDED = Path(__file__).parent / "run-0.1.0"
"""The files that version 0.1.0 left of a search; its data are not there."""


@pytest.fixture
def old(tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(RECORDED, tmp_path / "old")))


def change_record(run: Run, **changes: object) -> None:
    run.record.write_text(json.dumps({**json.loads(run.record.read_text("utf-8")), **changes}))


def test_the_version_is_that_of_the_package() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == (
        VERSION
    )


def test_the_final_evaluation_refuses_an_old_run_and_names_the_version_to_use(old: Run) -> None:
    with pytest.raises(RunError) as caught:
        load_winner(old)
    assert str(caught.value) == (
        f"run {old.directory}: it was searched by version 0.1.0, whose rules for duplicate rows"
        f" differ, so that this version ({VERSION}) may split the rows differently; evaluate it"
        " with version 0.1.0, or search again"
    )


def test_an_old_run_is_not_resumed_and_stays_as_it_is(old: Run) -> None:
    change_record(old, status="interrupted")
    before = {path.name: path.read_bytes() for path in old.directory.iterdir()}
    with pytest.raises(RunError, match=r"by version 0\.1\.0, whose rules .*; resume it with"):
        run_search(build(read_yaml(old.config)), resume=old)
    after = {path.name: path.read_bytes() for path in old.directory.iterdir()}
    assert {name: after[name] for name in before} == before


def test_a_run_of_later_rules_is_refused_with_the_version_that_it_names(old: Run) -> None:
    record = old.read_record()
    data, environment = record["data"], record["environment"]
    change_record(old, data={**data, "rules": 9}, environment={**environment, "version": "7.0"})
    with pytest.raises(RunError, match=r"by version 7\.0, whose rules .* with version 7\.0"):
        load_winner(old)


def test_old_runs_can_still_be_compared(old: Run, capsys: pytest.CaptureFixture[str]) -> None:
    new = Run(Path(shutil.copytree(old.directory, old.directory.with_name("new"))))
    change_record(new, data={**new.read_record()["data"], "rules": 2})
    assert compare([str(old.directory), str(new.directory)]) == 0
    assert "new and old have different splits" in capsys.readouterr().out


@pytest.mark.parametrize("environment", [None, {}, {"version": None}])
def test_a_record_that_names_no_version_is_of_the_first(environment: object) -> None:
    assert recorded_version({"environment": environment}) == "0.1.0"


def test_a_run_without_a_record_is_recognised_by_its_splits(old: Run, tmp_path: Path) -> None:
    data = prepare(configured(tmp_path, table_of()))
    with pytest.raises(RunError, match=r"splits\.csv does not hold the split that this version"):
        check_same_split(old, data)
    data.assignment.to_csv(old.splits, index=False, lineterminator="\n")
    check_same_split(old, data)
    old.splits.unlink()
    check_same_split(old, data)
