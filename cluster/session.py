"""Join a running Ray, or start one of its own on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from cluster.errors import ClusterError


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
        context = ray.init(
            address=address or "local", log_to_driver=False, logging_level=logging.ERROR
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ClusterError(
            f"cluster.address is {address!r}, but no Ray could be reached there ({reason}); check"
            " `ray status` on that host, or leave the address out"
        ) from error
    try:
        yield context.dashboard_url or None
    finally:
        ray.shutdown()


def _quiet_defaults() -> None:
    """What the user has not set: no usage statistics, no second copy of results on disk."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_WARN_THRESHOLD_S": "30",
        # Seconds that a trial is waited for once the search has ended.
        "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
        # Tune's own progress would stand between our lines.
        "RAY_AIR_NEW_OUTPUT": "0",
        # Relative paths of models and data mean the same in a worker.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }.items():
        os.environ.setdefault(name, value)
