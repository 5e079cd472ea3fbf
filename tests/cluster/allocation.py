"""A fake SLURM: an allocation of network namespaces, and scripts that stand in for its commands.

`srun` (enters the namespaces, as slurmd would start tasks on the nodes), `squeue`, `scontrol` and
`hostname` are fakes; where only the exit code of the search counts, it is a fake, too. The batch
script is the real one. It gets signals as SLURM sends them with `proctrack/cgroup`: only the script
itself and the first process of each task get them.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.cluster.hosts import Host
from tests.tuning.searching import ROOT, Started

SCRIPT = ROOT / "cluster" / "slurm" / "search.sbatch"

FAKE_SRUN = """\
#!/bin/bash
# A fake of SLURM's srun: tasks in network namespaces, or in this one if there are none.
set -euo pipefail
nodes=1 first=0
while [[ $1 == --* ]]; do
    case $1 in
        --nodes=*) nodes=${1#*=} ;;
        --relative=*) first=${1#*=} ;;
        --ntasks=* | --ntasks-per-node=1 | --cpus-per-task=[1-9]*) ;;
        --export=ALL | --kill-on-bad-exit=0 | --wait=0) ;;
        *) echo "srun: unrecognized option '$1'" >&2 && exit 1 ;;
    esac
    shift
done
read -ra namespaces <<<"$FAKE_NAMESPACES"
[[ $((first + nodes)) -le $SLURM_JOB_NUM_NODES ]]
tasks=()
trap 'kill -USR1 "${tasks[@]}"' USR1
for ((node = first; node < first + nodes; node++)); do
    inside=()
    [[ ! $FAKE_NAMESPACES ]] || inside=(ip netns exec "${namespaces[node]}")
    mkdir -p "$FAKE_DISKS/node$node"
    SEARCH_TMP=$FAKE_DISKS/node$node "${inside[@]}" "$@" &
    tasks+=("$!")
done
echo "${tasks[@]}" >>"$FAKE_DIRECTORY/tasks"
for task in "${tasks[@]}"; do
    while kill -0 "$task" 2>/dev/null; do
        wait "$task" || true
    done
done
"""

FAKE_SQUEUE = """\
#!/bin/bash
# A fake of SLURM's squeue: the state of the one job.
[[ $* == "--noheader --job $SLURM_JOB_ID --format %T" ]] && cat "$FAKE_DIRECTORY/state"
"""

FAKE_SCONTROL = """\
#!/bin/bash
# A fake of SLURM's scontrol: records its arguments, unless it must fail.
[[ ! -e $FAKE_DIRECTORY/no-requeue ]] && echo "$*" >>"$FAKE_DIRECTORY/scontrol"
"""

FAKE_HOSTNAME = """\
#!/bin/bash
# A fake of hostname: the addresses of the node's name, as the resolver gives them.
[[ $* == --ip-address ]] && echo "127.0.1.1 fe80::1 $FAKE_ADDRESS"
"""

FAKE_RAY = """\
#!/bin/bash
# A fake of `ray start --block`: prints the same lines as the real one.
trap 'kill "$!"; exit 1' TERM
echo "$*" >"$FAKE_DIRECTORY/started"
[[ ! -e $FAKE_DIRECTORY/ray-fails ]] || { echo 'no memory' && exit 1; }
if [[ ! -e $FAKE_DIRECTORY/ray-hangs ]]; then
    [[ -e $FAKE_DIRECTORY/ray-silent ]] ||
        echo "To add another node to this Ray cluster, run  ray start --address='10.0.0.1:1234'"
    echo 'This command will now block forever until terminated by a signal.'
fi
sleep 60 &
wait
"""

FAKE_PYTHON = """\
#!/bin/bash
# A fake of the interpreter: a search that only ends with a given exit code.
case $* in
    *tuning.status*) echo "status    $(<"$FAKE_DIRECTORY/status")" ;;
    *tuning.search*)
        printf '%s\\n' "${@:3}" >"$FAKE_DIRECTORY/searched"
        end=$(<"$FAKE_DIRECTORY/end")
        [[ $end == early ]] || mkdir -p "$SEARCH_RUNS/first"
        [[ $end == early || $end == waits* ]] || exit "$end"
        trap 'echo TERM >>"$FAKE_DIRECTORY/signals"' TERM
        echo >"$FAKE_DIRECTORY/search-started"
        sleep 60 &
        wait
        kill "$!"
        sleep 0.5
        [[ $end != waits* ]] || exit "${end#waits }"
        exit 143
        ;;
    *) exec "$FAKE_REAL_PYTHON" "$@" ;;
