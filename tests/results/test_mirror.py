import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from results.errors import RunError
from results.files import write_json
from results.mirror import Mirror, fetch_overview, fetch_run
from results.run import CURVE_COLUMNS, Run, create_run
from results.storage import Storage

TEST_ACCESS = {"at": "2026-01-02", "reason": "first access", "directory": "final"}


def _fail(error: OSError) -> None:
    raise AssertionError(str(error))


def _evaluation(number: int) -> dict[str, object]:
    return {**dict.fromkeys(CURVE_COLUMNS, 0), "trial_id": "t0000", "examples": number}


def _run(directory: Path, *, num_evaluations: int = 3, started_at: str = "2026-01-01") -> Run:
    run = create_run(directory, "mine")
    for number in range(num_evaluations):
        run.append_evaluation(_evaluation(number))
    run.write_trials((), [{"trial_id": "t0000", "status": "running"}])
    run.write_config("data: {}\n")
    run.write_record({"status": "running", "started_at": started_at})
    return run


def _mirrored(run: Run, storage: Path) -> str:
    """Mirror a run and return the URI of its copy."""
    with Mirror(run, Storage(str(storage)), on_error=_fail):
        pass
    return f"file://{storage}/{run.directory.name}"


def _access_test(run: Run, *accesses: dict[str, str]) -> None:
    write_json(run.test_openings, list(accesses))
    (run.directory / "final").mkdir()
    (run.directory / "final" / "model").write_text("weights")


def _content(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_run_is_copied_without_its_hidden_files(tmp_path: Path) -> None:
    run = _run(tmp_path / "runs")
    (run.directory / "logs").mkdir()
    run.log.write_text("a line\n")
    expected = _content(run.directory)
    for hidden in (".lock", ".ray/state", ".checkpoints/t0000/file", "logs/.search.log.abc"):
        (run.directory / hidden).parent.mkdir(exist_ok=True, parents=True)
        (run.directory / hidden).write_text("")
    _mirrored(run, tmp_path / "storage")
    assert _content(tmp_path / "storage" / "mine") == expected


def test_changed_files_are_copied_and_others_are_not_copied_again(
    tmp_path: Path,
) -> None:
    run, there = _run(tmp_path / "runs"), tmp_path / "storage" / "mine"
    with Mirror(run, Storage(str(tmp_path / "storage")), interval_s=0.05, on_error=_fail):
        _wait_for((there / "search.json").exists)
        before = (there / "config.yaml").stat().st_ino
        run.append_evaluation(_evaluation(9))
        _wait_for(lambda: (there / "curves.csv").read_text() == run.curves.read_text())
        run.write_record({"status": "completed", "started_at": "x"})
        _wait_for(lambda: '"completed"' in (there / "search.json").read_text())
        assert (there / "config.yaml").stat().st_ino == before


def test_a_change_that_keeps_size_and_time_is_copied(tmp_path: Path) -> None:
    run = _run(tmp_path / "runs")
    with Mirror(run, Storage(str(tmp_path / "storage")), on_error=_fail) as mirror:
        mirror.flush()
        at = run.config.stat().st_mtime_ns
        run.write_config("data: []\n")
        os.utime(run.config, ns=(at, at))
        mirror.flush()
    assert (tmp_path / "storage" / "mine" / "config.yaml").read_text() == "data: []\n"


def test_an_incomplete_line_is_not_mirrored(tmp_path: Path) -> None:
    run = _run(tmp_path / "runs")
    whole = run.curves.read_text()
    with run.curves.open("a") as file:
        file.write("t0000,12")
    _mirrored(run, tmp_path / "storage")
    assert (tmp_path / "storage" / "mine" / "curves.csv").read_text() == whole


def test_the_record_is_never_ahead_of_the_curves(tmp_path: Path) -> None:
    """The files change while they are copied."""
    run, there = _run(tmp_path / "runs", num_evaluations=0), tmp_path / "storage" / "mine"
    storage = Storage(str(tmp_path / "storage"))
    with Mirror(run, storage, interval_s=0.001, on_error=_fail):
        for number in range(150):
            run.append_evaluation(_evaluation(number))
            run.write_record({"status": "running", "started_at": "", "evaluations": number + 1})
            if (there / "search.json").exists():
                recorded = Run(there).read_record().get("evaluations", 0)
                curves = there / "curves.csv"  # the first record may be there before any evaluation
                num_there = curves.read_text().count("\n") - 1 if curves.exists() else 0
                assert num_there >= recorded


def _keep_mirroring(run: Run, storage: str) -> None:
    with Mirror(run, Storage(storage), interval_s=0.001, on_error=_fail):
        number = 0
        while True:
            number += 1
            run.append_evaluation(_evaluation(number))
            run.write_config("x" * 100_000 + "\n")
            run.write_record(
                {"status": "running", "started_at": "2026-01-01", "evaluations": number}
            )


def test_a_mirror_whose_process_was_killed_can_be_fetched(tmp_path: Path) -> None:
    run, there = _run(tmp_path / "runs"), tmp_path / "storage" / "mine"
    context = multiprocessing.get_context("spawn")
    for attempt in range(3):
        process = context.Process(target=_keep_mirroring, args=(run, str(tmp_path / "storage")))
        shutil.rmtree(there, ignore_errors=True)
        process.start()
        _wait_for((there / "search.json").exists)
        time.sleep(0.05 * (attempt + 1))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        fetched = fetch_run(f"file://{there}", tmp_path / f"elsewhere-{attempt}")
        assert len(fetched.read_curves()) >= fetched.read_record().get("evaluations", 0)
        assert len(fetched.config.read_text()) in (9, 100_001)
        assert not any(path.name.startswith(".") for path in fetched.directory.rglob("*"))


def test_a_run_is_fetched_into_a_new_directory(tmp_path: Path) -> None:
    run = _run(tmp_path / "runs")
    uri = _mirrored(run, tmp_path / "storage")
    fetched = fetch_run(uri + "/", tmp_path / "a" / "runs")
    assert fetched.directory == tmp_path / "a" / "runs" / "mine"
    assert _content(fetched.directory) == _content(run.directory)
    assert [path.name for path in (tmp_path / "a" / "runs").iterdir()] == ["mine"]


@pytest.mark.parametrize(("here", "there", "kept"), [(3, 5, 5), (5, 3, 5)])
def test_the_run_with_more_evaluations_is_kept(
    tmp_path: Path, here: int, there: int, kept: int
) -> None:
    uri = _mirrored(_run(tmp_path / "runs", num_evaluations=there), tmp_path / "storage")
    local = _run(tmp_path / "local", num_evaluations=here)
    fetched = fetch_run(uri, tmp_path / "local")
    assert fetched == local
    assert len(fetched.read_curves()) == kept
    assert [path.name for path in (tmp_path / "local").iterdir()] == ["mine"]


def test_of_two_with_equally_many_evaluations_the_local_one_is_kept(tmp_path: Path) -> None:
    uri = _mirrored(_run(tmp_path / "runs"), tmp_path / "storage")
    local = _run(tmp_path / "local")
    local.write_config("data: {mine: true}\n")
    assert "mine" in fetch_run(uri, tmp_path / "local").config.read_text()


@pytest.mark.parametrize(("here", "there"), [(3, 3), (5, 3), (3, 5)])
@pytest.mark.parametrize("accessed", ["here", "there"])
def test_a_test_access_is_kept_with_its_results(
    tmp_path: Path, here: int, there: int, accessed: str
) -> None:
    remote = _run(tmp_path / "runs", num_evaluations=there)
    local = _run(tmp_path / "local", num_evaluations=here)
    _access_test(local if accessed == "here" else remote, TEST_ACCESS)
    fetched = fetch_run(_mirrored(remote, tmp_path / "storage"), tmp_path / "local")
    assert '"first access"' in fetched.test_openings.read_text()
    assert (fetched.directory / "final" / "model").read_text() == "weights"
    assert len(fetched.read_curves()) == max(here, there)


def test_the_longer_list_of_test_accesses_is_kept(tmp_path: Path) -> None:
    remote, local = _run(tmp_path / "runs"), _run(tmp_path / "local")
    _access_test(remote, TEST_ACCESS)
    _access_test(local, TEST_ACCESS, {**TEST_ACCESS, "reason": "again"})
    fetched = fetch_run(_mirrored(remote, tmp_path / "storage"), tmp_path / "local")
    assert "again" in fetched.test_openings.read_text()


def test_another_run_of_the_same_name_is_not_changed(tmp_path: Path) -> None:
    uri = _mirrored(_run(tmp_path / "runs", num_evaluations=9), tmp_path / "storage")
    local = _run(tmp_path / "local", started_at="2025-12-31")
    before = _content(local.directory)
    with pytest.raises(RunError, match="another run of that name, started at 2025-12-31"):
        fetch_run(uri, tmp_path / "local")
    assert _content(local.directory) == before


def test_a_run_that_another_process_writes_is_not_replaced(tmp_path: Path) -> None:
    uri = _mirrored(_run(tmp_path / "runs", num_evaluations=9), tmp_path / "storage")
    local = _run(tmp_path / "local")
    with local.lock(), pytest.raises(RunError, match="another process is writing it"):
        fetch_run(uri, tmp_path / "local")
    assert len(local.read_curves()) == 3


@pytest.mark.parametrize("name", ["", "none", ".."])
def test_a_uri_without_a_run_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "storage").mkdir()
    with pytest.raises(RunError, match="STORAGE_PATH/NAME"):
        fetch_run(f"file://{tmp_path}/storage/{name}", tmp_path / "local")
    assert not (tmp_path / "local").exists()


