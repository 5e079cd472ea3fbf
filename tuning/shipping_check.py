"""Check, in a process beside the search, that its models can be saved, exported and run.

Each searched encoder is checked, one after the other. A check takes seconds, most of them for the
ONNX export, and runs while Ray and its workers start. It needs a process of its own because the
libraries that it calls change the process that they run in: random generators, threads, output
streams.
"""

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from results.run import MODEL_CHECK_PREFIX
from training.config import WinningConfiguration
from training.errors import InputError
from training.shipping import Shipment
from tuning.config import Configuration
from tuning.preparation import Preparation

logger = logging.getLogger(__name__)

_NUM_TEXTS = 4


def shipments_of(configuration: Configuration, preparation: Preparation) -> list[Shipment]:
    """Return what the search will ship if each of its encoders wins.

    The texts are a few training texts of every length.
    """
    texts = preparation.data.train.texts
    by_length = np.argsort([len(text) for text in texts], kind="stable")
    spread = np.linspace(0, len(texts) - 1, min(_NUM_TEXTS, len(texts))).astype(np.int64)
    return [
        Shipment(
            config=one.prepared.encoder.config,
            tokenizer=one.tokenizer,
            configuration=WinningConfiguration(
                data=configuration.data,
                model=one.prepared.model,
                training=configuration.training,
            ),
            texts=[texts[index] for index in by_length[spread]],
        )
        for one in preparation.encoders.values()
    ]


@dataclass(kw_only=True)
class ShippingCheck:
    """A check in a process of its own; `error()` polls it and `require()` waits for it."""

    _process: subprocess.Popen[str]
    _scratch: Path | None = field(default=None, init=False)
    """Directory of the shipment and of the model that the process checks."""
    _error: Exception | None = field(default=None, init=False)
    _is_finished: bool = field(default=False, init=False)
    _started_at: float = field(default=0.0, init=False)
    _num_models: int = field(default=1, init=False)
    _outcome: str = field(default="the model to ship could not be checked", init=False)

    def start(self, shipments: Sequence[Shipment], directory: Path) -> None:
        """Give the process the shipments; it has loaded its libraries meanwhile.

        Args:
            shipments: of each encoder, what the search will ship if that one wins.
            directory: the run's directory, which holds the tried models until the check is closed.

        Raises:
            OSError: the directory cannot be written.
        """
        self._started_at = time.monotonic()
        self._scratch = Path(tempfile.mkdtemp(dir=directory, prefix=MODEL_CHECK_PREFIX))
        path = self._scratch / "shipment.pickle"
        path.write_bytes(pickle.dumps((shipments, self._scratch)))
        self._num_models = len(shipments)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its exit code gives the reason later
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.close()

    def close(self) -> None:
        """End the process and remove its files."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def error(self) -> Exception | None:
        """Return the error that the check has found so far; cheap enough to call in a loop."""
        if not self._is_finished and self._process.poll() is not None:
            self._conclude()
        return self._error

    def require(self) -> str:
        """Wait until the check has ended; return its outcome as a line for the log.

        Raises:
            InputError: the shipped model would fail or give other outputs than in training.
            OSError: the run's directory cannot be written, or memory has run out.
        """
        wait_started_at = time.monotonic()
        self._process.wait()
        waited = time.monotonic() - wait_started_at
        if (error := self.error()) is not None:
            raise error
        return f"{self._outcome}; the search waited {waited:.1f} s for it"

    def _conclude(self) -> None:
        self._is_finished = True
        assert self._process.stdout is not None
        lines = self._process.stdout.read().splitlines()
        if self._process.returncode or not lines:
            logger.warning(
                "the model to ship could not be checked before the search (the process ended with"
                " code %s)",
                self._process.returncode,
            )
            return
        answer = json.loads(lines[-1])
        if problems := answer.get("problems"):
            self._error = InputError(*problems)
        elif environment := answer.get("environment"):
            self._error = OSError(environment)
        else:
            seconds = time.monotonic() - self._started_at
            self._outcome = describe_checked(self._num_models, seconds)
            for warning in answer["warnings"]:
                logger.warning("%s", warning)


def describe_checked(num_models: int, seconds: float) -> str:
    """Describe the check of the models to ship, which has found nothing."""
    if num_models == 1:
        return f"a small copy of the model was saved, loaded and run in {seconds:.1f} s"
    return f"small copies of {num_models} encoders were saved, loaded and run in {seconds:.1f} s"


def start_process(module: str, *, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    """Run a module of ours beside the search, on one core and no GPU, with pipes for its data.

    Args:
        module: its dotted name.
        stderr: as of `subprocess.Popen`.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        text=True,
    )


@contextmanager
def shipping_check() -> Iterator[ShippingCheck]:
    """Run the process of a check during a `with` block; it loads its libraries at once."""
    check = ShippingCheck(_process=start_process("training.shipping"))
    try:
        yield check
    finally:
        check.close()
