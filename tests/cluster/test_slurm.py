"""The batch script for SLURM, on two hosts of a real network and a fake SLURM."""

import csv
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from tests.cluster import allocation
from tests.cluster.allocation import SCRIPT, Allocation, end_of
from tests.cluster.hosts import Host, Hosts, needs_hosts, network
from tests.cluster.launchers import lint
from tests.cluster.test_guides import shell_of
from tests.faults.breaking import SHORT, num_evaluations, rows, wait_until
from tests.tuning.searching import Run
from tuning.command_line import read_command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LONGER = [*SHORT, "--training.epochs", "6", "--search.max_concurrent", "2"]
FIRST = ["--name", "first", *LONGER]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short, for the paths of Ray's sockets."""
    found = Path(tempfile.mkdtemp(prefix="slurm"))
    yield found
    shutil.rmtree(found, ignore_errors=True)


@pytest.fixture
def hosts(directory: Path) -> Iterator[Hosts]:
    with network(directory) as found:
        yield found


@pytest.fixture
def until_end() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def faked(directory: Path) -> Iterator[Allocation]:
    """A job of one node whose search only ends with a given exit code."""
    with closing(Allocation(directory=directory)) as job:
        job.play_search(end="0")
        yield job


def addresses(run: Run) -> set[str]:
    """Of the hosts that trials have run on so far; the last line may be torn."""
    path = run.directory / "workers.csv"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return {row["address"] for row in csv.DictReader(lines)}


def answer_of_dashboard(node: Host, job: Allocation, *, at: str, token: str) -> str:
    """Return a host's answer from the dashboard of a job, whose port the search has printed."""
    (port,) = re.findall(r"^Ray dashboard: http://127\.0\.0\.1:(\d+)$", job.output, re.MULTILINE)
    ask = (
        "import sys, urllib.request as u; print(u.urlopen(u.Request(sys.argv[1], headers="
        "{'Authorization': 'Bearer ' + sys.argv[2]}), timeout=20).status)"
    )
    ended = node.run(sys.executable, "-c", ask, f"http://{at}:{port}/api/version", token)
    return (ended.stdout or ended.stderr.splitlines()[-1]).strip()


def listening(node: Host, job: Allocation) -> set[int]:
    """Ports that the processes of a job listen on."""
    found = node.run("ss", "--no-header", "--listening", "--numeric", "--processes", "--tcp")
    ours = {process.pid for process in job.processes()}
    return {
        int(line.split()[3].rpartition(":")[2])
        for line in found.stdout.splitlines()
        if ours & {int(pid) for pid in re.findall(r"pid=(\d+)", line)}
    }


def command_lines() -> Iterator[str]:
    for process in psutil.process_iter(["cmdline"]):
        yield " ".join(process.info["cmdline"] or [])


@pytest.mark.long
@needs_hosts
def test_a_search_over_both_nodes_is_resumed_after_the_time_limit_and_not_started_a_third_time(
    hosts: Hosts, directory: Path, until_end: ExitStack
) -> None:
    head, other = hosts.add(), hosts.add()
    nodes = until_end.enter_context(closing(Allocation(directory=directory, hosts=[head, other])))
    run, secrets = Run(directory=nodes.runs / "first"), nodes.secrets

    started = nodes.start(*FIRST)
    wait_until(lambda: "trials at once" in nodes.output, started)
    assert "Ray on 2 of 2 nodes" in nodes.output
    assert "2 node(s), 2 CPU cores, 0 GPUs, 2 trials at once" in nodes.output
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert (secrets / "token").stat().st_mode & 0o777 == 0o600
    token = (secrets / "token").read_text()
    assert len(token) == 64
    assert not [line for line in command_lines() if token in line]
    assert answer_of_dashboard(head, nodes, at="127.0.0.1", token=token) == "200"
    assert "403" in answer_of_dashboard(head, nodes, at="127.0.0.1", token="guessed")
    assert "refused" in answer_of_dashboard(other, nodes, at=head.address, token=token)
    wait_until(lambda: len(addresses(run)) == 2 and num_evaluations(run, "t0001") > 0, started)
    assert addresses(run) == {head.address, other.address}
    assert end_of(started, signalled=True) == 143
    assert nodes.requeued == ["requeue 4711"], nodes.output
    assert run.record["status"] == "interrupted", nodes.output
    assert nodes.left() == []
    assert not secrets.exists()
    known = rows(run)

    assert end_of(nodes.start(*FIRST, restarts=1)) == 0, nodes.output
    assert run.record["status"] == "completed"
    assert rows(run)[: len(known)] == known
    assert not run.curves.duplicated(["trial_id", "examples"]).any()
    assert len(run.trials) == 2
    assert nodes.left() == []

    before = nodes.output
    assert end_of(nodes.start(*FIRST, restarts=2)) == 0
    assert nodes.output == f"{before}search first has completed; nothing is left to do\n"
    assert nodes.requeued == ["requeue 4711"]
    assert [path.name for path in nodes.runs.iterdir()] == ["first"]
    assert [list((directory / f"node{number}").iterdir()) for number in range(2)] == [[], []]