esac
"""


@dataclass(kw_only=True)
class Allocation:
    """The nodes of one job, with fakes of SLURM's commands."""

    directory: Path
    """A short path."""
    hosts: Sequence[Host] = ()
    """The nodes; none: this machine is the only node."""
    job_id: str = "4711"
    disks: Path | None = None
    """Holds `nodeN`, which stands for the own disk of node N; by default `directory`."""
    environment: dict[str, str] = field(default_factory=dict)
    _started: list[Started] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write the fakes."""
        fakes = {
            "srun": FAKE_SRUN,
            "squeue": FAKE_SQUEUE,
            "scontrol": FAKE_SCONTROL,
            "hostname": FAKE_HOSTNAME,
        }
        for name, text in fakes.items():
            self._write_program(f"fakes/{name}", text)
        self._write_program("slurm_script", SCRIPT.read_text("utf-8"))  # SLURM runs a copy
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SEARCH_"))},
            "PATH": f"{self.directory / 'fakes'}{os.pathsep}{os.environ['PATH']}",
            "FAKE_DIRECTORY": str(self.directory),
            "FAKE_DISKS": str(self.disks or self.directory),
            "FAKE_NAMESPACES": " ".join(host.namespace for host in self.hosts),
            "FAKE_ADDRESS": self.hosts[0].address if self.hosts else "",
            "FAKE_REAL_PYTHON": sys.executable,
            "SEARCH_VENV": sys.prefix,
            "SEARCH_RUNS": str(self.runs),
            "SLURM_JOB_ID": self.job_id,
            "SLURM_JOB_NUM_NODES": str(max(1, len(self.hosts))),
            "SLURM_SUBMIT_DIR": str(ROOT),
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_CPUS_ON_NODE": "1",
            "RAY_ADDRESS": "10.255.255.255:1",  # of the shell that called sbatch
            "RAY_AUTH_TOKEN": "another one",
        }

    @property
    def runs(self) -> Path:
        """Return the directory of runs, which the nodes share."""
        return self.directory / "runs"

    @property
    def secrets(self) -> Path:
        """Return the directory of the token, which exists while the job runs."""
        return self.runs / f".job-{self.job_id}"

    @property
    def output(self) -> str:
        """Return the output of all starts of the job so far."""
        return (self.directory / "slurm.out").read_text("utf-8")

    @property
    def requeued(self) -> list[str]:
        """Return the arguments of each call of `scontrol`."""
        return self.lines("scontrol")

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file that a fake writes."""
        path = self.directory / name
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def write(self, name: str, text: str) -> None:
        """Write a file that a fake reads."""
        (self.directory / name).write_text(text, "utf-8")

    def play_search(self, *, end: str) -> None:
        """Make the job use the fake environment.

        Args:
            end: the search's exit code; `waits CODE`: it ends with CODE after SIGTERM; `early`: it
                ends with 143 after SIGTERM, before it has made its run.
        """
        self._write_program("venv/bin/ray", FAKE_RAY)
        self._write_program("venv/bin/python", FAKE_PYTHON)
        self.environment["SEARCH_VENV"] = str(self.directory / "venv")
        self.write("end", end)

    def start(self, *options: str, restarts: int = 0) -> Started:
        """Start the batch script on the first node."""
        self.write("state", "RUNNING\n")
        (self.directory / "tasks").unlink(missing_ok=True)
        environment = dict(self.environment)
        if restarts:
            environment["SLURM_RESTART_COUNT"] = str(restarts)
        script = [str(self.directory / "slurm_script"), *options]
        with (self.directory / "slurm.out").open("a") as output:
            process = subprocess.Popen(
                self.hosts[0].command(*script) if self.hosts else script,
                stdout=output,
                stderr=output,
                text=True,
                env=environment,
                cwd=ROOT,
                start_new_session=True,
            )
        self._started.append(Started(process))
        return self._started[-1]

    def cancel(self, job: Started) -> None:
        """Do what `scancel` does: set another state, and send SIGTERM to script and tasks."""
        self.write("state", "COMPLETING\n")
        tasks = [int(pid) for line in self.lines("tasks") for pid in line.split()]
        assert tasks
        for pid in (*tasks, job.process.pid):
            os.kill(pid, signal.SIGTERM)

    def left(self, *, seconds: float = 15) -> list[str]:
        """Return the command lines of the job's processes that still run after that time."""
        deadline = time.monotonic() + seconds
        while (found := list(self.processes())) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [" ".join(process.info["cmdline"]) for process in found]

    def close(self) -> None:
        """Kill the processes that a failed test left."""
        for process in self.processes():
            process.kill()
        for job in self._started:
            job.process.wait()

    def processes(self) -> Iterator[psutil.Process]:
        """Return the processes of the job on all nodes."""
        # All get the environment of the batch script, also those in sessions of their own.
        for process in psutil.process_iter(["cmdline", "environ"]):
            if (process.info["environ"] or {}).get("FAKE_DIRECTORY") == str(self.directory):
                yield process

    def _write_program(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o755)


def end_of(job: Started, *, signalled: bool = False) -> int:
    """Return a batch script's exit code; `signalled`: send SIGTERM to it, as at the time limit."""
    if signalled:
        job.process.send_signal(signal.SIGTERM)
    return job.process.wait(timeout=1000)
