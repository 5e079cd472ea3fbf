"""`python -m cluster.submit`: run a search, or the final evaluation, as a job of a Ray cluster.

Unlike Ray's own job client, it sends the program, returns the exit code of the command, restores a
lost connection, and gives a stopped search time to write its checkpoints.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, has_secret, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import argparse
import asyncio
import logging
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from cluster.addresses import ClusterError

# Ray is imported where it is used, so that `-h` and a mistyped option are answered at once.
if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_PROGRAM = "python -m cluster.submit"
_HEAD = "http://127.0.0.1:8265"

_STOP_WAIT_S = 20
"""A search writes its checkpoints and ends within ten seconds; Ray waits three by default."""
_MAX_CONNECTIONS = 6
_POLL_S = 0.5


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code.

    Raises:
        ClusterError: the cluster does not answer, or refuses the request.
    """
    parser = make_parser()
    options, passed_on = parser.parse_known_args(arguments)
    if (options.stop or options.follow) and (passed_on or options.final or options.name):
        parser.error("--stop and --follow take a job's id and nothing else")
    if options.final and options.name:
        parser.error("--final names its run by --run, and takes no --name")
    if any(has_secret(argument) for argument in passed_on):
        parser.error("a URI holds a password or key, which everybody could read in the dashboard")
    with _connect(options.head) as client:
        if options.stop:
            return _stop(client, options.head, options.stop)
        if options.follow:
            return _follow(client, options.head, options.follow)
        command, run = command_of(options, passed_on)
        gpus = float(options.final) if options.gpus is None else options.gpus
        job_id = _submit(client, command, run=run, gpus=gpus)
        print(f"job {job_id}, run {run}; dashboard {options.head}", flush=True)
        if options.detach:
            print(_next_while_running(options.head, job_id))
            return ExitCode.DONE
        return _follow(client, options.head, job_id)


def make_parser() -> OptionParser:
    """Return a parser of this command's own options; all others are passed on."""
    parser = OptionParser(
        prog=_PROGRAM,
        usage="%(prog)s [--head URL] [--final] OPTIONS",
        description="Run tuning.search (with --final: evaluation.final) as a job of a Ray cluster"
        " and print its output. OPTIONS are those of that command and are passed on; paths among"
        " them are paths on the head node. The program is sent along; its libraries must be"
        " installed on the nodes.",
    )
    parser.add_argument(
        "--head",
        metavar="URL",
        default=os.environ.get("RAY_API_SERVER_ADDRESS") or _HEAD,
        help=f"the dashboard's address; default: RAY_API_SERVER_ADDRESS, else {_HEAD}",
    )
    parser.add_argument("--name", help="name of the run; default: job- and the UTC time")
    parser.add_argument(
        "--final", action="store_true", help="evaluation.final instead of a search, with a GPU"
    )
    parser.add_argument(
        "--gpus",
        type=float,
        metavar="N",
        help="GPUs of the command itself, not of its trials; default: 1 with --final, else 0",
    )
    parser.add_argument(
        "--detach", action="store_true", help="do not wait: print the job's id and end"
    )
    parser.add_argument("--follow", metavar="ID", help="print a job's output until it ends")
    parser.add_argument(
        "--stop", metavar="ID", help="end a job; its search writes checkpoints and can be resumed"
    )
    return parser


def command_of(options: argparse.Namespace, passed_on: Sequence[str]) -> tuple[list[str], str]:
    """Return the command that the job runs, and the name of its run.

    Args:
        options: of this command.
        passed_on: options of the other command; only those that name a run are read.
    """
    passed = list(passed_on)
    if options.final:
        return ["python", "-m", "evaluation.final", *passed], _value_of("--run", passed) or "?"
    name = options.name or _value_of("--output.name", passed)
    is_resumed = any(one.partition("=")[0] == "--resume" for one in passed)
    if name is None and not is_resumed:
        name = f"job-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        passed += ["--name", name]
    elif options.name:
        passed += ["--name", options.name]
    return ["python", "-m", "tuning.search", *passed], name or "resumed"


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    """Return the last value given as `--option VALUE` or `--option=VALUE`."""
    found = None
    for argument, following in pairwise([*arguments, ""]):
        name, equals, value = argument.partition("=")
        if name == option:
            found = value if equals else following
    return found


