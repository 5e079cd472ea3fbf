"""Early stopping of one trial that no longer improves."""

from dataclasses import dataclass, field

from training.metrics import Evaluation
from training.objective import CLEARLY_ABOVE


@dataclass(kw_only=True)
class EarlyStopping:
    """Stops after `patience` epochs without a better score; counting starts late on purpose.

    Epochs count from when the warm-up and the first rung are over and some score, then or before,
    was clearly above the constant predictor's: real runs sit at the constant predictor's score
    for hundreds of steps and end among the best.
    """

    patience: int
    """Epochs."""
    after_examples: int
    """End of the warm-up or the first rung, the later one, in training rows seen."""
    constant_score: float
    """The best constant predictor's score."""
    _has_learnt: bool = field(default=False, init=False)
    _best: float = field(default=float("-inf"), init=False)
    _best_epoch: float = field(default=0.0, init=False)

    def should_stop(self, evaluation: Evaluation) -> bool:
        """Take one evaluation, in order of training, and say whether training should end."""
        self._has_learnt |= evaluation.score > self.constant_score + CLEARLY_ABOVE
        if not self._has_learnt or evaluation.examples < self.after_examples:
            return False
        if evaluation.score > self._best:
            self._best, self._best_epoch = evaluation.score, evaluation.epoch
        return evaluation.epoch - self._best_epoch >= self.patience
