"""Early stopping of one trial that no longer improves."""

from dataclasses import dataclass, field

from training.metrics import Evaluation

CLEARLY = 0.05
"""Macro-F1 above the best constant predictor that counts as having begun to learn: about three
standard errors of macro-F1 on a thousand validation rows."""


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
    """Macro-F1 of the best constant predictor."""
    _has_learnt: bool = field(default=False, init=False)
    _best: float = field(default=float("-inf"), init=False)
    _best_epoch: float = field(default=0.0, init=False)

    def should_stop(self, evaluation: Evaluation) -> bool:
        """Take one evaluation, in order of training, and say whether training should end."""
        self._has_learnt |= evaluation.f1_macro > self.constant_score + CLEARLY
        if not self._has_learnt or evaluation.examples < self.after_examples:
            return False
        if evaluation.f1_macro > self._best:
            self._best, self._best_epoch = evaluation.f1_macro, evaluation.epoch
        return evaluation.epoch - self._best_epoch >= self.patience
