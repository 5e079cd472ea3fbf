"""`python -m benchmarks.reporting`: a search with fake trials, which report scores at once.

For `benchmarks.scale`. Only the training is replaced: Ray Tune, the policy and the run's files are
real. The options are those of `tuning.search`.
"""

from results.trial_states import Status
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
    """Stand in for `tuning.trainable.run_trial`: scores rise to a random limit, one per trial."""
    assert surroundings.gpus == 0
    tune.report({WORKER: json.dumps(asdict(this_worker()))})
    replicate = data.replicates[config["replicate"]]
    limit = np.random.default_rng(int(config[TRIAL_ID][1:])).uniform(0.3, 0.7)
    for examples in replicate.evaluate_at:
        share = examples / replicate.evaluate_at[-1]
        evaluation = Evaluation(
            examples=examples,
            epoch=examples / len(replicate.train),
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
    ending = Ending(status=Status.COMPLETED, fixed_rows_loss=0.5, seconds=1.0)
    tune.report({ENDING: ending.to_json()})


if __name__ == "__main__":
    from benchmarks import reporting  # by its own name, which workers import

    setattr(worker_pool, "run_trial", reporting.report_only)  # noqa: B010  # not exported by name
    end_process(run_command(search.main))
