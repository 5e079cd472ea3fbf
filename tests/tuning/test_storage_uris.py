"""URIs and storage paths in the options of a search and of its status."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from results.errors import StorageError
from results.mirror import Mirror
from results.overview import read_overview
from results.run import Run, create_run
from results.status_text import describe
from results.storage import Storage
from tests.tuning.builders import configuration, files_of, trial
from training.errors import InputError
from tuning.checks import check_storage
from tuning.command_line import read_command
from tuning.start import write_configuration
from tuning.status import main


def _fail(error: OSError) -> None:
    raise AssertionError(str(error))


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Return the URI of a mirrored search with one trial."""
    run = create_run(tmp_path / "there", "mine")
    write_configuration(run, read_command(["--training.learning_rate", "3e-3"])[2])
    files_of(run, [trial(0, (500, 0.5))])[0].write()
    with Mirror(run, Storage(str(tmp_path / "storage")), on_error=_fail):
        pass
    return f"file://{tmp_path}/storage/mine"


def test_a_run_at_a_uri_is_fetched_and_resumed(uri: str, tmp_path: Path) -> None:
    here = ["--output.directory", str(tmp_path / "here")]
    for name in ([], ["--name", "mine"]):
        _, run, found = read_command(["--resume", uri, *here, *name, "--trials", "9"])
        assert run == Run(tmp_path / "here" / "mine")
        assert (found.training.learning_rate, found.search.trials) == (3e-3, 9)


def test_a_name_where_a_uri_must_be_is_refused_with_the_right_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--resume --name mine"):
        read_command(["--resume", "mine", "--output.directory", str(tmp_path)])


def test_a_uri_and_another_name_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave --name out"):
        read_command(["--resume", uri, "--name", "x", "--output.directory", str(tmp_path)])


def test_status_reports_the_same_for_a_uri(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--run", uri]) == 0
    run, status, *rest, following = capsys.readouterr().out.splitlines()
    assert following == f"Next: python -m tuning.status --run {uri} --follow"
    assert run == f"run       {uri}"
    assert status.startswith("status    running when it was last mirrored, ")
    here = read_overview(Run(tmp_path / "there" / "mine"), is_alive=True)
    assert rest == list(describe(here, datetime.now(UTC)))[2:]


def test_status_of_a_storage_that_cannot_be_opened_is_one_line() -> None:
    with pytest.raises(StorageError, match="install that package"):
        main(["--run", "gs://bucket/runs/mine"])


@pytest.mark.parametrize(
    "path",
    ["s3://key:pass/word@bucket/x", "sftp://me:word@host/x", "s3://bucket/x?secret=word"],
)
def test_a_storage_path_with_a_password_is_refused_and_not_repeated(path: str) -> None:
    with pytest.raises(InputError, match="cluster: storage_path is") as raised:
        configuration(cluster={"storage_path": path})
    (line,) = raised.value.problems
    assert "word@" not in line
    assert "=word" not in line
    assert "must hold no password" in line


def test_a_writable_storage_path_is_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    check_storage(configuration(cluster={"storage_path": str(tmp_path / "storage")}))
    assert list((tmp_path / "storage").iterdir()) == []


def test_a_storage_path_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="cannot be written") as raised:
        check_storage(configuration(cluster={"storage_path": str(tmp_path / "taken")}))
    (line,) = raised.value.problems
    assert "--resume" not in line
