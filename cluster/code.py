"""The program itself, as it is sent to the nodes of a cluster."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("cluster", "evaluation", "results", "training", "tuning")
_LEFT_OUT = ("runs", "__pycache__")
"""`results/runs` of a checkout holds everything that was ever trained there."""


@contextmanager
def packages_to_send() -> Iterator[list[str]]:
    """Copies of our packages, for Ray's `py_modules`, for the time of a `with` block.

    Of a checkout as of an installed program, so that workers run what the driver runs, whatever
    version is installed on their node; libraries have to be there.
    """
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix="packages-") as scratch:
        for name in PACKAGES:
            shutil.copytree(
                here / name, Path(scratch) / name, ignore=shutil.ignore_patterns(*_LEFT_OUT)
            )
        yield [f"{scratch}/{name}" for name in PACKAGES]
