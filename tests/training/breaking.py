"""A training in its own process that can kill itself: `python -m tests.training.breaking`."""

import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from tests.training.models import toy_task, toy_training
from training.finetune import FineTuned, finetune
from training.metrics import Evaluation

ROWS = 320  # 20 steps an epoch
EVALUATE_AT = tuple(range(ROWS // 4, 3 * ROWS + 1, ROWS // 4))  # every fifth step


def train(checkpoint: Path | None, *, kill: str = "") -> FineTuned:
    """Train on the toy rows with dropout.

    Args:
        checkpoint: directory of the checkpoint.
        kill: `step N`: after step N; `evaluation N`: when evaluation N is reported;
            `write N`: in the middle of the write after evaluation N.
    """
    what, _, number = kill.partition(" ")
    steps: list[int] = []
    reported: list[Evaluation] = []

    def at_step() -> bool:
        steps.append(1)
        if what == "step" and len(steps) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    def at_evaluation(evaluation: Evaluation) -> None:
        reported.append(evaluation)
        if what == "evaluation" and len(reported) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "write" and len(reported) == int(number):
            _die_beyond(100_000)

    tuned = finetune(
        toy_task(ROWS),
        toy_training(),
        evaluate_at=EVALUATE_AT,
        on_evaluation=at_evaluation,
        checkpoint=checkpoint,
        checkpoint_share=1.0,
        should_stop=at_step,
    )
    assert reported == list(tuned.evaluations)
    return tuned


def _die_beyond(num_bytes: int) -> None:
    """Let the system kill this process when it writes a longer file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def main(checkpoint: str, result: str, kill: str) -> None:
    tuned = train(Path(checkpoint), kill=kill)
    evaluations = json.dumps([asdict(evaluation) for evaluation in tuned.evaluations])
    end = {"weights": tuned.model.state_dict(), "evaluations": evaluations}
    torch.save(end | {"fixed_rows_loss": tuned.fixed_rows_loss}, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
