"""A full disk: a small file system of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.breaking import (
    SHORT,
    Unbroken,
    assert_as_unbroken,
    num_evaluations,
    resume_run,
    rows,
    wait_until,
)
from tests.tuning.searching import Run, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def mount(directory: Path, *options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(directory)]
    tool = shutil.which("mount")
    return tool is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system that is large enough for a search of the sample."""
    directory = tmp_path / "disk"
    directory.mkdir()
    if not mount(directory, "size=64m"):
        pytest.skip("no file system can be mounted here: that takes root")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Fill the disk to the last byte."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


@pytest.mark.long
def test_a_full_disk_is_one_clear_error_and_with_free_space_the_search_is_resumed(
    small_disk: Path, unbroken: Unbroken
) -> None:
    run = Run(directory=small_disk / "run")
    started = start(small_disk, "run", *SHORT)
    wait_until(lambda: num_evaluations(run, "t0001") == 2, started)
    filler = fill(small_disk)
    code, out, err = started.ended()
    assert code == 1, out + err
    (line,) = err.splitlines()
    assert "No space left on device" in line
    assert os.fspath(run.directory) in line
    known = rows(run)
    assert all(row.count(",") == known[0].count(",") for row in known)  # whole lines
    assert run.record["status"] in ("running", "interrupted")
    assert list(run.trials["status"]) == ["completed", "running"]
    filler.unlink()
    resume_run(run)
    assert_as_unbroken(run, unbroken, known)
