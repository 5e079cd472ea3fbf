"""The check of the model to ship: it runs beside a search, reports one line, leaves no file."""

import copy
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from results.run import Run
from tests.tuning.tables import SMALL, table
from training.config import DataConfig, ModelConfig, TrainingConfig, WinningConfiguration
from training.encoder import read_encoder
from training.errors import InputError
from training.model import facts_of, load_tokenizer
from training.shipping import Shipment
from tuning import run_search
from tuning.search import main
from tuning.shipping_check import shipments_of, shipping_check

LABELS = ("a", "b")


@pytest.fixture
def shipment(bert: Path) -> Shipment:
    model = ModelConfig(name=str(bert), max_length=16)
    tokenizer = load_tokenizer(model, tiny=bert)
    encoder = read_encoder(model, labels=LABELS, tokenizer=facts_of(tokenizer))
    data, training = DataConfig(path="rows.csv", labels=LABELS), TrainingConfig()
    return Shipment(
        config=encoder.config,
        tokenizer=tokenizer,
        configuration=WinningConfiguration(data=data, model=model, training=training),
        texts=("aku", "kowe pasar"),
    )


def _spoilt(shipment: Shipment) -> Shipment:
    """Return a shipment that transformers' pipeline takes for a multi-label model."""
    config = copy.deepcopy(shipment.config)
    config.problem_type = "multi_label_classification"
    return replace(shipment, config=config)


@pytest.mark.slow
@pytest.mark.long
def test_a_problem_is_reported_in_one_line_and_no_file_stays(
    shipment: Shipment, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with shipping_check() as check:
        check.start([_spoilt(shipment)], run)
        assert check.error() is None  # it has just started
        with pytest.raises(InputError, match="classifies differently in transformers' pipeline"):
            check.require()
        assert isinstance(check.error(), InputError)
    assert list(run.iterdir()) == []
    with shipping_check() as check:
        check.start([shipment], run)
        assert "a small copy of the model was saved, loaded and run in" in check.require()
        assert check.error() is None
    assert list(run.iterdir()) == []


def test_a_search_that_ends_before_the_check_does_not_wait_and_leaves_no_file(
    shipment: Shipment, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    started_at = time.monotonic()
    with shipping_check():
        pass
    with shipping_check() as check:
        check.start([shipment], run)
    assert time.monotonic() - started_at < 5
    assert list(run.iterdir()) == []


def test_a_process_that_is_killed_is_a_warning(
    shipment: Shipment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with shipping_check() as check:
        check.start([shipment], tmp_path)
        check._process.kill()
        assert "could not be checked" in check.require()
        assert check.error() is None
    assert "could not be checked before the search (the process ended with code -9)" in caplog.text


def test_a_directory_that_cannot_be_written_is_reported_at_once(
    shipment: Shipment, tmp_path: Path
) -> None:
    with shipping_check() as check, pytest.raises(OSError, match="No such file"):
        check.start([shipment], tmp_path / "not-there")


def test_files_that_a_killed_search_left_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".tried-abc" / "model").mkdir(parents=True)
    Run(tmp_path).remove_leftovers()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_search_whose_model_would_not_ship_ends_with_exit_code_2_before_it_has_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(*arguments: Any) -> list[Shipment]:
        return [_spoilt(one) for one in shipments_of(*arguments)]

    monkeypatch.setattr(run_search, "shipments_of", spoilt)
    where = ["--output.directory", str(tmp_path / "runs"), "--name", "mine"]
    with pytest.raises(InputError, match="classifies differently in transformers' pipeline"):
        main(["--data", table(tmp_path), *SMALL, "--trials", "2", *where])
    run = tmp_path / "runs" / "mine"
    record = json.loads((run / "search.json").read_text())
    assert record["status"] == "aborted"
    assert record["best"] is None or not (run / "best.yaml").exists()
    assert not list(run.glob(".tried-*"))
