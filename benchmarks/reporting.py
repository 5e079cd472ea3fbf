"""`python -m benchmarks.reporting`: a search whose (fake) trials only report.

For `benchmarks.scale`. Everything but training is the product's own: Ray Tune, the policy, the
run's files. The options are those of `tuning.search`.
"""

from training.cli import end_process, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from ray import tune

from training.metrics import Evaluation
from tuning import search, worker_pool
from tuning.trainable import ENDING, EVALUATION, TRIAL_ID, WORKER, SearchData, Surroundings
from tuning.trials import Ending
from tuning.workers import this_worker


def report_only(config: dict[str, Any], data: SearchData, surroundings: Surroundings) -> None:
    """A fake of `tuning.trainable.run_trial`: scores that rise to a limit drawn from the trial."""
    assert surroundings.gpus == 0
    tune.report({WORKER: json.dumps(asdict(this_worker()))})
    draw = data.replicates[config["replicate"]]
    limit = np.random.default_rng(int(config[TRIAL_ID][1:])).uniform(0.3, 0.7)
    for examples in draw.evaluate_at:
        share = examples / draw.evaluate_at[-1]
        evaluation = Evaluation(
            examples=examples,
            epoch=examples / len(draw.train),
            seconds=share,
            learning_rate=1e-4,
            train_loss=1.4 - share,
            eval_loss=1.4 - share,
            score=limit * share**0.5,
            f1_macro=limit * share**0.5,
            accuracy=limit,
            collapsed=False,
        )
        tune.report({EVALUATION: json.dumps(asdict(evaluation))})
    ending = Ending(status="completed", fixed_rows_loss=0.5, seconds=1.0)
    tune.report({ENDING: json.dumps(asdict(ending))})


if __name__ == "__main__":
    from benchmarks import reporting  # by its own name, under which workers find it

    setattr(worker_pool, "run_trial", reporting.report_only)  # noqa: B010  # not exported by name
    end_process(run_command(search.main))
