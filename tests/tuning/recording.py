"""The files of a run as a search writes them, without one."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from results.run import Run
from tests.tuning.builders import FACTS, configuration, policy
from tuning.config import Configuration
from tuning.policy import Policy
from tuning.run_files import RunFiles
from tuning.trials import Trial

CONFIG = configuration()


def files_of(run: Run, trials: Iterable[Trial] = (), **changes: Any) -> tuple[RunFiles, Policy]:
    """What writes the files of a run, and the policy whose trials those are.

    Args:
        run: that is written.
        trials: that the policy knows.
        changes: `configuration` and `facts`, where they are not those of the builders.
    """
    config: Configuration = changes.pop("configuration", CONFIG)
    deciding = policy(trials, config=config)
    fields: dict[str, Any] = {"facts": FACTS, "memory_limits": {}, **changes}
    return RunFiles(run, configuration=config, policy=deciding, **fields), deciding


def live(files: RunFiles, deciding: Policy, trial: Trial) -> None:
    """Let a trial go through what it shows, an evaluation at a time, and end as it has."""
    again = replace(trial, evaluations=[])
    deciding.store.add(again)
    for evaluation in trial.evaluations:
        again.add(evaluation)
        files.evaluated(again)
    if again.is_running:
        files.started(again)
    else:
        files.ended(again)
