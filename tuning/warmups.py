"""Whether every searched combination would end its warm-up."""

from training.config import TrainingConfig
from training.schedule import num_warmup_steps, schedule_of
from tuning.space import Space, extreme_points, with_parameters


def unfinished_warmup(
    space: Space, training: TrainingConfig, num_rows: int
) -> TrainingConfig | None:
    """The first corner of a space whose warm-up would last to the end of training, or beyond.

    Args:
        space: what is searched; empty: `training` alone is looked at.
        training: the other fields.
        num_rows: training rows a pass.
    """
    for point in extreme_points(space):
        corner = with_parameters(training, point)
        schedule = schedule_of(corner, num_rows)
        if num_warmup_steps(corner, schedule) >= schedule.total_steps:
            return corner
    return None
