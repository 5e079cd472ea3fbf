"""Which Ray a search joins: the configured one, else the one that the environment names."""

import os

ENVIRONMENT = "RAY_ADDRESS"
"""Ray's own variable, which it sets for its jobs, too."""


def address_to_join(configured: str | None) -> str | None:
    """`auto` or HOST:PORT of the Ray to join; None, as by `local`: one of our own is started."""
    address = configured
    if configured in (None, "auto"):  # as Ray has it
        address = os.environ.get(ENVIRONMENT) or configured
    return None if address == "local" else address


def problem_of_address(configured: str | None) -> str:
    """What is wrong with the address, in one line, or nothing."""
    address = address_to_join(configured)
    if address is None or "://" not in address:
        return ""
    name = "address" if address == configured else f"the environment's {ENVIRONMENT}"
    # Tune would run inside the cluster there, and the run's files with it.
    host = address.partition("://")[2].rpartition(":")[0] or "HEAD"
    head = address if address.startswith("http") else f"http://{host}:8265"
    scheme = address.partition("://")[0]
    return (
        f"{name} is {address!r}, but must be auto, local or HOST:PORT: through {scheme}:// the"
        f" search would not run here; submit it as a job: python -m cluster.submit --head {head}"
        " OPTIONS"
    )
