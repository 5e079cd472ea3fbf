"""Searches of a table in memory: it becomes the run's own data, wherever the run goes."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from evaluation.winner import load_winner
from results.errors import RunError
from results.mirror import Mirror, fetch_run
from results.run import Run
from results.storage import Storage
from tests.results.notebooks import displayed
from training.data import file_of
from training.errors import InputError
from training.options import read_yaml
from tuning import api
from tuning.api import search
from tuning.config import Configuration
from tuning.initial_state import InitialState, prepare_new
from tuning.start import build, read_chosen, read_configuration

# As in tests/evaluation/conftest.py: the tiny model learns to predict more than one class.
SMALL = {
    **{"search.trials": 2, "search.confirm_replicates": 0, "search.scheduler": "none"},
    **{"training.epochs": 3, "training.batch_size": 16, "training.learning_rate": 4e-3},
    "search.space": {"batch_size": {"choice": [16, 32]}},
}
NUM_ROWS = 1000


class StoppedError(Exception):
    """Raised where a search would start."""


@dataclass
class Asked:
    """What a search would be started with."""

    configuration: Configuration | None = None
    rows: int | None = None
    arguments: dict[str, Any] | None = None


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()

    def start(configuration: Configuration, **arguments: Any) -> None:
        found.configuration, found.arguments = configuration, arguments
        if arguments["owns_data"]:
            found.rows = len(pd.read_parquet(configuration.data.path))
        raise StoppedError

    monkeypatch.setattr(api, "run_search", start)
    return found


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.read_csv(file_of("sample")).head(NUM_ROWS)


def prepared(table: object, directory: Path, name: str = "first") -> InitialState:
    """Prepare a search of a table as `search` does, up to the start of Ray."""
    with api._file_of(api.read_frame(table)) as path:
        output = {"directory": str(directory), "name": name}
        values = {"data": {"path": str(path)}, "output": output}
        state = prepare_new(build(values), "", directory.parent / f"{name}-words", owns_data=True)
        state.make_run()
    return state


@pytest.mark.parametrize("name", ["mine.csv", Path("mine.csv")])
def test_a_path_becomes_the_path_of_the_data(
    name: Any, asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoppedError):
        search("ci", data=name)
    assert asked.configuration is not None
    assert asked.configuration.data.path == str(tmp_path / "mine.csv")
    assert asked.arguments is not None
    assert not asked.arguments["owns_data"]


def test_a_frame_is_in_a_file_until_the_run_has_it(asked: Asked, frame: pd.DataFrame) -> None:
    with pytest.raises(StoppedError):
        search(data=frame)
    assert asked.rows == NUM_ROWS
    assert asked.configuration is not None
    assert not Path(asked.configuration.data.path).exists()


@pytest.mark.parametrize("data", ["mine.csv", pa.table({"text": ["a"]})])
@pytest.mark.parametrize(
    ("where", "given"),
    [
        ("overrides", {"overrides": {"data.path": "other.csv"}}),
        ("overrides", {"overrides": {"data": {"path": Path("other.csv")}}}),
        ("configuration", {"configuration": {"data": {"path": "other.csv"}}}),
    ],
)
def test_a_second_table_is_refused(data: Any, where: str, given: Any) -> None:
    with pytest.raises(InputError, match=f"{where} holds data.path 'other.csv' as well"):
        search(data=data, **given)


def test_a_refused_frame_is_named_and_leaves_nothing_behind(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    output = tmp_path / "runs"
    with pytest.raises(InputError) as error:
        search("ci", data=frame.drop(columns="text"), overrides={"output.directory": output})
    assert str(error.value).startswith("data: ")
    assert str(tmp_path) not in str(error.value)
    with pytest.raises(InputError, match="column 'text'"):
        search("ci", data=frame.assign(text=1j), overrides={"output.directory": output})
    assert list(tmp_path.iterdir()) == []


def test_the_run_owns_the_table_and_the_same_rows_have_the_same_splits(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    first = prepared(frame, tmp_path / "runs")
    other = prepared(pa.Table.from_pandas(frame), tmp_path / "runs", "other")
    run = Run(tmp_path / "runs" / "first")
    assert read_yaml(run.config)["data"]["path"] == str(run.data)
    assert first.configuration.data.path == first.preparation.data.summary.path == str(run.data)
    assert first.preparation.data.summary.sha256 == other.preparation.data.summary.sha256
    assert run.splits.read_text() == Run(tmp_path / "runs" / "other").splits.read_text()
    assert oct(run.data.stat().st_mode & 0o777) == oct(run.config.stat().st_mode & 0o777)
    pd.testing.assert_frame_equal(pd.read_parquet(run.data), frame)


def test_a_run_that_moved_finds_its_own_table(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(frame, tmp_path / "runs")
    moved = Run(tmp_path / "elsewhere")
    (tmp_path / "runs" / "first").rename(moved.directory)
    monkeypatch.chdir(tmp_path)
    assert read_configuration(moved)["data"]["path"] == str(moved.data)
    assert read_chosen("elsewhere/config.yaml")["data"]["path"] == str(moved.data)
    (moved.directory / "mine.yaml").write_text("data: {path: /mine/rows.csv}\n")
    assert read_chosen("elsewhere/mine.yaml")["data"]["path"] == "/mine/rows.csv"


def test_a_file_of_that_name_beside_a_configuration_is_not_the_table_of_a_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "data.parquet").touch()
    (tmp_path / "mine.yaml").write_text("data: {path: /mine/data.parquet}\n")
    assert read_chosen(str(tmp_path / "mine.yaml"))["data"]["path"] == "/mine/data.parquet"


def test_only_the_same_rows_resume_a_run(frame: pd.DataFrame, tmp_path: Path, asked: Asked) -> None:
    prepared(frame, tmp_path / "runs")
    mine = {"output.directory": tmp_path / "runs", "output.name": "first"}
    with pytest.raises(RunError, match="data holds other rows than run"):
        search(data=frame.head(400), overrides=mine, resume=True)
    for given in ({"data": frame}, {}):
        with pytest.raises(StoppedError):
            search(**given, overrides=mine, resume=True)
        assert asked.configuration is not None
        assert asked.configuration.data.path == str(tmp_path / "runs" / "first" / "data.parquet")


@pytest.mark.slow
def test_a_searched_frame_is_found_by_the_evaluation_wherever_the_run_was_copied(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    output = {"output.directory": tmp_path / "runs", "output.name": "first"}
    result = search("ci", data=frame, overrides={**SMALL, **output}, quiet=True)
    assert result.record["data"]["path"] == str(result.directory / "data.parquet")
    assert displayed(result._repr_html_())[0] == ["SearchResult"]
    storage = Storage(str(tmp_path / "storage"))
    with Mirror(Run(result.directory), storage, on_error=lambda error: pytest.fail(str(error))):
        pass
    shutil.rmtree(tmp_path / "runs")
    fetched = fetch_run(f"file://{tmp_path}/storage/first", tmp_path / "there")
    winner = load_winner(fetched)
    assert winner.configuration.data.path == str(tmp_path / "there" / "first" / "data.parquet")
    assert winner.data.summary.rows == NUM_ROWS
