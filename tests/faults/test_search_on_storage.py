"""A search whose storage hangs: a real S3 server that is stopped, then resumed."""

import shutil
import time
from pathlib import Path

import pytest

from tests.faults.breaking import (
    SHORT,
    Unbroken,
    assert_as_unbroken,
    num_evaluations,
    rows,
    slowness,
    wait_until,
)
from tests.faults.s3 import s3_server
from tests.tuning.searching import Run, search, start

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]


def test_a_storage_that_hangs_ends_the_search_in_time_and_it_is_resumed_from_the_uri(
    runs: Path, unbroken: Unbroken, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(directory=runs / "stalled")
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        started = start(runs, "stalled", *SHORT, "--cluster.storage_path", server.uri)
        wait_until(lambda: num_evaluations(run, "t0001") == 3, started)
        server.stop()
        started_at = time.monotonic()
        code, out, err = started.ended()
        assert (
            time.monotonic() - started_at < 90 * slowness()
        )  # a minute of retries, and the checkpoint's interval
        assert code == 1, out + err
        (line,) = err.splitlines()
        assert server.uri in line
        assert "failed 5 times" in line
        known = rows(run)
        assert run.record["status"] == "interrupted"
        assert list(run.trials["status"]) == ["completed", "running"]
        server.resume()
        shutil.rmtree(run.directory)  # as on a new machine, with only the storage
        ended, _ = search_from(f"{server.uri}/stalled", runs)
        assert ended == 0
        assert_as_unbroken(run, unbroken)
    assert rows(run)[: len(known)] != []


def search_from(uri: str, runs: Path) -> tuple[int, str]:
    ended, _ = search(runs, "stalled", "--resume", uri)
    return ended.returncode, ended.stdout + ended.stderr
