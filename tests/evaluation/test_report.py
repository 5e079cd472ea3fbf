from pathlib import Path

import pytest

from evaluation.report import main
from results.errors import RunError
from tests.results.report.runs import SECRET, evaluation_report, record, small_run, write_reports
from training.errors import InputError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = small_run(tmp_path / "run")
    write_reports(run, evaluation_report())
    run.write_record(record())
    return run.directory


def test_a_report_without_texts_is_written_to_the_given_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "mail.html"
    assert main(["--run", str(run), "--without-texts", "--output", str(copy)]) == 0
    assert SECRET not in copy.read_text("utf-8")
    assert not (run / "report.html").exists()
    assert capsys.readouterr().out == f"Next: open {copy} in a browser\n"


def test_the_report_of_the_run_is_written_again(run: Path) -> None:
    assert main(["--run", str(run)]) == 0
    assert SECRET in (run / "report.html").read_text("utf-8")


def test_a_directory_without_a_run_and_a_mistyped_option_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such directory"):
        main(["--run", str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match="did you mean --without-texts"):
        main(["--run", str(tmp_path), "--without-text"])
