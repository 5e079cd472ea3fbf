"""Join a running Ray, or start one of its own on this machine."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray._private import worker as ray_worker
from ray.job_config import JobConfig

from cluster.addresses import ClusterError, address_to_join
from cluster.nodes import packages_to_send
from cluster.resources import NAMESPACE

logger = logging.getLogger(__name__)

_TOLD_BY_THE_SEARCH = ("A worker died or was killed",)
"""Beginnings of messages about what a search says itself, with the trial that it happened to."""
_NUMBERS = re.compile(r"\b[0-9a-f]{8,}\b|\d+")
_MOST_CHARACTERS = 300


def log_messages() -> None:
    """Log what Ray's servers tell instead of printing it: whole in detail, a kind once in short."""
    # Ray has no setting for these, unlike for what workers print.
    ray_worker.print_to_stdstream = message_logger()


def message_logger() -> Callable[..., None]:
    """A function that takes Ray's messages, and remembers which kinds it has told."""
    told: set[str] = set()

    def log(data: Mapping[str, Any], **_: Any) -> None:
        for message in map(str, data["lines"]):
            text = " ".join(message.split())
            logger.debug("Ray: %s", text)
            kind = _NUMBERS.sub("#", text)[:80]
            if kind not in told and not text.startswith(_TOLD_BY_THE_SEARCH):
                told.add(kind)
                logger.warning("Ray says: %s", text[:_MOST_CHARACTERS])

    return log


_TIMEOUT_S = 10.0
_CONNECTS_WITHIN_S = 60.0
_CONNECT = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=50)
"""
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in what it runs as a job."""


@contextmanager
def ray_session(
    address: str | None, *, metadata: Mapping[str, str] | None = None
) -> Iterator[str | None]:
    """Connect to Ray for the time of a `with` block.

    Args:
        address: `auto` or HOST:PORT of a running Ray; None: the one that RAY_ADDRESS names, else
            one of its own is started.
        metadata: what the dashboard shows of the job beside its command.

    Yields:
        Address of the dashboard, HOST:PORT; None where the package has none.

    Raises:
        ClusterError: no Ray answers at that address, or none can be started.
    """
    joined = address_to_join(address)
    _quiet_defaults()
    log_messages()
    with ExitStack() as until_connected:
        settings: dict[str, Any] = {"job_config": JobConfig(metadata=dict(metadata or {}))}
        if joined is not None and not _sends_code():
            modules = until_connected.enter_context(packages_to_send())
            settings["runtime_env"] = {"py_modules": modules}
        try:
            if joined is not None:
                _check_answers(joined)
                if _JOB not in os.environ:
                    _check_connects(joined)
            context = ray.init(
                address=joined or "local",
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **settings,
            )
        except (ValueError, RuntimeError, OSError, OverflowError) as error:
            raise _not_connected(joined, is_configured=address == joined, error=error) from error
    try:
        yield context.dashboard_url or None
    finally:
        with _without_stderr():
            ray.shutdown()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Keep what native code says off the terminal: Ray tells of tasks that its own end fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def check_not_connected() -> None:
    """Make sure that this process has no connection to Ray, of which it can have one.

    Raises:
        ClusterError: it has.
    """
    if ray.is_initialized():
        raise ClusterError(
            "Ray is already initialised in this process, but a search makes a connection of its"
            " own and ends it; call ray.shutdown() before, and give the address of a Ray that is"
            " to be joined as cluster.address"
        )


def _sends_code() -> bool:
    """Whether this runs as a job whose submitter has sent the program already."""
    job = json.loads(os.environ.get(_JOB) or "{}")
    return "py_modules" in (job.get("runtime_env") or {})


def _not_connected(
    address: str | None, *, is_configured: bool, error: BaseException
) -> ClusterError:
    reason = " ".join(str(error).split())[:200]
    if address is None:
        return ClusterError(
            f"Ray could not be started on this machine ({reason}); free memory and disk, or"
            " give the address of a cluster"
        )
    name = "cluster.address" if is_configured else "RAY_ADDRESS"
    if "InvalidAuthToken" in f"{error} {error.__cause__}":
        return ClusterError(
            f"{name} is {address!r}, but that Ray wants its token, and there is none here or"
            " another one; copy ~/.ray/auth_token from its head node, and set RAY_AUTH_MODE=token"
        )
    return ClusterError(
        f"{name} is {address!r}, but no Ray could be reached there ({reason}); check"
        " `ray status` on that host, or leave the address out"
    )


def _check_answers(address: str) -> None:
    """Ray itself tries a dead address for minutes, with a dozen lines of its own."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S).close()


def _check_connects(address: str) -> None:
    """Connect once in a process of its own.

    Where the cluster hangs, Ray's native code answers no signal, and where a node does, it ends
    the whole process; a refused token it tells of once a second.

    Raises:
        ConnectionError: no connection came about; its message has Ray's words.
    """
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _CONNECT, address],
            capture_output=True,
            text=True,
            timeout=_CONNECTS_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(f"no answer within {_CONNECTS_WITHIN_S:g} s") from error
    if tried.returncode != 0:
        told = tried.stderr.strip() or f"Ray ended with code {tried.returncode}"
        reason = "InvalidAuthToken" if "InvalidAuthToken" in told else told.splitlines()[-1]
        raise ConnectionError(reason)


def _quiet_defaults() -> None:
    """What the user has not set: no usage statistics, no second copy of results on disk."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_WARN_THRESHOLD_S": "30",
        # A lost worker is told in a line of ours, not by a traceback.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        # Our driver starts no more trials than there is room for; by default Tune starts one
        # process after the other, seconds each.
        "TUNE_MAX_PENDING_TRIALS_PG": "100000",
        # Seconds that a trial is waited for once the search has ended.
        "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
        # Tune's own progress would stand between our lines.
        "RAY_AIR_NEW_OUTPUT": "0",
        # Relative paths of models and data mean the same in a worker.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }.items():
        os.environ.setdefault(name, value)