@contextmanager
def _connect(head: str) -> Iterator["JobSubmissionClient"]:
    """Connect to a cluster's job server; each error of Ray becomes one line.

    Args:
        head: URL of the dashboard.

    Raises:
        ClusterError: the cluster does not answer, wants another token, or refuses a request.
    """
    from ray.exceptions import RayError
    from ray.job_submission import JobSubmissionClient

    # Ray prefers both variables to the address that it is given.
    os.environ["RAY_API_SERVER_ADDRESS"] = head
    os.environ.pop("RAY_ADDRESS", None)
    logging.disable(logging.WARNING)  # Ray's client logs uploads and connections
    try:
        yield JobSubmissionClient(head)
    except (BrokenPipeError, ClusterError):
        raise
    except (RayError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.filename:  # a file of this machine
            raise
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(
            f"the cluster at {head} does not do that ({reason}); check --head, the dashboard's"
            " URL, and its token: ~/.ray/auth_token and RAY_AUTH_MODE=token"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def _submit(client: "JobSubmissionClient", command: Sequence[str], *, run: str, gpus: float) -> str:
    """Start a command with the program as it is here; return the job's id.

    Args:
        client: of the cluster.
        command: runs on the head node, or on a node with GPUs if it asks for some.
        run: name of the run, which the dashboard displays.
        gpus: of the command itself, not of its trials.
    """
    from cluster.nodes import packages_to_send

    with packages_to_send() as modules:
        return client.submit_job(
            entrypoint=shlex.join(command),
            runtime_env={
                "py_modules": modules,
                "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_WAIT_S)},
            },
            metadata={"run": run, "command": shlex.join(command)},
            entrypoint_num_gpus=gpus or None,
        )


def _follow(client: "JobSubmissionClient", head: str, job_id: str) -> int:
    """Print a job's output until it ends; return the exit code of its command."""
    try:
        _print_output(client, head, job_id)
    except KeyboardInterrupt:
        print(f"\nThe job continues. {_next_while_running(head, job_id)}")
        return ExitCode.INTERRUPTED
    status, code = _ending_of(client, job_id)
    print(f"job {job_id} ended: {status}, exit code {code}")
    print(_next_after(head, code))
    return code


def _print_output(client: "JobSubmissionClient", head: str, job_id: str) -> None:
    """Print a job's output from its start to its end, across lost connections."""
    num_printed = 0  # characters

    async def tail() -> None:
        nonlocal num_printed
        num_received = 0  # of this connection, which sends the output from its start
        async for text in client.tail_job_logs(job_id):
            new = text[max(num_printed - num_received, 0) :]
            num_received += len(text)
            num_printed = max(num_printed, num_received)
            if new:
                print(new, end="", flush=True)

    for connection in range(_MAX_CONNECTIONS):
        try:
            asyncio.run(tail())
            if client.get_job_status(job_id).is_terminal():
                return
        except BrokenPipeError:
            raise
        except Exception:  # classes of aiohttp among them, a dependency of Ray's dashboard
            if not num_printed:
                client.get_job_status(job_id)  # raises if there is no such job or no cluster
        time.sleep(connection)
    raise ClusterError(
        f"the connection to job {job_id} was lost {_MAX_CONNECTIONS} times; the job continues:"
        f" {_PROGRAM} --head {head} --follow {job_id}"
    )


def _stop(client: "JobSubmissionClient", head: str, job_id: str) -> int:
    """End a job as by SIGTERM, and wait until it has ended."""
    client.stop_job(job_id)
    deadline = time.monotonic() + 2 * _STOP_WAIT_S
    while not client.get_job_status(job_id).is_terminal():
        if time.monotonic() > deadline:
            raise ClusterError(f"job {job_id} has not ended; see it in {head}")
        time.sleep(_POLL_S)
    status, code = _ending_of(client, job_id)
    print(f"job {job_id} ended: {status}")
    print(_next_after(head, code))
    return ExitCode.DONE


def _ending_of(client: "JobSubmissionClient", job_id: str) -> tuple[str, int]:
    """Return a job's last status, and the exit code of its command."""
    info = client.get_job_info(job_id)
    codes = {"SUCCEEDED": ExitCode.DONE, "STOPPED": ExitCode.TERMINATED}
    failed = info.driver_exit_code or ExitCode.ENVIRONMENT_FAILED
    code = codes.get(info.status.value, failed)
    return info.status.value, code if 0 <= code < 256 else ExitCode.ENVIRONMENT_FAILED


def _next_while_running(head: str, job_id: str) -> str:
    return f"Next: {_PROGRAM} --head {shlex.quote(head)} --follow {job_id}, or --stop {job_id}"


def _next_after(head: str, exit_code: int) -> str:
    """Return the next step after a job, which may have been submitted elsewhere."""
    command = f"{_PROGRAM} --head {shlex.quote(head)}"
    if exit_code == ExitCode.DONE:
        return f"Next: the job's last line; as a job: {command} --final --run RUN"
    return f"Next: repair what the job's last line names; resume: {command} --resume --name NAME"


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(ClusterError,)))
