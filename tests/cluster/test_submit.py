"""Searches and final evaluations as jobs of a cluster, and what its dashboard displays of them."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cluster.addresses import ClusterError
from cluster.submit import command_of, main, make_parser
from results.score_names import BESIDE_THE_SCORE
from tests.cluster.heads import ROOT, Head, ray_head
from tests.faults.breaking import SHORT, num_evaluations, wait_until
from tests.tuning.searching import Run, Started
from tuning.ray_metrics import OF_TRIALS

SLOWER = [*SHORT, "--training.epochs", "12"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head("--num-cpus", "2") as found:
        yield found


@dataclass(kw_only=True)
class Watched:
    """A search as a job, and what the cluster reported while it ran."""

    run: Run
    code: int = -1
    out: str = ""
    err: str = ""
    jobs: Any = None
    actors: Any = None
    metrics: Any = None
    status: str = ""
    log: str = ""


def submit(head: Head, *arguments: str, **environment: str) -> tuple[int, str, str]:
    process = head.python("cluster.submit", "--head", head.dashboard, *arguments, **environment)
    out, err = process.communicate(timeout=1000)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def watched(head: Head, runs: Path) -> Watched:
    found = Watched(run=Run(directory=runs / "first"))
    process = head.python(
        *("cluster.submit", "--head", head.dashboard, "--name", "first", *SLOWER),
        *("--output.directory", str(runs)),
    )
    started = Started(process)
    wait_until(lambda: num_evaluations(found.run, "t0001") >= 2, started)

    def has_metrics() -> bool:  # they are sent every few seconds; wait for those of t0001
        found.metrics = head.metrics()
        return 1 in found.metrics.get("severity_search_trial_number", {}).values()

    wait_until(has_metrics, started)
    worker = pd.read_csv(found.run.directory / "workers.csv").iloc[-1]
    found.jobs = head.ask("/api/jobs/")
    found.actors = head.ask("/api/v0/actors?detail=1")["data"]["result"]["result"]
    status = head.python("tuning.status", "--run", str(found.run.directory))
    found.status = status.communicate()[0]
    found.log = head.ask(f"/api/v0/logs/file?actor_id={worker['actor_id']}&lines=100")
    found.out, found.err = process.communicate()
    found.code = process.returncode
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.long
def test_a_submitted_search_is_followed_to_its_end(watched: Watched) -> None:
    assert watched.code == 0, watched.out + watched.err
    assert watched.err == ""
    assert re.match(r"job raysubmit_\w+, run first; dashboard http://", watched.out)
    assert watched.out.count(f"\nrun {watched.run.directory}\n") == 1  # nothing is printed twice
    assert "\ntrials: " in watched.out
    log = (watched.run.directory / "logs" / "search.log").read_text()
    assert log.count(": trial t0001 started: ") == 1
    *_, ended, following = watched.out.splitlines()
    assert ended.endswith("ended: SUCCEEDED, exit code 0")
    assert following.startswith("Next: ")
    assert following.endswith(" --final --run RUN")
    assert watched.run.record["status"] == "completed"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_dashboard_lists_the_job_with_its_run_and_command(watched: Watched) -> None:
    (job,) = [one for one in watched.jobs if one["type"] == "SUBMISSION"]
    assert job["metadata"]["run"] == "first"
    assert job["metadata"]["command"].startswith("python -m tuning.search --config ci")
    assert job["status"] == "RUNNING"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_dashboard_lists_an_actor_that_stands_for_the_search(watched: Watched) -> None:
    names = [actor["name"] for actor in watched.actors if actor["state"] == "ALIVE"]
    assert sum(name.startswith("search first ") for name in names) == 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_status_reports_the_worker_that_the_dashboard_lists(
    watched: Watched,
) -> None:
    found = re.search(
        r"worker +t0001 on \S+ \([\d.]+\), process (\d+), actor (\w+)", watched.status
    )
    assert found, watched.status
    (actor,) = [one for one in watched.actors if one["actor_id"] == found[2]]
    assert (str(actor["pid"]), actor["state"]) == (found[1], "ALIVE")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_log_of_a_worker_starts_each_line_with_its_trial(watched: Watched) -> None:
    lines = [line for line in watched.log.splitlines() if "macro-F1" in line]
    assert lines, watched.log
    assert all(re.match(r"t000\d \d{4}-\d\d-\d\d ", line) for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_metrics_report_trials_scores_and_speed_with_few_labels(watched: Watched) -> None:
    metrics = watched.metrics
    assert metrics["severity_search_trials"]['run="first",state="completed"'] == 1
    assert metrics["severity_search_trials"]['run="first",state="running"'] == 1
    assert metrics["severity_search_trial_number"] == {'run="first",slot="0"': 1}
    assert metrics["severity_search_rows_per_second"]['run="first",slot="0"'] > 0
    for name in ("score", "f1_macro"):
        recorded = watched.run.curves[name].tolist()
        (score,) = metrics[f"severity_search_{name}"].values()
        assert any(abs(score - one) < 1e-9 for one in recorded)
        best = watched.run.trials.loc["t0000", name]
        assert metrics[f"severity_search_best_{name}"]['run="first"'] == pytest.approx(best)


def test_the_grafana_dashboard_displays_the_score_and_every_other_metric_once() -> None:
    path = ROOT / "cluster" / "monitoring" / "grafana-dashboard.json"
    panels = json.loads(path.read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"ray_severity_search_(\w+)", target["expr"])
    }
    assert asked == {*OF_TRIALS, "trials", "best_score"} - set(BESIDE_THE_SCORE)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_job_passes_the_exit_code_of_its_command_on(head: Head, runs: Path) -> None:
    code, out, err = submit(head, "--trials", "0", "--output.directory", str(runs))
    assert code == 2, out + err
    assert "search.trials" in out
    *_, ended, following = out.splitlines()
    assert ended.endswith("ended: FAILED, exit code 2")
    assert following.startswith("Next: repair what the job's last line names; ")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.long
def test_a_stopped_search_is_resumed_by_another_job_and_its_winner_is_tested_by_a_third(
    head: Head, runs: Path
) -> None:
    run = Run(directory=runs / "stopped")
    where = ["--name", "stopped", "--output.directory", str(runs)]
    code, out, err = submit(head, "--detach", *where, *SLOWER)
    assert code == 0, out + err
    job = out.split()[1].rstrip(",")
    deadline = time.monotonic() + 120
    while num_evaluations(run, "t0001") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    code, out, err = submit(head, "--stop", job)
    assert (code, out.splitlines()[0]) == (0, f"job {job} ended: STOPPED"), err
    assert out.splitlines()[1].endswith(" --resume --name NAME")
    assert run.record["status"] == "interrupted"
    code, out, err = submit(head, "--follow", job)
    assert code == 143
    assert "Next: python -m tuning.search --resume --name stopped" in out
    known = num_evaluations(run, "t0001")
    code, out, err = submit(head, *where, "--resume")
    assert code == 0, out + err
    assert run.record["status"] == "completed"
    assert num_evaluations(run, "t0001") > known
    assert not run.curves.duplicated(["trial_id", "examples"]).any()
    final = ["--final", "--gpus", "0", "--run", str(run.directory), "--gates", "none"]
    code, out, err = submit(head, *final)
    assert code == 0, out + err
    assert (run.directory / "final" / "reports" / "evaluation_report.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_wrong_token_and_an_unknown_job_are_one_line_each(head: Head, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0" * 64)
    wrong = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    for arguments, environment in ((["--trials", "1"], wrong), (["--stop", "raysubmit_no"], {})):
        code, out, err = submit(head, *arguments, **environment)
        assert (code, out) == (1, "")
        (line,) = err.splitlines()
        assert line.startswith(f"error: the cluster at {head.dashboard} does not do that (")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.long
def test_a_search_with_a_wrong_token_is_refused_in_one_line(head: Head, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0" * 64)
    search = head.python(
        *("tuning.search", "--config", "ci", "--address", head.address),
        *("--output.directory", str(tmp_path / "runs")),
        RAY_AUTH_TOKEN_PATH=str(tmp_path / "token"),
    )
    out, err = search.communicate()
    assert search.returncode == 1, out + err
    (line,) = err.splitlines()
    assert "wants its token" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.long
def test_a_relative_directory_is_relative_to_the_driver(head: Head) -> None:
    # The head was started in another directory, which is the one of its workers.
    options = ["--config", "ci", "--address", head.address, "--dry-run"]
    search = head.python("tuning.search", *options)
    out, err = search.communicate()
    assert search.returncode == 0, out + err
    assert "2 at once on 1 node(s), 2 CPU cores, 0 GPUs" in out


def test_the_given_head_takes_precedence_over_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pytest.raises(ClusterError) as caught:
        main(["--head", "http://127.0.0.1:2", "--trials", "1"])
    assert "127.0.0.1:2" in str(caught.value)
    assert "127.0.0.1:1)" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "passed", "run"),
    [
        (["--name", "a"], ["--name", "a"], "a"),
        (["--output.name=a"], ["--output.name=a"], "a"),
        (["--output.name", "a"], ["--output.name", "a"], "a"),
        (["--resume", "--name", "a"], ["--resume", "--name", "a"], "a"),
        (["--resume=s3://b/runs/a"], ["--resume=s3://b/runs/a"], "resumed"),
        (["--final", "--run", "runs/a"], ["--run", "runs/a"], "runs/a"),
    ],
)
def test_a_job_s_command_names_its_run_once(
    arguments: list[str], passed: list[str], run: str
) -> None:
    command, name = command_of(*make_parser().parse_known_args(arguments))
    assert (command[3:], name) == (passed, run)


def test_a_job_without_a_name_gets_one() -> None:
    command, name = command_of(*make_parser().parse_known_args(["--trials", "3"]))
    assert command[3:] == ["--trials", "3", "--name", name]
    assert name.startswith("job-2")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--final", "--name", "a"], "takes no --name"),
        (["--data", "s3://key:se/cret@bucket/x.csv"], "a URI holds a password"),
        (["--resume=https://host/runs?token=x"], "a URI holds a password"),
        (["--gpus", "many"], "argument --gpus: invalid float value: 'many'"),
        (["--stop", "x", "--trials", "3"], "take a job's id and nothing else"),
    ],
)
def test_options_that_contradict_each_other_are_refused_in_one_line(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert problem in line


@pytest.mark.parametrize("arguments", [["-h"], ["--final", "--name", "a"]])
def test_the_help_and_a_wrong_option_do_not_wait_for_ray(arguments: list[str]) -> None:
    script = f"""
import sys
from cluster.submit import main
try:
    main({arguments})
except SystemExit:
    print("ray" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines()[-1] == "False"
