"""The rehearsal of a trial in a process of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tuning.builders import configuration
from tests.tuning.test_planned import REHEARSAL
from tuning.checks import is_like_this_machine
from tuning.preparation import prepare_search
from tuning.rehearsal import Rehearsal, batch_sizes, rehearsal_process
from tuning.start import build


@pytest.mark.parametrize(
    ("space", "sizes"),
    [
        ({"batch_size": {"choice": ["8", "16", "32"]}}, [8, 16, 32]),
        ({"batch_size": {"choice": ["4", "8", "32", "64"]}}, [4, 16, 64]),
        ({"batch_size": {"integer": ["4", "64"]}}, [4, 16, 64]),
        ({"learning_rate": {"uniform": ["1e-4", "1e-3"]}}, [16]),
    ],
)
def test_at_most_three_batch_sizes_are_timed(space: dict[str, Any], sizes: list[int]) -> None:
    assert batch_sizes(configuration(search={"space": space})) == sizes


def test_steps_of_other_batch_sizes_are_interpolated() -> None:
    found = replace(REHEARSAL, steps={8: 1.0, 16: 1.5, 32: 3.0})
    assert [found.seconds_a_step(size) for size in (8, 12, 24, 32, 64)] == [1, 1.25, 2.25, 3, 6]


def test_trials_take_turns_on_a_gpu_that_they_share() -> None:
    assert REHEARSAL.sharing(0.5).steps == {size: 2 * s for size, s in REHEARSAL.steps.items()}
    for whole in (0.0, 1.0):
        assert REHEARSAL.sharing(whole) == REHEARSAL


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_measures_for_a_ray_of_its_own_alone() -> None:
    local, joined = (configuration(cluster={"address": a}) for a in ("local", "127.0.0.1:6379"))
    assert is_like_this_machine(local)
    assert not is_like_this_machine(joined)


def test_a_rehearsal_measures_what_a_worker_takes_and_leaves_no_process(tmp_path: Path) -> None:
    configured = build({"data": {"path": "sample"}})
    with rehearsal_process() as rehearsing:
        preparation = prepare_search(configured, tokenizer_directory=tmp_path / "tokenizer")
        found = rehearsing.run(preparation.configuration, preparation.search_data, 2)
    assert rehearsing.process.returncode == 0
    assert Rehearsal.from_json(found.to_json()) == found
    assert sorted(found.steps) == [8, 16, 32]
    assert all(0 < seconds < 5 for seconds in found.steps.values())
    assert 0 < found.evaluation < 5
    assert found.memory > 200 * 2**20
    assert found.longest_row == max(preparation.search_data.task(0).train.tokens.lengths)


def test_the_reason_for_which_a_rehearsal_fails_is_reported() -> None:
    with rehearsal_process() as rehearsing, pytest.raises(RuntimeError, match="AttributeError"):
        rehearsing.run(configuration(), "no data", 1)  # type: ignore[arg-type]
