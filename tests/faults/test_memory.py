"""Memory that runs out: of a (fake) device, and really of this machine."""

from pathlib import Path

import psutil
import pytest

from tests.faults import fakes
from tests.faults.breaking import Unbroken, assert_as_unbroken, num_shown, wait_until, workers
from tests.tuning.searching import IN_TURN, Run, start
from tuning import phases
from tuning.run_search import run_search
from tuning.start import make_parser, resolve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_batch_beyond_the_device_s_memory_is_trained_in_parts_and_later_trials_know_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "run_trial", fakes.run_trial_on_a_small_device)
    options = [*IN_TURN, "--output.directory", str(place), "--name", "small-device"]
    parsed = make_parser().parse([*options, "--search.confirm_replicates", "0"])
    recorder = run_search(resolve(parsed))
    assert recorder.record()["rows_at_once"] == {"cpu": fakes.ROWS_OF_A_SMALL_DEVICE}
    run = Run(directory=recorder.run.directory)
    assert run.record["rows_at_once"] == {"cpu": fakes.ROWS_OF_A_SMALL_DEVICE}
    assert set(run.trials["status"]) <= {"completed", "stopped"}
    assert set(run.trials["batch_size"]) == {8, 16}
    log = (run.directory / "logs" / "search.log").read_text()
    assert log.count("does not fit in the memory of cpu") == 2  # 16 to 8 to 4 rows, once


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Ray's monitor reads /proc")
def test_a_worker_that_ray_kills_for_the_host_s_memory_goes_on(
    place: Path, unbroken: Unbroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray's monitor acts above what is used now and three GiB.
    memory = psutil.virtual_memory()
    share = (memory.total - memory.available + 3 * 2**30) / memory.total
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{share:.4f}")
    run = Run(directory=place / "no-memory")
    started = start(place, "no-memory", *IN_TURN)
    wait_until(lambda: num_shown(run, "t0001") == 3, started)
    (worker,) = workers(started)
    hog = bytearray(b"x" * (5 * 2**30))  # written, so that it is really there
    wait_until(lambda: not worker.is_running() or worker.status() == "zombie", started)
    del hog
    code, out, err = started.ended()
    assert code == 0, out + err
    assert "t0001 lost its process or node" in out
    assert_as_unbroken(run, unbroken)
