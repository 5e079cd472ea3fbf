"""How long a training runs: steps and epochs, warm-up and learning rate, early stopping.

The length of a training is counted in training rows seen (`examples`), repeats counted.
"""

import math
from dataclasses import dataclass, field

from training.config import TrainingConfig
from training.metrics import Evaluation
from training.objective import CLEARLY_ABOVE


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Steps of a training on `num_rows` rows; the last batch of an epoch may be incomplete."""

    num_rows: int
    batch_size: int
    epochs: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-self.num_rows // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the full budget, which the schedule of the learning rate spans."""
        return self.steps_per_epoch * self.epochs

    @property
    def budget(self) -> int:
        """Training rows seen in the full budget, repeats counted."""
        return self.num_rows * self.epochs

    def examples_after(self, step: int) -> int:
        """Return the training rows seen after `step` steps."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return epochs * self.num_rows + min(rest * self.batch_size, self.num_rows)

    def step_at(self, examples: int) -> int:
        """Return the first step after which at least `examples` rows have been seen."""
        epochs, rest = divmod(examples, self.num_rows)
        return epochs * self.steps_per_epoch + -(-rest // self.batch_size)


def schedule_of(training: TrainingConfig, num_rows: int) -> Schedule:
    """Return the schedule of `training` on `num_rows` rows."""
    return Schedule(num_rows=num_rows, batch_size=training.batch_size, epochs=training.epochs)


def num_warmup_steps(training: TrainingConfig, schedule: Schedule) -> int:
    """Return the warm-up in steps; a `warmup_steps` below 1 is a share of all steps, rounded up.

    A share ends before the last step, however few steps there are.
    """
    if training.warmup_steps < 1:
        steps = math.ceil(training.warmup_steps * schedule.total_steps)
        return min(steps, schedule.total_steps - 1)
    return int(training.warmup_steps)


def learning_rate_after(steps: int, training: TrainingConfig, schedule: Schedule) -> float:
    """Return the learning rate of the step that follows `steps` steps.

    It rises linearly from 0 over the warm-up, then falls to 0 at the end of the full budget, in a
    line or half a cosine, or stays (`get_linear_schedule_with_warmup`,
    `get_cosine_schedule_with_warmup` and `get_constant_schedule_with_warmup` of transformers).
    """
    warmup, total = num_warmup_steps(training, schedule), schedule.total_steps
    if steps < warmup:
        return training.learning_rate * (steps / warmup)
    if training.schedule == "constant":
        return training.learning_rate
    left = max(0.0, (total - steps) / max(1, total - warmup))
    if training.schedule == "cosine":
        return training.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (1.0 - left)))
    return training.learning_rate * left


@dataclass(kw_only=True)
class EarlyStopping:
    """Stops a training after `patience` epochs without a better score.

    Epochs count only after the warm-up, after the first rung, and once some score has been clearly
    above the constant predictor's: real trials stay at the constant predictor's score for hundreds
    of steps and end among the best.
    """

    patience: int
    """Number of epochs."""
    after_examples: int
    """End of the warm-up or of the first rung, whichever is later, in training rows seen."""
    constant_score: float
    """Score of the best constant predictor."""
    _has_learnt: bool = field(default=False, init=False)
    _best: float = field(default=float("-inf"), init=False)
    _best_epoch: float = field(default=0.0, init=False)

    def should_stop(self, evaluation: Evaluation) -> bool:
        """Take the next evaluation and return whether the training should stop."""
        self._has_learnt |= evaluation.score > self.constant_score + CLEARLY_ABOVE
        if not self._has_learnt or evaluation.examples < self.after_examples:
            return False
        if evaluation.score > self._best:
            self._best, self._best_epoch = evaluation.score, evaluation.epoch
        return evaluation.epoch - self._best_epoch >= self.patience
