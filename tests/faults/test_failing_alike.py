"""Trials that fail, each in its way: none of them is ever a score."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.tuning.searching import search
from tests.tuning.test_bad_input import SMALL, table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.long
def test_a_loss_that_is_not_finite_ends_a_trial_without_a_score(
    place: Path, tmp_path: Path, bert: Path
) -> None:
    built = AutoModelForSequenceClassification.from_pretrained(bert)
    with torch.no_grad():
        built.get_input_embeddings().weight.fill_(float("nan"))
    built.save_pretrained(bert)
    mine = ["--data", table(tmp_path), "--model", str(bert), *SMALL, "--trials", "3"]
    ended, run = search(place, "diverged", *mine)
    assert ended.returncode == 4
    assert "no trial reached the full budget with a score (3 diverged)" in ended.stderr
    assert run.record["best"] is None
    assert list(run.trials["status"]) == ["diverged"] * 3
    assert run.trials["f1_macro"].isna().all()


@pytest.mark.long
def test_one_class_for_every_row_bars_a_trial_from_winning(place: Path, tmp_path: Path) -> None:
    # The largest learning rate that may be asked for leaves no model that tells classes apart.
    mine = ["--data", table(tmp_path), *SMALL, "--trials", "2", "--training.learning_rate", "1"]
    ended, run = search(place, "collapsed", *mine, "--search.space", "{batch_size: {choice: [8]}}")
    assert ended.returncode == 4, ended.stdout
    assert set(run.trials["status"]) <= {"collapsed", "diverged"}
    assert run.record["best"] is None