@pytest.mark.parametrize("content", ["{", "[]x", "3"])
def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path, content: str) -> None:
    uri = _mirrored(_run(tmp_path / "runs"), tmp_path / "storage")
    (tmp_path / "storage" / "mine" / "search.json").write_text(content)
    with pytest.raises(RunError, match="cannot be read"):
        fetch_run(uri, tmp_path / "local")


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil"])
def test_a_file_name_outside_of_the_run_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An object store can list such a name, a directory cannot.
    uri = _mirrored(_run(tmp_path / "runs"), tmp_path / "storage")
    monkeypatch.setattr(Storage, "names", lambda _: ["search.json", name])
    with pytest.raises(RunError, match="outside of the run"):
        fetch_run(uri, tmp_path / "local")
    assert list((tmp_path / "local").iterdir()) == []


def test_the_overview_fetches_only_the_files_that_it_needs(tmp_path: Path) -> None:
    run = _run(tmp_path / "runs")
    uri = _mirrored(run, tmp_path / "storage")
    copy = fetch_overview(uri, tmp_path / "copy")
    assert sorted(_content(copy.directory)) == ["search.json", "trials.csv"]
    assert copy.read_record() == run.read_record()


def test_removing_a_run_while_it_is_mirrored_is_no_error(tmp_path: Path) -> None:
    run = _run(tmp_path / "runs")
    with Mirror(run, Storage(str(tmp_path / "storage")), interval_s=0.001, on_error=_fail):
        shutil.rmtree(run.directory)
        time.sleep(0.1)
