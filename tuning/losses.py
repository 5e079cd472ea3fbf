"""Processes and nodes that were lost: why, and what to do before trying again."""

import os
import re
import time
from pathlib import Path

from ray.tune.experiment import Trial as RayTrial

from tuning.conductor import Conductor

NO_MEMORY = "its node ran out of memory"
_LONGEST_WAIT_S = 30.0


class NodeOutOfMemoryError(Exception):
    """Ray ended a worker for its node's memory, and Tune with it, which knows no such error."""


def wait_for_memory(conductor: Conductor, count: int) -> None:
    """Let what took the memory end: tried again at once, all tries are spent in moments.

    Args:
        conductor: no more is waited once its phase ends.
        count: of the loss, from 1: 4 seconds, 16, then 30.
    """
    ends = time.monotonic() + min(4.0**count, _LONGEST_WAIT_S)
    while time.monotonic() < ends and not conductor.is_ending:
        time.sleep(0.1)


def kind_of_loss(trial: RayTrial) -> str:
    """Why the trial's process was lost the last time, in Ray's words without its numbers."""
    # Not by `get_error`: that one reads a copy, which is made later.
    file = Path(trial.error_file or os.devnull)
    text = file.read_text("utf-8", errors="replace") if file.exists() else ""
    text = text.rpartition("Failure #")[2]
    if "memory usage threshold" in text or "OutOfMemory" in text:
        return NO_MEMORY
    lines = text.strip().splitlines() or ["no reason known"]
    reasons = [line for line in lines if "is dead because" in line]
    sentence = (reasons or lines)[-1].strip().partition(". ")[0].rstrip(".")
    return re.sub(r" [0-9a-f]{8,}|\d[\d.:]*", "", sentence)[:200]
