"""Rehearse a trial in a process of its own: how long steps take, and the memory of a worker.

The process loads what a worker loads and does what a worker does, while as many others compute as
there will be trials at once. It has ended before the first worker starts.
"""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

# Nothing here loads torch or Ray: the process is started before its parent loads them itself.
if TYPE_CHECKING:
    from tuning.config import Configuration
    from tuning.trainable import SearchData

_MOST_SIZES = 3
"""Batch sizes that are timed; between them the seconds of a step are interpolated."""
_KILLED = -9


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a worker of the search took with one encoder; times in seconds."""

    steps: Mapping[int, float]
    """Mean time of an optimizer step on typical batches, by batch size."""
    evaluation: float
    """Time of an evaluation on all validation rows of the search."""
    checkpoint: float
    """Time in which one checkpoint is written."""
    between: float
    """Time between two trainings in one process, without Ray's share."""
    memory: int
    """Peak of the process, which holds all encoders: bytes on the GPU, else of main memory."""
    card_memory: int | None
    """Bytes that the GPU has; None: there is none."""
    batch_size: int
    """The largest."""
    longest_row: int
    """Tokens."""
    seconds_of_largest: float
    """Time of one step with the largest batch of the longest rows."""
    num_parameters: int
    at_once: int
    """Processes that computed at the same time, this one included."""
    seconds: float
    """Time of the rehearsal itself."""
    build: float
    """Time in which the model is built, when a process first trains it."""
    others: Mapping[str, "Rehearsal"] = field(default_factory=dict)
    """Those of the further encoders of the search, by name; this one is of trial 0's."""
    sharers: int = 1
    """Trials that share a GPU."""

    def of(self, model: str | None) -> "Rehearsal":
        """Return the rehearsal of an encoder; None: trial 0's."""
        return self.others.get(model or "", self)

    def seconds_a_step(self, batch_size: int) -> float:
        """Return the time of a step, interpolated between the batch sizes that were timed."""
        sizes = sorted(self.steps)
        if batch_size > sizes[-1]:
            return self.steps[sizes[-1]] * batch_size / sizes[-1]
        return float(np.interp(batch_size, sizes, [self.steps[size] for size in sizes]))

    def sharing(self, gpus: float) -> Self:
        """Return the same for a trial that has a share of a GPU, on which trials take turns."""
        num = int(1 / gpus) if 0 < gpus < 1 else 1
        steps = {size: seconds * num for size, seconds in self.steps.items()}
        others = {name: one.sharing(gpus) for name, one in self.others.items()}
        return replace(
            self, steps=steps, evaluation=self.evaluation * num, others=others, sharers=num
        )

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return what `to_json` wrote."""
        return cls._of(json.loads(text))

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> Self:
        steps = {int(size): seconds for size, seconds in fields["steps"].items()}
        others = {name: cls._of(one) for name, one in fields["others"].items()}
        return cls(**{**fields, "steps": steps, "others": others})


@dataclass(kw_only=True)
class RehearsalProcess:
    """A process that loads its libraries at once, and rehearses when it is given the data."""

    process: subprocess.Popen[bytes]

    def run(self, configuration: "Configuration", data: "SearchData", at_once: int) -> Rehearsal:
        """Rehearse a trial of each encoder; the process has ended when this returns.

        Args:
            configuration: of the search.
            data: what its trials share.
            at_once: trials that will run at once on this machine.

        Raises:
            MemoryError: the largest batch of an encoder does not fit in memory; it is named.
            RuntimeError: the process failed otherwise, with the reason.
        """
        assert self.process.stdin is not None
        task = (data, configuration.training, batch_sizes(configuration), at_once)
        with suppress(BrokenPipeError):  # its exit code gives the reason
            pickle.dump(task, self.process.stdin)
        out, _ = self.process.communicate()
        lines = out.decode(errors="replace").splitlines()
        answer = json.loads(lines[-1]) if lines and not self.process.returncode else {}
        if answer.get("is_memory") or self.process.returncode == _KILLED:
            encoder = answer.get("encoder", "an encoder")
            raise MemoryError(f"the largest batch of {encoder} does not fit in memory")
        if "found" not in answer:
            raise RuntimeError(answer.get("problem") or f"exit code {self.process.returncode}")
        return Rehearsal.from_json(answer["found"])

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


@contextmanager
def rehearsal_process() -> Iterator[RehearsalProcess]:
    """Run the process during a `with` block; it loads its libraries at once."""
    path = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tuning.trial_rehearsal"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    rehearsal = RehearsalProcess(process=process)
    try:
        yield rehearsal
    finally:
        rehearsal.close()


def batch_sizes(configuration: "Configuration") -> list[int]:
    """Return the batch sizes to time, ascending: those of the space and of trial 0, at most 3."""
    domain = configuration.search.space.get("batch_size")
    searched = () if domain is None else domain.choice or domain.bounds
    numbers = (int(size) for size in searched if isinstance(size, int | float))
    sizes = sorted({configuration.training.batch_size, *numbers})
    if len(sizes) <= _MOST_SIZES:
        return sizes
    return [sizes[0], sizes[len(sizes) // 2], sizes[-1]]
