"""Retrain the winner on training and validation rows; a guard rejects a retrain that failed."""

import json
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import pstdev
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from evaluation.winner import Winner
from results.files import write_json
from results.micro_batch_limits import read_limits
from results.tensorboard import CurveWriter
from training.config import TrainingConfig
from training.device import kind_of_device
from training.finetune import FineTuned, Task, finetune
from training.metrics import Evaluation
from training.model import facts_of
from training.schedule import num_warmup_steps, schedule_of
from training.tokens import LabelledTokens, encode

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3

_EVALUATIONS_PER_EPOCH = 4


class RetrainError(Exception):
    """No attempt learnt as much as the trials of the search, so the test set is not used."""

    def __init__(self, winner: Winner, problems: Sequence[str]) -> None:
        """Store what was wrong with each attempt."""
        self.problems = tuple(problems)
        required = (
            "learn as much as the full trainings of the search"
            if winner.losses_seen
            else "be better than a uniform guess"
        )
        super().__init__(
            f"run {winner.run.directory}: {len(problems)} retrains learnt too little"
            f" ({'; '.join(problems)}), but one must {required}; the test set was not used:"
            " search with lower learning rates or a longer warm-up"
        )


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """The retrained winner, its configuration and its training curve."""

    tuned: FineTuned
    training: TrainingConfig
    history: Sequence[Evaluation]
    """Evaluations on the fixed training rows."""
    rejected: Sequence[str]
    """What was wrong with earlier attempts."""


def retrain_and_record(
    winner: Winner, tokenizer: PreTrainedTokenizerBase, directory: Path, checkpoint: Path
) -> Retrained:
    """Retrain the winner; write its curves and `reports/training_metrics.json`.

    Args:
        winner: the winner of the search.
        tokenizer: the tokenizer of the search.
        directory: `final`, or `final-2`, ...
        checkpoint: directory from which a killed retrain is resumed.

    Raises:
        RetrainError: no attempt passed the guard.
        InputError: the model cannot be loaded.
        OSError: a file cannot be written.
    """
    path = directory / "reports" / "training_metrics.json"
    history: list[Evaluation] = []
    curves = directory / "logs" / "tensorboard_logs"
    shutil.rmtree(
        curves, ignore_errors=True
    )  # of an interrupted retrain, whose points are written again
    writer = CurveWriter(curves)

    def record(evaluation: Evaluation) -> None:
        if history and evaluation.examples <= history[-1].examples:
            history.clear()  # the next attempt starts
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
            winner, tokenizer, on_evaluation=record, checkpoint=checkpoint
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


def retrain(
    winner: Winner,
    tokenizer: PreTrainedTokenizerBase,
    *,
    on_evaluation: Callable[[Evaluation], None],
    checkpoint: Path,
) -> tuple[FineTuned, TrainingConfig, list[str]]:
    """Train the winner on training and validation rows; if the guard rejects it, use the next seed.

    The number of epochs is that of the search. The warm-up is the same share of all steps, the
    schedule spans the larger set, and the class weights come from all its rows. The guard
    evaluates training rows only. A retrain that was killed is resumed in the attempt that it was
    in.

    Args:
        winner: the winner of the search.
        tokenizer: the tokenizer of the search.
        on_evaluation: called with each evaluation on the fixed training rows; when a retrain is
            resumed, first with the earlier evaluations of the same attempt.
        checkpoint: directory from which a killed retrain is resumed; the caller removes it when all
            files are written.

    Returns:
        The model, the configuration of its training, and what was wrong with earlier attempts.

    Raises:
        RetrainError: no attempt passed the guard.
        InputError: the model cannot be loaded.
        OSError: `checkpoint` cannot be written.
    """
    task = _build_task(winner, tokenizer)
    limit = loss_limit(winner.losses_seen, len(winner.configuration.data.label_names))
    rejected = _Rejected(checkpoint / "rejected.json", _about(winner, len(task.train), limit))
    problems = rejected.read()
    for attempt in range(len(problems), MOST_ATTEMPTS):
        training = final_training(winner, len(task.train), attempt)
        directory = checkpoint / f"seed-{training.seed}"
        logger.info("retraining on %s rows, seed %s", f"{len(task.train):,}", training.seed)
        tuned = finetune(
            task,
            training,
            evaluate_at=_evaluate_at(len(task.train), training.epochs),
            on_evaluation=on_evaluation,
            checkpoint=directory,
            micro_batch_size=_micro_batch_size(winner),
        )
        problem = guard(tuned, limit)
        if not problem:
            return tuned, training, problems
        problems.append(f"seed {training.seed}: {problem}")
        logger.warning("the guard rejected the retrain with %s", problems[-1])
        rejected.write(problems)
        shutil.rmtree(directory)
    raise RetrainError(winner, problems)


