"""A search called from Python: same checks as the command, and the process is left unchanged."""

import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from cluster.addresses import ClusterError
from results.errors import RunError
from tests.tuning.searching import Run
from training.errors import InputError
from tuning import api
from tuning.api import SearchResult, search
from tuning.config import Configuration
from tuning.errors import SearchInterruptedError

SMALL = {"search.trials": 2, "search.confirm_replicates": 0, "training.epochs": 2}


class StoppedError(Exception):
    """Raised where a search would start."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Configuration]:
    """Return the configurations that searches are started with."""
    started: list[Configuration] = []

    def start(configuration: Configuration, **_: Any) -> None:
        started.append(configuration)
        raise StoppedError

    monkeypatch.setattr(api, "run_search", start)
    return started


def state() -> list[Any]:
    loggers = [logging.getLogger(name) for name in ("tuning", "results", "ray")]
    return [
        *((list(one.handlers), one.level, one.propagate) for one in loggers),
        *(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)),
    ]


@pytest.mark.parametrize(
    ("chosen", "epochs"),
    [(None, 6), ("ci", 4), ({}, 6), ({"training": {"epochs": 5}, "search": None}, 5)],
)
def test_a_configuration_is_a_mapping_or_a_shipped_name(
    chosen: Any, epochs: int, asked: list[Configuration]
) -> None:
    with pytest.raises(StoppedError):
        search(chosen)
    assert asked[0].training.epochs == epochs


def test_a_configuration_is_a_file_which_names_the_run(
    asked: list[Configuration], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("training: {epochs: 5}\n")
    with pytest.raises(StoppedError):
        search(tmp_path / "mine.yaml")
    assert asked[0].training.epochs == 5
    assert str(asked[0].output.name).startswith("mine-2")


def test_overrides_are_sections_or_option_names_and_take_precedence(
    asked: list[Configuration], tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        search(
            {"training": {"epochs": 5, "batch_size": 8}, "model": {"name": "tiny"}},
            overrides={"training.epochs": 9, "output": {"directory": tmp_path}},
        )
    (configuration,) = asked
    assert (configuration.training.epochs, configuration.training.batch_size) == (9, 8)
    assert configuration.output.directory == str(tmp_path)
    assert str(configuration.output.name).startswith("search-2")


def test_all_problems_are_raised_at_once_as_the_class_that_is_documented() -> None:
    with pytest.raises(InputError) as error:
        search({"training": {"epochs": 0}}, overrides={"search.trails": 3, "serach": {}})
    assert len(error.value.problems) == 3
    assert "did you mean trials?" in str(error.value)
    assert "did you mean search?" in str(error.value)


@pytest.mark.parametrize("chosen", ["indobret", 7, [1], {3: {}}, "none.yaml"])
def test_a_value_that_is_no_configuration_is_refused_in_one_line(chosen: Any) -> None:
    with pytest.raises(InputError) as error:
        search(chosen)
    assert len(error.value.problems) == 1


def test_a_missing_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no unfinished run"):
        search(overrides={"output.directory": str(tmp_path)}, resume=True)


def test_a_process_that_is_connected_to_ray_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    before = state()
    with pytest.raises(ClusterError, match=r"call ray\.shutdown\(\) before"):
        search("ci", overrides={"output.directory": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
    assert state() == before


@pytest.mark.slow
def test_a_search_in_a_thread_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    before, found = state(), list[SearchResult]()
    overrides = {**SMALL, "output.directory": tmp_path, "output.name": "first"}
    thread = threading.Thread(
        target=lambda: found.append(search("ci", overrides=overrides, quiet=True))
    )
    thread.start()
    thread.join()
    (result,) = found
    assert result.directory == tmp_path / "first"
    assert result.record == Run(directory=result.directory).record
    assert result.record["status"] == "completed"
    assert result.record["command"].endswith(f"--config {tmp_path / 'first' / 'config.yaml'}")
    assert "trial t0001 started: " in (result.directory / "logs" / "search.log").read_text()
    assert state() == before
    with pytest.raises(RunError, match="first"):
        search("ci", overrides=overrides)


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_interrupts_the_search_and_not_the_process_which_can_resume_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state()
    overrides = {**SMALL, "output.directory": tmp_path, "output.name": "first"}
    log = tmp_path / "first" / "logs" / "search.log"

    def interrupt() -> None:
        while not (log.exists() and "trial t0000 started: " in log.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(SearchInterruptedError):
        search("ci", overrides=overrides)
    assert state() == before
    assert Run(directory=tmp_path / "first").record["status"] == "interrupted"
    result = search(overrides={"output.directory": tmp_path}, resume=True)
    assert result.record["status"] == "completed"
    assert "winner t" in capsys.readouterr().out
    assert state() == before
