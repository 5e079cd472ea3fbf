"""`python -m cluster.submit`: a search, or the final evaluation, as a job of a Ray cluster."""

import argparse
import asyncio
import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from cluster.errors import ClusterError
from cluster.nodes import packages_to_send

if TYPE_CHECKING:
    pass


DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

_PASSWORD = re.compile(r"://[^/@]*:(?!\d+/)[^@]*@")
_HEAD = "http://127.0.0.1:8265"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        self.exit(BAD_INPUT, f"error: {message}; see python -m cluster.submit -h\n")


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = make_parser()
    options, passed_on = parser.parse_known_args(arguments)
    if (options.stop or options.follow) and (passed_on or options.final or options.name):
        parser.error("--stop and --follow take a job's id and nothing else")
    if options.final and options.name:
        parser.error("--final names its run by --run, and takes no --name")
    if any(_PASSWORD.search(argument) for argument in passed_on):
        parser.error("a URI holds a password, which everybody would read in the dashboard")
    try:
        return _act(options, passed_on)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED


def make_parser() -> argparse.ArgumentParser:
    """The options of this command; what it does not know is passed on."""
    parser = _Parser(
        prog="python -m cluster.submit",
        usage="%(prog)s [--head URL] [--final] OPTIONS",
        description="Run tuning.search (with --final: evaluation.final) as a job of a Ray cluster"
        " and show what it prints. OPTIONS are that command's and are passed on; paths among them"
        " are those of the head node. The program is sent along; libraries have to be there.",
        allow_abbrev=False,
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
    parser.add_argument("--follow", metavar="ID", help="show what a job prints until it ends")
    parser.add_argument(
        "--stop", metavar="ID", help="end a job; its search writes checkpoints and can go on"
    )
    return parser


def _act(options: argparse.Namespace, passed_on: Sequence[str]) -> int:
    # after -h, which needs none of Ray

    jobs = Jobs(options.head)
    if options.stop:
        ended = jobs.stop(options.stop)
        print(f"job {options.stop} ended: {ended.status}")
        print(_next_after(jobs, ended.exit_code))
        return DONE
    if options.follow:
        return _follow(jobs, options.follow)
    command, name = command_of(options, passed_on)
    gpus = options.gpus if options.gpus is not None else float(options.final)
    job_id = jobs.submit(command, name=name, gpus=gpus)
    print(f"job {job_id}, run {name}; dashboard {options.head}", flush=True)
    if options.detach:
        print(_next(jobs, job_id))
        return DONE
    return _follow(jobs, job_id)


def _next(jobs: "Jobs", job_id: str) -> str:
    command = f"python -m cluster.submit --head {shlex.quote(jobs.head)}"
    return f"Next: {command} --follow {job_id}, or --stop {job_id}"


def _next_after(jobs: "Jobs", exit_code: int) -> str:
    """What to run when a job has ended, whose command was perhaps given elsewhere."""
    command = f"python -m cluster.submit --head {shlex.quote(jobs.head)}"
    if exit_code == DONE:
        return f"Next: what the job said last; as a job: {command} --final --run RUN"
    return f"Next: mend what the job said last; a search goes on by {command} --resume --name NAME"


def command_of(options: argparse.Namespace, passed_on: Sequence[str]) -> tuple[list[str], str]:
    """The command that the job runs, and the name of its run.

    Args:
        options: of this command.
        passed_on: options of the other one, unread but for those that name a run.
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
    """What an option was given, as `--option VALUE` or `--option=VALUE`; the last time."""
    found = None
    for argument, following in pairwise([*arguments, ""]):
        name, equals, value = argument.partition("=")
        if name == option:
            found = value if equals else following
    return found


def _follow(jobs: "Jobs", job_id: str) -> int:
    try:
        ended = jobs.follow(job_id, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(f"\nThe job goes on. {_next(jobs, job_id)}")
        return INTERRUPTED
    print(f"job {job_id} ended: {ended.status}, exit code {ended.exit_code}")
    print(_next_after(jobs, ended.exit_code))
    return ended.exit_code


_STOPS_WITHIN_S = 20
"""A search writes its checkpoints and ends within ten seconds; Ray's own patience is three."""

_SECONDS_BETWEEN_LOOKS = 0.5
_MOST_RECONNECTS = 6
_FAILURES = (RayError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a job ended."""

    status: str
    exit_code: int
    """Of its command; 143 for one that was stopped."""


class Jobs:
    """The jobs of one cluster."""

    def __init__(self, head: str) -> None:
        """Connect.

        Args:
            head: URL of the dashboard.

        Raises:
            ClusterError: it does not answer, or wants another token.
        """
        self.head = head
        # Ray lets both go before what it is given.
        os.environ["RAY_API_SERVER_ADDRESS"] = head
        os.environ.pop("RAY_ADDRESS", None)
        self._client: Any = self._asked(lambda: JobSubmissionClient(head))

    def submit(self, command: Sequence[str], *, name: str, gpus: float) -> str:
        """Start a command with the program as it is here; return the job's id.

        Args:
            command: run on the head node, or on one with GPUs if it asks for some.
            name: of the run, shown in the dashboard.
            gpus: that the command itself uses, not its trials.

        Raises:
            ClusterError: the cluster refuses it.
        """
        with packages_to_send() as modules:
            job_id: str = self._asked(
                lambda: self._client.submit_job(
                    entrypoint=shlex.join(command),
                    runtime_env={
                        "py_modules": modules,
                        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOPS_WITHIN_S)},
                    },
                    metadata={"run": name, "command": shlex.join(command)},
                    entrypoint_num_gpus=gpus or None,
                )
            )
        return job_id

    def follow(self, job_id: str, show: Callable[[str], None]) -> Ended:
        """Show what a job prints, from its beginning on, until it has ended.

        Raises:
            ClusterError: there is no such job, or the cluster is gone.
        """
        shown = 0

        async def tail() -> None:
            nonlocal shown
            passed = 0  # of what was shown before the connection was lost
            async for text in self._client.tail_job_logs(job_id):
                new = text[max(shown - passed, 0) :]
                passed += len(text)
                shown = max(shown, passed)
                if new:
                    show(new)

        for number in range(_MOST_RECONNECTS):
            try:
                asyncio.run(tail())
                if self._status(job_id).is_terminal():
                    return self._ended(job_id)
            except Exception:  # aiohttp's own among them, which the dashboard's package brings
                if not shown:  # there is no such job, or no cluster
                    self._status(job_id)
            time.sleep(number)
        raise ClusterError(
            f"the connection to job {job_id} was lost {_MOST_RECONNECTS} times; the job goes on:"
            f" python -m cluster.submit --head {self.head} --follow {job_id}"
        )

    def stop(self, job_id: str) -> Ended:
        """Have a job end as by SIGTERM, and wait until it has.

        Raises:
            ClusterError: there is no such job, or it does not end.
        """
        self._asked(lambda: self._client.stop_job(job_id))
        deadline = time.monotonic() + 2 * _STOPS_WITHIN_S
        while not self._status(job_id).is_terminal():
            if time.monotonic() > deadline:
                raise ClusterError(f"job {job_id} has not ended; see it in {self.head}")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return self._ended(job_id)

    def _status(self, job_id: str) -> JobStatus:
        status: JobStatus = self._asked(lambda: self._client.get_job_status(job_id))
        return status

    def _ended(self, job_id: str) -> Ended:
        info = self._asked(lambda: self._client.get_job_info(job_id))
        codes = {JobStatus.SUCCEEDED: 0, JobStatus.STOPPED: 143}
        code = codes.get(info.status, info.driver_exit_code or 1)
        return Ended(status=str(info.status), exit_code=code if 0 <= code < 256 else 1)

    def _asked(self, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except _FAILURES as error:
            reason = " ".join(str(error).split())[:300]
            raise ClusterError(
                f"the cluster at {self.head} does not do that ({reason}); check --head, the"
                " dashboard's URL, and its token: ~/.ray/auth_token and RAY_AUTH_MODE=token"
            ) from error


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # Ray's client tells of uploads and connections
    raise SystemExit(main(sys.argv[1:]))
