"""Configurations, evaluations and trials as the tests of a search need them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from results.run import Run
from results.trial_states import Source, Status, StoppedBy
from training.config import STUDY_LABELS
from training.metrics import Evaluation
from tuning.config import Configuration
from tuning.policy import Policy, make_policy
from tuning.run_files import RunFiles
from tuning.rungs import plan_evaluations
from tuning.space import Parameters, with_parameters
from tuning.start import build
from tuning.trials import Trial, TrialStore, trial_name

SPACE = {"learning_rate": {"log_uniform": ["1e-4", "1e-2"]}, "batch_size": {"choice": ["16", "32"]}}

NUM_ROWS = 1000
"""Training rows: rungs at 500 and 1,500, a budget of 3,000."""


def configuration(**sections: dict[str, Any]) -> Configuration:
    """Return the sample's base with a small space, ASHA, four evaluations per epoch, 3 epochs."""
    values: dict[str, dict[str, Any]] = {
        "data": {
            "text_column": "text",
            "label_column": "final_label",
            "labels": STUDY_LABELS,
            "ordered": True,
        },
        "training": {"epochs": 3, "batch_size": 16, "learning_rate": 5e-4, "warmup_steps": 0},
        "search": {"space": SPACE, "trials": 6, "grace_epochs": 0.5},
    }
    for section, fields in sections.items():
        values[section] = {**values.get(section, {}), **fields}
    return build(values)


def evaluation(examples: int, f1_macro: float, **changes: Any) -> Evaluation:
    fields: dict[str, Any] = {
        "examples": examples,
        "epoch": examples / 1000,
        "seconds": examples / 100,
        "learning_rate": 1e-3,
        "train_loss": 1.0,
        "eval_loss": 1.1,
        "score": f1_macro,
        "f1_macro": f1_macro,
        "accuracy": 0.5,
        "collapsed": False,
    }
    return Evaluation(**(fields | changes))


def trial(
    number: int,
    *scores: tuple[int, float],
    config: Configuration | None = None,
    source: str = "",
    parameters: Parameters | None = None,
    status: str = "running",
    stopped_by: str = "",
    **changes: Any,
) -> Trial:
    """Return a trial with its evaluations; number 0 is the default. States may be text."""
    config = config or configuration()
    parameters = parameters or config.default_point
    fields: dict[str, Any] = {
        "trial_id": trial_name(number),
        "source": Source(source or ("search" if number else "default")),
        "parameters": parameters,
        "training": with_parameters(config.training, parameters),
        "split_seed": config.data.split_seed,
        "status": Status(status),
        "stopped_by": StoppedBy(stopped_by),
        "evaluations": [evaluation(examples, score) for examples, score in scores],
    }
    return Trial(**(fields | changes))


def completed(number: int, score: float, **changes: Any) -> Trial:
    """Return a trial that reached the budget of 3,000 rows with a score."""
    return trial(number, (1500, 0.1), (3000, score), status="completed", **changes)


def at_last_rung(number: int, score: float, **changes: Any) -> Trial:
    """Return a trial that reached the last rung, at 1,500 rows, with a score."""
    stopped: dict[str, Any] = {"status": "stopped", "stopped_by": "confirmation"}
    return trial(number, (1250, score), (1500, score), **(stopped | changes))


def policy(
    trials: Iterable[Trial] = (),
    *,
    config: Configuration | None = None,
    last_evaluated: str | None = None,
    first_points: Sequence[Parameters] = (),
) -> Policy:
    """Return a policy over 1,000 training and 250 validation rows, with these trials.

    Rungs are at 500 and 1,500 rows, the budget is 3,000.
    """
    config = config or configuration()
    return make_policy(
        config,
        plan_evaluations(NUM_ROWS, config.training.epochs, config.search, batch_size=1),
        num_rows=NUM_ROWS,
        validation_labels=np.arange(NUM_ROWS // 4) % len(config.data.label_names),
        store=TrialStore(trials),
        last_evaluated=last_evaluated,
        first_points=first_points,
    )


FACTS: dict[str, Any] = {"data": {"class_counts": {"train": {"fine": 600, "bad": 400}}}}
"""Facts about the data, as far as the files of a run need them."""


CONFIG = configuration()


def files_of(run: Run, trials: Iterable[Trial] = (), **changes: Any) -> tuple[RunFiles, Policy]:
    """Return the writer of a run's files, and the policy with its trials.

    Args:
        run: to write.
        trials: of the policy.
        changes: `configuration` and `facts`, where they are not those of the builders.
    """
    config: Configuration = changes.pop("configuration", CONFIG)
    deciding = policy(trials, config=config)
    fields: dict[str, Any] = {"facts": FACTS, "memory_limits": {}, **changes}
    return RunFiles(run, configuration=config, policy=deciding, **fields), deciding


def live(files: RunFiles, deciding: Policy, trial: Trial) -> None:
    """Replay the evaluations and the end of a trial through the files of a run."""
    again = replace(trial, evaluations=[])
    deciding.store.add(again)
    for evaluation in trial.evaluations:
        again.add(evaluation)
        files.evaluated(again)
    if again.is_running:
        files.started(again)
    else:
        files.ended(again)
