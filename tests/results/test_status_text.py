from datetime import UTC, datetime
from pathlib import Path

import pytest

from results.run import Run
from results.status_text import describe, next_step
from tests.results.overviews import overview


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "my runs" / "first")


def step(run: Run, status: str, *, is_alive: bool = False, uri: str | None = None) -> str:
    return next_step(run, {"status": status}, is_alive=is_alive, uri=uri)


def test_the_next_step_of_a_running_search_follows_it(run: Run) -> None:
    command = f"python -m tuning.status --run '{run.directory}' --follow"
    assert step(run, "running", is_alive=True) == command


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_the_next_step_of_an_interrupted_search_resumes_it(run: Run, status: str) -> None:
    where = f"--name first --output.directory '{run.directory.parent}'"
    assert step(run, status) == f"python -m tuning.search --resume {where}"


def test_the_next_step_of_an_aborted_search_is_a_repetition_under_another_name(run: Run) -> None:
    found = step(run, "aborted")
    assert found.startswith(f"fix the errors in {run.log}, then ")
    assert found.endswith(f"python -m tuning.search --config '{run.config}' --name NAME")


def test_after_a_completed_search_comes_the_evaluation_and_then_the_prediction(run: Run) -> None:
    assert step(run, "completed") == f"python -m evaluation.final --run '{run.directory}'"
    report = run.directory / "final" / "reports" / "evaluation_report.json"
    report.parent.mkdir(parents=True)
    report.write_text("{}")
    model = run.directory / "final" / "model"
    assert step(run, "completed") == (
        f"python -m evaluation.predict --model '{model}' --input FILE --output -"
    )


def test_the_line_to_beat_is_that_of_the_record_and_its_name_cannot_control_a_terminal() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    baseline = {"name": "TF-IDF\x1b[2J", "score": 0.55}
    (line,) = [one for one in describe(overview(baseline=baseline), now) if "TF-IDF" in one]
    assert line.startswith("to beat   macro-F1 0.5500 by TF-IDF")
    assert "\x1b" not in line
    assert not any(one.startswith("to beat") for one in describe(overview(), now))


def test_a_run_at_a_uri_is_continued_there(run: Run) -> None:
    uri = "s3://bucket/first"
    assert step(run, "interrupted", uri=uri) == f"python -m tuning.search --resume {uri}"
    assert step(run, "completed", uri=uri) == f"python -m evaluation.final --run {uri}"
