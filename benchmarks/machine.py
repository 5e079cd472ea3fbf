"""On what a figure was measured."""

import os
import platform
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Platform, number of CPUs and Python of this machine."""
    return {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }
