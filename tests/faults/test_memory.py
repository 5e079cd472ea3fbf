"""Out of memory: on a (fake) device, and on this machine."""

import json
import mmap
from pathlib import Path

import psutil
import pytest

from tests.faults import fakes
from tests.faults.breaking import num_evaluations, wait_until
from tests.tuning.encoders import save_encoder
from tests.tuning.searching import IN_TURN, Run, start
from tuning import worker_pool
from tuning.command_line import read_command
from tuning.run_search import run_search

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.long
def test_a_batch_beyond_the_device_s_memory_is_trained_in_micro_batches_by_later_trials_too(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "run_trial", fakes.run_trial_on_a_small_device)
    options = [*IN_TURN, "--output.directory", str(runs), "--name", "small-device"]
    _, _, checked = read_command([*options, "--search.confirm_replicates", "0"])
    found = run_search(checked)
    assert found.read_record()["rows_at_once"] == {"cpu": fakes.ROWS_OF_A_SMALL_DEVICE}
    run = Run(directory=found.directory)
    assert run.record["rows_at_once"] == {"cpu": fakes.ROWS_OF_A_SMALL_DEVICE}
    assert set(run.trials["status"]) <= {"completed", "stopped"}
    assert set(run.trials["batch_size"]) == {8, 16}
    log = (run.directory / "logs" / "search.log").read_text()
    assert log.count("does not fit in the memory of cpu") == 2  # 16 to 8 to 4 rows, once


def test_an_encoder_without_enough_memory_leaves_the_others_alone(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "run_trial", fakes.run_trial_with_memory_by_encoder)
    encoders = [str(save_encoder(tmp_path / name)) for name in fakes.ROWS_BY_ENCODER]
    small, middle, large = encoders
    space = {"model": {"choice": encoders}, "batch_size": {"choice": [8, 16]}}
    options = ["--search.space", json.dumps(space), "--search.algorithm", "grid"]
    options += ["--output.directory", str(runs), "--name", "three-encoders"]
    options += ["--model", small, "--training.learning_rate", "5e-3", "--search.scheduler", "none"]
    _, _, checked = read_command([*IN_TURN, *options, "--search.confirm_replicates", "0"])
    run = Run(directory=run_search(checked).directory)
    assert run.record["status"] == "completed"
    limits = {middle: {"cpu": fakes.ROWS_OF_A_SMALL_DEVICE}, large: {"cpu": 1}}
    assert run.record["rows_at_once"] == limits
    by_encoder = run.trials.groupby("model")["status"].agg(list).to_dict()
    assert by_encoder[large] == ["failed", "failed"]
    assert {*by_encoder[small], *by_encoder[middle]} <= {"completed", "collapsed"}
    assert run.record["best"]["parameters"]["model"] != large


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Ray's monitor reads /proc")
def test_a_trial_that_ray_ends_for_the_host_s_memory_waits_and_is_resumed(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray's monitor acts when three GiB more than now are in use.
    memory = psutil.virtual_memory()
    share = (memory.total - memory.available + 3 * 2**30) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{share:.4f}")
    run = Run(directory=runs / "no-memory")
    one = ["--trials", "1", "--training.epochs", "20", "--search.confirm_replicates", "0"]
    started = start(runs, "no-memory", *IN_TURN, *one)
    wait_until(lambda: num_evaluations(run, "t0000") == 8, started)
    with mmap.mmap(-1, 5 * 2**30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as hog:
        for page in range(0, len(hog), mmap.PAGESIZE):
            hog[page] = 1  # so that the memory is really allocated
        # Depending on the moment, Tune itself ends or starts the trial again.
        started.wait_for(".* ran out of memory")
    code, out, err = started.ended()
    assert code == 0, out + err
    assert list(run.trials["status"]) == ["completed"]
    assert num_evaluations(run, "t0000") == 80
    assert not run.curves.duplicated(["trial_id", "examples"]).any()
