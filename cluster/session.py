"""Connect to Ray for a search: join a running one, or start one on this machine."""

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

_REPORTED_BY_THE_SEARCH = ("A worker died or was killed",)
"""Starts of messages whose events the search reports itself, with the trial."""
_NUMBERS = re.compile(r"\b[0-9a-f]{8,}\b|\d+")
_MOST_CHARACTERS = 300


def log_messages() -> None:
    """Log the messages of Ray's servers instead of printing them."""
    # Ray has a setting for the output of workers, but none for these.
    ray_worker.print_to_stdstream = message_logger()


def message_logger() -> Callable[..., None]:
    """Return a function that logs Ray's messages: each as a detail, each kind once as a warning."""
    logged: set[str] = set()

    def log(data: Mapping[str, Any], **_: Any) -> None:
        for message in map(str, data["lines"]):
            text = " ".join(message.split())
            logger.debug("Ray: %s", text)
            kind = _NUMBERS.sub("#", text)[:80]
            if kind not in logged and not text.startswith(_REPORTED_BY_THE_SEARCH):
                logged.add(kind)
                logger.warning("Ray reports: %s", text[:_MOST_CHARACTERS])

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
        address: `auto` or HOST:PORT of a running Ray; None: the Ray that RAY_ADDRESS names, if it
            is set, else a new one.
        metadata: what the dashboard displays of the job, besides its command.

    Yields:
        Address of the dashboard, HOST:PORT; None: the dashboard is not installed.

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
    """Discard the output of native code: at its end, Ray reports tasks that the end makes fail."""
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
    """Check that this process has no connection to Ray; it can have only one.

    Raises:
        ClusterError: the process is connected.
    """
    if ray.is_initialized():
        raise ClusterError(
            "Ray is already initialised in this process, but a search makes a connection of its"
            " own and ends it; call ray.shutdown() before, and give the address of the Ray to join"
            " as cluster.address"
        )


def _sends_code() -> bool:
    """Return whether this process is a job whose submitter has already sent the program."""
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
            f"{name} is {address!r}, but that Ray wants its token, and this machine has none or"
            " another one; copy ~/.ray/auth_token from its head node, and set RAY_AUTH_MODE=token"
        )
    return ClusterError(
        f"{name} is {address!r}, but no Ray could be reached there ({reason}); check"
        " `ray status` on that host, or leave the address out"
    )


def _check_answers(address: str) -> None:
    """Connect to the port; Ray itself retries a dead address for minutes and prints many lines.

    Raises:
        OSError: nothing answers there.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S).close()


def _check_connects(address: str) -> None:
    """Connect once in a process of its own, which can be killed.

    If the cluster hangs, Ray's native code answers no signal; if a node hangs, Ray ends the whole
    process; and Ray prints once a second that a token is refused.

    Raises:
        ConnectionError: the connection failed; the message is Ray's.
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
        message = tried.stderr.strip() or f"Ray ended with code {tried.returncode}"
        reason = "InvalidAuthToken" if "InvalidAuthToken" in message else message.splitlines()[-1]
        raise ConnectionError(reason)


def _quiet_defaults() -> None:
    """Set defaults for what the user has not set, such as no usage statistics."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_WARN_THRESHOLD_S": "30",
        # A lost worker is reported in a line of the search, not by a traceback.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        # Our driver starts no more trials than fit; by default Tune starts one process after the
        # other, seconds each.
        "TUNE_MAX_PENDING_TRIALS_PG": "100000",
        # Seconds to wait for a trial when the search has ended.
        "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
        # Tune's own progress would be printed between our lines.
        "RAY_AIR_NEW_OUTPUT": "0",
        # Relative paths of models and data have the same meaning in a worker.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }.items():
        os.environ.setdefault(name, value)
