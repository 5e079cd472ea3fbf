"""The check of what ships, in a process beside the start of Ray and its workers.

It takes seconds, most of them for the export as ONNX, and has no other work to wait for. Another
process, since libraries that it asks change what is global to one: generators, threads, streams.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from results.run import TRIED_MODEL
from training.config import WinningConfiguration
from training.errors import InputError
from training.shipping import Shipment
from tuning.config import Configuration
from tuning.preparation import Preparation

logger = logging.getLogger(__name__)

_NUM_TEXTS = 4


def shipment_of(configuration: Configuration, preparation: Preparation) -> Shipment:
    """What a search will ship, with some of its training texts, short ones and long ones."""
    texts = preparation.data.train.texts
    by_length = np.argsort([len(text) for text in texts], kind="stable")
    spread = np.linspace(0, len(texts) - 1, min(_NUM_TEXTS, len(texts))).astype(np.int64)
    return Shipment(
        config=preparation.search_data.encoder.config,
        tokenizer=preparation.tokenizer,
        configuration=WinningConfiguration(
            data=configuration.data, model=configuration.model, training=configuration.training
        ),
        texts=[texts[place] for place in by_length[spread]],
    )


@dataclass(kw_only=True)
class ShippingCheck:
    """One check: it may be asked at any time whether something was found, and be waited for."""

    _process: subprocess.Popen[str]
    _scratch: Path | None = field(default=None, init=False)
    """What is tried is written here, and what the process is to read."""
    _error: Exception | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)
    _began: float = field(default=0.0, init=False)
    _outcome: str = field(default="what ships could not be tried", init=False)

    def begin(self, shipment: Shipment, directory: Path) -> None:
        """Hand over what is checked; the process has loaded its libraries meanwhile.

        Args:
            shipment: what the search will ship.
            directory: of the run: there it is written, and removed again.

        Raises:
            OSError: the directory cannot be written.
        """
        self._began = time.monotonic()
        self._scratch = Path(tempfile.mkdtemp(dir=directory, prefix=TRIED_MODEL))
        path = self._scratch / "shipment.pickle"
        path.write_bytes(pickle.dumps((shipment, self._scratch)))
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # what it died of is read from how it ended
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.close()

    def close(self) -> None:
        """End the process, and remove what is left of the trial."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def error(self) -> Exception | None:
        """What was found, if anything was by now; safe to ask often."""
        if not self._is_over and self._process.poll() is not None:
            self._conclude()
        return self._error

    def require(self) -> str:
        """Wait for the end; return a line about it.

        Raises:
            InputError: what ships would not answer as in training, or not at all.
            OSError: the run's directory cannot be written, or memory is out.
        """
        waits_from = time.monotonic()
        self._process.wait()
        waited = time.monotonic() - waits_from
        if (error := self.error()) is not None:
            raise error
        return f"{self._outcome}, {waited:.1f} s of it waited for"

    def _conclude(self) -> None:
        self._is_over = True
        assert self._process.stdout is not None
        lines = self._process.stdout.read().splitlines()
        if self._process.returncode or not lines:
            logger.warning(
                "what the search will ship could not be tried before it (the process ended with"
                " code %s)",
                self._process.returncode,
            )
            return
        said = json.loads(lines[-1])
        if problem := said.get("problem"):
            self._error = InputError(problem)
        elif environment := said.get("environment"):
            self._error = OSError(environment)
        else:
            seconds = time.monotonic() - self._began
            self._outcome = f"a small copy was saved, loaded and run in {seconds:.1f} s"
            if warning := said["warning"]:
                logger.warning("%s", warning)


@contextmanager
def shipping_check() -> Iterator[ShippingCheck]:
    """A process that loads its libraries, for the time of a `with` block; then it is ended."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "training.shipping"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    check = ShippingCheck(_process=process)
    try:
        yield check
    finally:
        check.close()