@pytest.mark.long
@needs_hosts
def test_scancel_leaves_a_run_that_can_be_resumed_and_does_not_touch_another_job_on_its_node(
    hosts: Hosts, directory: Path, until_end: ExitStack
) -> None:
    node = hosts.add()
    cancelled = Allocation(directory=directory, hosts=[node])
    beside = Allocation(directory=directory / "2", hosts=[node], job_id="4712", disks=directory)
    jobs = [until_end.enter_context(closing(job)) for job in (cancelled, beside)]
    run, other = (Run(directory=job.runs / "first") for job in jobs)
    started, second = (job.start(*FIRST, "--training.epochs", "40") for job in jobs)
    wait_until(lambda: num_evaluations(run, "t0000") > 0, started)
    wait_until(lambda: num_evaluations(other, "t0000") > 0, second)
    first_ports, second_ports = (listening(node, job) for job in jobs)
    assert len(first_ports) > 5
    assert len(second_ports) > 5
    assert first_ports.isdisjoint(second_ports)

    cancelled.cancel(started)
    assert end_of(started) == 143, cancelled.output
    assert run.record["status"] == "interrupted", cancelled.output
    assert "Ray on 1 of 1 nodes" in cancelled.output
    assert "search first is stopped (COMPLETING)" in cancelled.output
    assert cancelled.requeued == []
    assert cancelled.left() == []
    assert [path.name for path in cancelled.runs.iterdir()] == ["first"]

    known = len(rows(other))
    wait_until(lambda: len(rows(other)) > known + 1, second)
    assert "lost its process or node" not in beside.output


@pytest.mark.parametrize("code", [0, 1, 2, 4, 143])
def test_an_exit_code_that_no_signal_caused_is_passed_on(faked: Allocation, code: int) -> None:
    faked.play_search(end=str(code))
    assert end_of(faked.start("--name", "first", "--trials", "3")) == code, faked.output
    given = ["--name", "first", "--trials", "3", "--address", "10.0.0.1:1234"]
    assert faked.lines("searched") == [*given, "--output.directory", str(faked.runs)]
    assert faked.requeued == []
    assert faked.left() == []


def test_a_second_signal_is_not_passed_on_because_it_would_cost_the_checkpoints(
    faked: Allocation,
) -> None:
    faked.play_search(end="waits 143")
    started = faked.start("--name=first")
    wait_until(lambda: faked.lines("search-started") != [], started)
    started.process.terminate()
    wait_until(lambda: faked.lines("signals") != [], started)
    assert end_of(started, signalled=True) == 143
    assert faked.lines("signals") == ["TERM"]
    assert faked.requeued == ["requeue 4711"]


@pytest.mark.parametrize("code", [0, 1])
def test_a_search_that_ends_otherwise_at_the_signal_is_not_requeued(
    faked: Allocation, code: int
) -> None:
    faked.play_search(end=f"waits {code}")
    started = faked.start("--name", "first")
    wait_until(lambda: faked.lines("search-started") != [], started)
    assert end_of(started, signalled=True) == code
    assert faked.requeued == []


def test_a_job_that_may_not_be_requeued_reports_how_to_resume(faked: Allocation) -> None:
    faked.play_search(end="waits 143")
    faked.write("no-requeue", "")
    started = faked.start("--name", "first")
    wait_until(lambda: faked.lines("search-started") != [], started)
    assert end_of(started, signalled=True) == 143
    assert "error: the job cannot be requeued; the same sbatch resumes" in faked.output


