"""Join a running Ray, or start one of its own on this machine."""

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig

from cluster.addresses import address_to_join
from cluster.code import packages_to_send
from cluster.errors import ClusterError
from cluster.sharing import NAMESPACE

_TIMEOUT_S = 10.0
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
    with ExitStack() as until_connected:
        settings: dict[str, Any] = {"job_config": JobConfig(metadata=dict(metadata or {}))}
        if joined is not None and not _sends_code():
            modules = until_connected.enter_context(packages_to_send())
            settings["runtime_env"] = {"py_modules": modules}
        try:
            _check_answers(joined)
            until_connected.enter_context(_native_messages_dropped())
            context = ray.init(
                address=joined or "local",
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **settings,
            )
        except (ValueError, RuntimeError, OSError, OverflowError) as error:
            raise _not_connected(
                joined, is_from_environment=address is None, error=error
            ) from error
    try:
        yield context.dashboard_url or None
    finally:
        ray.shutdown()


def _sends_code() -> bool:
    """Whether this runs as a job whose submitter has sent the program already."""
    job = json.loads(os.environ.get(_JOB) or "{}")
    return "py_modules" in (job.get("runtime_env") or {})


def _not_connected(
    address: str | None, *, is_from_environment: bool, error: BaseException
) -> ClusterError:
    reason = " ".join(str(error).split())[:200]
    if address is None:
        return ClusterError(
            f"Ray could not be started on this machine ({reason}); free memory and disk, or"
            " give the address of a cluster"
        )
    name = "RAY_ADDRESS" if is_from_environment else "cluster.address"
    if "InvalidAuthToken" in f"{error} {error.__cause__}":
        return ClusterError(
            f"{name} is {address!r}, but that Ray wants its token, and there is none here or"
            " another one; copy ~/.ray/auth_token from its head node, and set RAY_AUTH_MODE=token"
        )
    return ClusterError(
        f"{name} is {address!r}, but no Ray could be reached there ({reason}); check"
        " `ray status` on that host, or leave the address out"
    )


def _check_answers(address: str | None) -> None:
    """Ray itself tries a dead address for minutes, with a dozen lines of its own."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S).close()


@contextmanager
def _native_messages_dropped() -> Iterator[None]:
    """Ray's native code tells of a refused token once a second; we tell of it once."""
    sys.stderr.flush()
    before = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)


def _quiet_defaults() -> None:
    """What the user has not set: no usage statistics, no second copy of results on disk."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_WARN_THRESHOLD_S": "30",
        # A lost worker is told in a line of ours, not by a traceback.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        # Our conductor begins no more trials than there is room for; by default Tune starts one
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
