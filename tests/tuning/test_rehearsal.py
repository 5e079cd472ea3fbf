"""The rehearsal of a trial in a process of its own."""

import io
import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tuning.builders import configuration
from tests.tuning.tables import SMALL, table
from tests.tuning.test_planned import REHEARSAL
from tuning import trial_rehearsal
from tuning.checks import is_like_this_machine
from tuning.command_line import read_command
from tuning.dry_run import describe_search, plan_from
from tuning.preparation import prepare_search
from tuning.rehearsal import Rehearsal, RehearsalProcess, batch_sizes
from tuning.trial_rehearsal import rehearse


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


def test_a_rehearsal_measures_the_largest_batch_of_the_longest_rows(
    tmp_path: Path, small_bert: Path
) -> None:
    data = table(tmp_path, {"text": "pasar " * 40}, each=40)
    given = read_command(["--data", data, "--model", str(small_bert), *SMALL])[2]
    prepared = prepare_search(given, tokenizer_directory=tmp_path / "tokenizer")
    found = rehearse(prepared.search_data, given.training, [4, 32], at_once=2)
    assert Rehearsal.from_json(found.to_json()) == found
    assert sorted(found.steps) == [4, 32]
    assert all(0 < seconds < 5 for seconds in found.steps.values())
    assert 0 < found.evaluation < 5
    assert found.memory > 200 * 2**20
    assert (found.batch_size, found.longest_row, found.at_once) == (32, 16, 2)


def test_each_encoder_of_a_search_is_rehearsed_and_forecast_at_its_own_pace(
    tmp_path: Path, small_bert: Path
) -> None:
    second = str(shutil.copytree(small_bert, tmp_path / "second"))
    data = table(tmp_path, {"text": "pasar " * 40}, each=40)
    space = {"model": {"choice": [str(small_bert), second]}}
    arguments = [*SMALL, "--data", data, "--model", str(small_bert)]
    given = read_command([*arguments, "--search.space", json.dumps(space)])[2]
    prepared = prepare_search(given, tokenizer_directory=tmp_path / "tokenizer")
    given = prepared.configuration
    found = rehearse(prepared.search_data, given.training, [8], at_once=1)
    assert list(found.others) == [second]
    assert Rehearsal.from_json(found.to_json()) == found
    slow = replace(found.of(second), steps={8: 100 * found.steps[8]})
    found = replace(found, others={second: slow})
    assert found.sharing(0.5).of(second).steps == {8: 200 * found.steps[8]}
    plan = plan_from(given, prepared, found, 1)
    alone = plan_from(given, prepared, replace(found, others={}), 1)
    assert plan.forecast.search > 2 * alone.forecast.search
    lines = "\n".join(describe_search(given, prepared, plan, None))
    assert f"model       {second}: " in lines
    assert "built in" in lines


def answering(program: str) -> RehearsalProcess:
    """Return a process with another program, which reads no data."""
    given = [sys.executable, "-c", program]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return RehearsalProcess(process=subprocess.Popen(given, **pipes))


def test_the_process_answers_with_what_it_measured_in_its_last_line() -> None:
    answer = json.dumps({"found": REHEARSAL.to_json()})
    process = answering(f"print('a library prints'); print({answer!r})")
    assert process.run(configuration(), "no data", 1) == REHEARSAL  # type: ignore[arg-type]
    assert process.process.returncode == 0


@pytest.mark.parametrize(
    ("program", "error", "reason"),
    [
        ('print(\'{"is_memory": true, "encoder": "big"}\')', MemoryError, "batch of big does not"),
        ("import os; os.kill(os.getpid(), 9)", MemoryError, "does not fit"),
        ('print(\'{"problem": "OSError: no"}\')', RuntimeError, "^OSError: no$"),
        ("import sys; sys.exit(3)", RuntimeError, "exit code 3"),
    ],
    ids=["memory", "killed", "a problem", "an exit code"],
)
def test_the_reason_for_which_a_rehearsal_fails_is_reported(
    program: str, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        answering(program).run(configuration(), "no data", 1)  # type: ignore[arg-type]


def test_what_goes_wrong_in_the_process_is_its_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = pickle.dumps(("no data", configuration().training, [8], 1))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sent)))
    trial_rehearsal.main()
    (answer,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert answer["problem"].startswith("AttributeError: ")
