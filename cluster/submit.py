"""`python -m cluster.submit`: a search, or the final evaluation, as a job of a Ray cluster."""

import argparse
import logging
import os
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn

from cluster.errors import ClusterError

if TYPE_CHECKING:
    from cluster.jobs import Jobs

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
    from cluster.jobs import Jobs  # after -h, which needs none of Ray

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


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # Ray's client tells of uploads and connections
    raise SystemExit(main(sys.argv[1:]))
