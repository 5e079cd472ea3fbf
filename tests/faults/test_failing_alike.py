"""Trials that fail in different ways: none of them ever has a score."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.tuning.searching import search
from tests.tuning.tables import SMALL, table

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]


def test_weights_that_are_not_finite_are_refused_before_a_trial_starts(
    runs: Path, tmp_path: Path, bert: Path
) -> None:
    built = AutoModelForSequenceClassification.from_pretrained(bert)
    with torch.no_grad():
        built.get_input_embeddings().weight.fill_(float("nan"))
    built.save_pretrained(bert)
    mine = ["--data", table(tmp_path), "--model", str(bert), *SMALL, "--trials", "3"]
    ended, run = search(runs, "diverged", *mine)
    assert ended.returncode == 2
    assert "probabilities that are not finite" in ended.stderr
    assert not run.directory.exists()


def test_one_class_for_every_row_bars_a_trial_from_winning(runs: Path, tmp_path: Path) -> None:
    # The largest learning rate that is allowed leaves a model that cannot distinguish classes.
    mine = ["--data", table(tmp_path), *SMALL, "--trials", "2", "--training.learning_rate", "1"]
    ended, run = search(runs, "collapsed", *mine, "--search.space", "{batch_size: {choice: [8]}}")
    assert ended.returncode == 4, ended.stdout
    assert set(run.trials["status"]) <= {"collapsed", "diverged"}
    assert run.record["best"] is None
