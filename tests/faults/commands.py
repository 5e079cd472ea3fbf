"""Run commands in this process as their entry modules do, with limits of time and memory."""

import importlib
import logging
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest
import torch

from cluster.addresses import ClusterError
from evaluation.predicted_rows import ModelBrokenError
from results.errors import RunError
from results.log import PACKAGES
from training.cli import run_command

LONGEST_SECONDS = 60
"""Of one command: far more than the slowest takes on a busy machine."""
MOST_MEMORY = 4 * 2**30
"""Bytes of address space that a command may request beyond those of the process."""

_BAD_INPUT: dict[str, tuple[type[Exception], ...]] = {
    "tuning.search": (RunError,),
    "tuning.status": (RunError,),
    "evaluation.final": (RunError,),
}
_ENVIRONMENT: dict[str, tuple[type[Exception], ...]] = {
    "tuning.search": (ClusterError,),
    "evaluation.predict": (torch.OutOfMemoryError, ModelBrokenError),
    "evaluation.final": (torch.OutOfMemoryError,),
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float


class TookTooLongError(BaseException):
    """The command ran too long; no `except Exception` of a library catches it."""


def run_here(capfd: pytest.CaptureFixture[str], module: str, arguments: Sequence[str]) -> Ended:
    """Run `python -m MODULE ARGUMENTS` in this process."""
    main = importlib.import_module(module).main
    return run_main(capfd, main, arguments, module=module)


def run_main(
    capfd: pytest.CaptureFixture[str],
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    *,
    module: str,
) -> Ended:
    """Run a function as the command `module` runs its `main`."""
    before, sys.argv = sys.argv, ["command", *arguments]
    capfd.readouterr()
    started_at = time.monotonic()
    try:
        with _limits(), warnings.catch_warnings():
            warnings.simplefilter("default")  # as in a process: printed, not raised
            warnings.showwarning = _show  # otherwise pytest collects them
            code = run_command(
                main,
                bad_input=_BAD_INPUT.get(module, ()),
                environment=_ENVIRONMENT.get(module, ()),
            )
    except SystemExit as ended:  # argparse's own end
        code = int(ended.code or 0)
    finally:
        sys.argv = before
        _forget_loggers()
    captured = capfd.readouterr()
    return Ended(
        code=code, stdout=captured.out, stderr=captured.err, seconds=time.monotonic() - started_at
    )


def _show(message: Warning | str, category: type[Warning], *_: object) -> None:
    if not issubclass(category, DeprecationWarning | PendingDeprecationWarning | ResourceWarning):
        print(f"{category.__name__}: {message}", file=sys.stderr)


@contextmanager
def _limits() -> Iterator[None]:
    """Set an alarm, and a limit of memory far above the needs of such a command."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLongError(f"still running after {LONGEST_SECONDS} s")

    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MOST_MEMORY, hard))
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _forget_loggers() -> None:
    for name in PACKAGES:
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            handler.close()
        logger.handlers, logger.propagate = [], True
