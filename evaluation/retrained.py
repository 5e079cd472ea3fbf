"""The retrain of the winner, and the record it leaves."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from evaluation.retrain import RetrainError, retrain
from evaluation.winner import Winner
from results.files import write_json
from results.tensorboard import CurveWriter
from training.config import TrainingConfig
from training.finetune import FineTuned
from training.metrics import Evaluation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """The retrained winner and how it came to be."""

    tuned: FineTuned
    training: TrainingConfig
    history: Sequence[Evaluation]
    """Made on the fixed training rows."""
    rejected: Sequence[str]
    """What was wrong with earlier attempts."""


def retrain_and_record(
    winner: Winner, tokenizer: PreTrainedTokenizerBase, directory: Path, checkpoint: Path
) -> Retrained:
    """Retrain the winner; write the curves and `reports/training_metrics.json` while at it.

    Args:
        winner: of the search.
        tokenizer: of the search.
        directory: `final`, or `final-2`, ...
        checkpoint: directory for what a killed retrain goes on from.

    Raises:
        RetrainError: no attempt passed the guard.
        InputError: the model cannot be loaded.
        OSError: a file cannot be written.
    """
    path = directory / "reports" / "training_metrics.json"
    history: list[Evaluation] = []
    curves = directory / "logs" / "tensorboard_logs"
    shutil.rmtree(curves, ignore_errors=True)  # of a broken-off retrain, whose points come again
    writer = CurveWriter(curves)

    def take(evaluation: Evaluation) -> None:
        if history and evaluation.examples <= history[-1].examples:
            history.clear()  # the next attempt begins
        history.append(evaluation)
        scalars = {"train_loss": evaluation.train_loss, "fixed_rows_loss": evaluation.eval_loss}
        writer.write({**scalars, "learning_rate": evaluation.learning_rate}, evaluation.examples)
        logger.info(
            "epoch %.2f: training loss %.4f, learning rate %.2e",
            evaluation.epoch,
            evaluation.train_loss,
            evaluation.learning_rate,
        )

    try:
        tuned, training, problems = retrain(
            winner, tokenizer, on_evaluation=take, checkpoint=checkpoint
        )
    except RetrainError as error:
        write_json(path, {"rejected_attempts": error.problems})
        raise
    finally:
        writer.close()
    retrained = Retrained(tuned=tuned, training=training, history=history, rejected=problems)
    write_json(path, _training_metrics(winner, retrained))
    return retrained


def _training_metrics(winner: Winner, retrained: Retrained) -> dict[str, Any]:
    return {
        "history": [
            {
                "epoch": point.epoch,
                "examples": point.examples,
                "loss": point.train_loss,
                "fixed_rows_loss": point.eval_loss,
                "learning_rate": point.learning_rate,
            }
            for point in retrained.history
        ],
        "search_history": winner.search_curve(),
        "seconds": retrained.tuned.seconds,
        "parameters": retrained.training.model_dump(mode="json"),
        "rows": winner.num_final_rows,
        "fixed_rows_loss": retrained.tuned.fixed_rows_loss,
        "fixed_rows_loss_in_search": winner.losses_seen,
        "rejected_attempts": list(retrained.rejected),
    }
