"""The best candidate of an encoder that was asked for is evaluated instead of the winner."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.final import main
from evaluation.winner import load_winner
from results.errors import RunError
from results.run import open_run


@pytest.fixture
def run_of_two(run_directory: Path, bert: Path) -> Path:
    """A run whose search seems to have compared `tiny`, the winner's encoder, with another."""
    path = run_directory / "search.json"
    record = json.loads(path.read_text("utf-8"))
    record["search"]["space"]["model"] = {"choice": ["tiny", str(bert)]}
    for role in ("best", "default"):
        record[role]["parameters"]["model"] = "tiny"
    other = "t0000" if record["best"]["trial_id"] == "t0001" else "t0001"
    chosen: dict[str, Any] = {
        **record["best"],
        **{"trial_id": other, "parameters": {"batch_size": 8, "model": str(bert)}},
        **{"score": None, "standard_error": None, "replicates": 0, "fixed_rows_loss": [0.25]},
    }
    record["encoders"] = [
        {"name": "tiny", "trials": 1, "best": {**record["best"], "replicates": 0}},
        {"name": str(bert), "trials": 1, "best": chosen, "texts_trained_on": None},
    ]
    path.write_text(json.dumps(record), encoding="utf-8")
    return run_directory


def test_configuration_curve_and_losses_are_those_of_the_candidate(
    run_of_two: Path, bert: Path
) -> None:
    run = open_run(run_of_two)
    winner, chosen = load_winner(run), load_winner(run, bert.name)
    assert (winner.choice, winner.configuration.model.name) == (None, "tiny")
    assert chosen.configuration.model.name == str(bert)
    assert chosen.configuration.training.batch_size == 8
    assert chosen.configuration.data == winner.configuration.data
    assert chosen.losses_seen == [0.25] != winner.losses_seen
    assert chosen.search_curve() != winner.search_curve()
    assert chosen.record == winner.record
    assert chosen.choice is not None
    assert chosen.choice["trial_id"] == chosen.own_record["best"]["trial_id"]
    assert (
        f"instead of the search's winner, {winner.record['best']['trial_id']} of tiny"
        in (chosen.choice["reason"])
    )


def test_the_encoder_of_the_winner_is_the_winner(run_of_two: Path) -> None:
    assert load_winner(open_run(run_of_two), "tiny").choice is None


def test_another_encoder_is_refused_in_a_line_with_the_choices(run_of_two: Path) -> None:
    with pytest.raises(RunError, match=r"--encoder is 'xlm', but must be .*; choose from tiny, "):
        main(["--run", str(run_of_two), "--encoder", "xlm"])
    assert not (run_of_two / "test_openings.json").exists()


def test_a_search_of_one_encoder_knows_its_own_name_alone(run_directory: Path) -> None:
    with pytest.raises(RunError, match=r"--encoder is 'bert', but must be .*; choose from tiny"):
        load_winner(open_run(run_directory), "bert")
    assert load_winner(open_run(run_directory), "tiny").choice is None