def _micro_batch_size(winner: Winner) -> int | None:
    """Return the limit that the search found for the winner's encoder on such a device."""
    name = winner.configuration.model.name
    return read_limits(winner.record, [name]).get(name, {}).get(kind_of_device())


def _build_task(winner: Winner, tokenizer: PreTrainedTokenizerBase) -> Task:
    train, validation = winner.data.train, winner.data.validation
    configuration = winner.configuration
    tokens = encode(
        tokenizer,
        [
            *train.texts,
            *validation.texts,
        ],  # the training rows of the search first, because the fixed rows are the first ones
        max_length=configuration.model.max_length,
    )
    return Task(
        train=LabelledTokens(
            tokens=tokens, labels=np.concatenate([train.labels, validation.labels])
        ),
        validation=None,
        model=configuration.model,
        tokenizer=facts_of(tokenizer),
        labels=configuration.data.label_names,
        metric=winner.objective.name,
    )


def _evaluate_at(num_rows: int, epochs: int) -> list[int]:
    points = range(1, epochs * _EVALUATIONS_PER_EPOCH + 1)
    return [max(1, round(num_rows * point / _EVALUATIONS_PER_EPOCH)) for point in points]


def final_training(winner: Winner, num_rows: int, attempt: int) -> TrainingConfig:
    """Return the winner's configuration for `num_rows` rows and an attempt.

    The warm-up is the same share of all steps as in the search; each attempt has another seed.
    """
    searched = winner.configuration.training
    schedule = schedule_of(searched, len(winner.data.train.labels))
    share = num_warmup_steps(searched, schedule) / schedule.total_steps
    steps = round(share * schedule_of(searched, num_rows).total_steps)
    seed = (searched.seed + attempt) % 2**32
    return searched.model_copy(update={"warmup_steps": steps, "seed": seed})


def loss_limit(losses_seen: Sequence[float], num_labels: int) -> float:
    """Return the highest final loss on the fixed rows that the guard accepts.

    It is the highest loss of the search plus the largest of three margins: three standard
    deviations, a quarter of the loss, and 15 % of the way to the loss of a uniform guess. There are
    few values, sometimes one, and a loss near 0 has little information about the next one. A lower
    loss is accepted, since the retrain has more rows. Without a full training of the winner, if the
    search ended before its confirmation had a score, it is the loss of a uniform guess.

    Args:
        losses_seen: class-weighted losses, in nats, of the full trainings of the winner.
        num_labels: number of classes.
    """
    uniform = math.log(num_labels)
    if not losses_seen:
        return uniform
    highest = max(losses_seen)
    to_uniform = uniform - highest
    return highest + max(3 * pstdev(losses_seen), 0.25 * highest, 0.15 * to_uniform)


def guard(tuned: FineTuned, limit: float) -> str:
    """Return why a retrained model may not be evaluated on the test set; empty if it may."""
    if tuned.outcome == "diverged" or not np.isfinite(tuned.fixed_rows_loss):
        return "its loss is not finite"
    if tuned.evaluations[-1].collapsed:
        return "it predicts one class for every row"
    if tuned.fixed_rows_loss > limit:
        return f"its loss on the fixed rows is {tuned.fixed_rows_loss:.4f}, above {limit:.4f}"
    return ""


@dataclass(frozen=True)
class _Rejected:
    """What was wrong with the attempts so far, kept in a file in case the process is killed."""

    path: Path
    about: dict[str, Any]
    """What the guard's verdicts depend on; verdicts on another retrain do not count."""

    def read(self) -> list[str]:
        if not self.path.exists():
            return []
        try:
            content = json.loads(self.path.read_text("utf-8"))
            if content["about"] == self.about:
                return [str(problem) for problem in content["problems"]]
            reason = "it belongs to another retrain"
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"it cannot be read: {error}"
        logger.warning(
            "%s is not used (%s); the retrain starts with its first seed", self.path, reason
        )
        return []

    def write(self, problems: Sequence[str]) -> None:
        write_json(self.path, {"about": self.about, "problems": list(problems)})


def _about(winner: Winner, num_rows: int, limit: float) -> dict[str, Any]:
    return {
        "data": winner.data.summary.sha256,
        "rows": num_rows,
        "configuration": winner.configuration.model_dump(mode="json"),
        "limit": limit,
    }
