"""Join a running Ray, or start one of its own on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from cluster.errors import ClusterError

_TIMEOUT_S = 10.0


@contextmanager
def ray_session(address: str | None) -> Iterator[str | None]:
    """Connect to Ray for the time of a `with` block.

    Args:
        address: `auto` or HOST:PORT of a running Ray; None: start one of its own.

    Yields:
        Address of the dashboard, HOST:PORT; None where the package has none.

    Raises:
        ClusterError: no Ray answers at that address, or none can be started.
    """
    _quiet_defaults()
    try:
        _check_answers(address)
        context = ray.init(
            address=address or "local", log_to_driver=False, logging_level=logging.ERROR
        )
    except (ValueError, RuntimeError, OSError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        if address is None:
            raise ClusterError(
                f"Ray could not be started on this machine ({reason}); free memory and disk, or"
                " give the address of a cluster"
            ) from error
        raise ClusterError(
            f"cluster.address is {address!r}, but no Ray could be reached there ({reason}); check"
            " `ray status` on that host, or leave the address out"
        ) from error
    try:
        yield context.dashboard_url or None
    finally:
        ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Ray itself tries a dead address for minutes, with a dozen lines of its own."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S).close()


def _quiet_defaults() -> None:
    """What the user has not set: no usage statistics, no second copy of results on disk."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_WARN_THRESHOLD_S": "30",
        # A lost worker is told in a line of ours, not by a traceback.
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        # Seconds that a trial is waited for once the search has ended.
        "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
        # Tune's own progress would stand between our lines.
        "RAY_AIR_NEW_OUTPUT": "0",
        # Relative paths of models and data mean the same in a worker.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }.items():
        os.environ.setdefault(name, value)
