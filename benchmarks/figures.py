"""Options and files that the benchmark commands share: lists of sizes, the machine, JSON.

Only light modules are imported: `benchmarks.predict` measures memory, and a child process is
charged with the memory of the parent that starts it.
"""

import json
import os
import platform
from collections.abc import Mapping
from typing import Any, BinaryIO

from training.errors import InputError


def whole_numbers(text: str, *, option: str) -> list[int]:
    """Parse numbers above 0 from a text such as `100,1000`.

    Raises:
        InputError: a part of the text is no such number.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise InputError(f"{option} is {text!r}, but must be numbers above 0, such as 100,1000")
    return [int(part) for part in parts]


def describe_machine() -> dict[str, Any]:
    """Return platform, number of CPUs and Python of this machine."""
    return {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }


def write_figures(file: BinaryIO, figures: Mapping[str, Any]) -> None:
    """Write the figures as JSON."""
    file.write((json.dumps(figures, indent=2) + "\n").encode())