def test_a_time_limit_before_the_search_has_started_does_not_requeue_for_ever(
    faked: Allocation,
) -> None:
    faked.play_search(end="early")
    started = faked.start("--name", "first")
    wait_until(lambda: faked.lines("search-started") != [], started)
    assert end_of(started, signalled=True) == 143
    assert "error: the time limit came before the search had started" in faked.output
    assert faked.requeued == []


def test_a_signal_while_ray_starts_keeps_the_search_from_starting(faked: Allocation) -> None:
    faked.write("ray-hangs", "")
    started = faked.start("--name", "first")
    wait_until(lambda: faked.lines("started") != [], started)
    assert end_of(started, signalled=True) == 143
    assert faked.lines("searched") == []
    assert faked.requeued == []
    assert faked.left() == []


def test_ray_offers_what_slurm_has_given_to_the_job_on_a_node(faked: Allocation) -> None:
    faked.environment |= {"SLURM_CPUS_ON_NODE": "12", "SLURM_GPUS_ON_NODE": "3"}
    assert end_of(faked.start("--name", "first")) == 0, faked.output
    (started,) = faked.lines("started")
    assert " --num-cpus 12 --num-gpus 3 " in started


@pytest.mark.parametrize(
    ("status", "restarts", "resumed"),
    [
        ("running", 1, ["--resume"]),
        ("interrupted, 3 s", 0, ["--resume"]),
        ("completed, 3 s", 0, ["--resume"]),  # perhaps with more trials
        (None, 1, []),  # killed before it had started
    ],
)
def test_a_start_resumes_an_existing_run(
    faked: Allocation, status: str | None, restarts: int, resumed: list[str]
) -> None:
    if status is not None:
        (faked.runs / "first").mkdir(parents=True)
        faked.write("status", f"{status}\n")
    assert end_of(faked.start("--name", "first", restarts=restarts)) == 0, faked.output
    assert faked.lines("searched")[6:] == resumed


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "error: --name is missing; a job that starts again finds its run by it"),
        (["--trials", "3", "--name"], "error: --name is missing; a job that starts"),
        (["--name", "first", "--resume"], "error: --resume is set by this script"),
        (["--name", "first", "--output.directory=x"], "error: --output.directory is set"),
        (["--name", "first", "--address", "auto"], "error: --address is set by"),
    ],
)
def test_options_that_the_script_refuses_are_one_line(
    faked: Allocation, options: list[str], line: str
) -> None:
    assert end_of(faked.start(*options)) == 2
    assert faked.output.startswith(line)
    assert len(faked.output.splitlines()) == 1
    assert not faked.runs.exists()


def test_a_node_whose_name_has_no_address_is_an_error_before_anything_starts(
    faked: Allocation,
) -> None:
    faked.environment["SLURM_JOB_NUM_NODES"] = "2"
    assert end_of(faked.start("--name", "first")) == 2
    assert faked.output.startswith("error: this node's name has no address that others reach")
    assert not faked.runs.exists()


def test_a_ray_that_does_not_start_is_an_error_with_its_output(faked: Allocation) -> None:
    faked.write("ray-fails", "")
    assert end_of(faked.start("--name", "first")) == 1
    assert faked.output == "no memory\nerror: Ray has not started on the first node\n"
    assert faked.left() == []


def test_a_ray_that_prints_no_address_is_an_error_with_its_output(faked: Allocation) -> None:
    faked.write("ray-silent", "")
    assert end_of(faked.start("--name", "first")) == 1
    output, error = faked.output.splitlines()
    assert output == "This command will now block forever until terminated by a signal."
    assert error.startswith("error: Ray did not print its address, but must; ")
    assert faked.left() == []


def test_shellcheck_finds_nothing_in_the_script_and_the_fakes() -> None:
    fakes = [text for name, text in vars(allocation).items() if name.startswith("FAKE_")]
    assert len(fakes) == 6
    for script in (SCRIPT.read_text("utf-8"), *fakes):
        assert lint(script) == ""


def test_the_guide_s_commands_are_ones_that_sbatch_and_the_search_take() -> None:
    shell = shell_of("slurm/README.md")
    assert lint(shell) == ""
    lines = [line.split() for line in shell.replace("\\\n", " ").splitlines()]
    searches = [words for words in lines if "cluster/slurm/search.sbatch" in words]
    assert searches
    for words in searches:
        _, _, configuration = read_command(words[words.index("cluster/slurm/search.sbatch") + 1 :])
        assert configuration.output.name == "first"
