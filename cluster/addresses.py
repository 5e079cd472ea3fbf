"""Find the Ray that a search joins, from its configuration or the environment. Loads no Ray."""

import os

ENVIRONMENT = "RAY_ADDRESS"
"""Ray's own variable. Ray also sets it for its jobs."""


class ClusterError(RuntimeError):
    """Ray cannot be reached, started or kept; the message is one line for the user."""


def address_to_join(configured: str | None) -> str | None:
    """Return `auto` or HOST:PORT of the Ray to join; None: the search starts a Ray of its own."""
    address = configured
    if configured in (None, "auto"):  # Ray reads the variable in the same two cases
        address = os.environ.get(ENVIRONMENT) or configured
    return None if address == "local" else address


def problem_of_address(configured: str | None) -> str:
    """Return what is wrong with the address, in one line; empty if nothing is."""
    address = address_to_join(configured)
    if address is None or "://" not in address:
        return ""
    name = "address" if address == configured else f"the environment's {ENVIRONMENT}"
    # Through a URI, Tune and the run's files would be on the cluster.
    host = address.partition("://")[2].rpartition(":")[0] or "HEAD"
    head = address if address.startswith("http") else f"http://{host}:8265"
    scheme = address.partition("://")[0]
    return (
        f"{name} is {address!r}, but must be auto, local or HOST:PORT: through {scheme}:// the"
        f" search would not run here; submit it as a job: python -m cluster.submit --head {head}"
        " OPTIONS"
    )
