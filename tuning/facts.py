"""What the record of a search says from its start on."""

from pathlib import Path
from typing import Any

from results.environment import describe_environment, hash_model
from training.config import TINY, ModelConfig
from training.data_summary import DataSummary
from training.trained_on import known_to
from tuning.config import Configuration
from tuning.rungs import EvaluationPlan
from tuning.space import to_plain_space


def describe_facts(
    configuration: Configuration,
    plan: EvaluationPlan,
    *,
    num_rows: int,
    summary: DataSummary,
    command: str,
    has_gpu: bool,
) -> dict[str, Any]:
    """`command`, `repeatable`, `data`, `search` and `environment` of the record.

    Args:
        configuration: of the search.
        plan: when trials are evaluated and judged.
        num_rows: training rows a pass.
        summary: of the data.
        command: that repeats the run.
        has_gpu: whether trials run on one.
    """
    return {
        "command": command,
        "repeatable": is_repeatable(configuration, has_gpu=has_gpu),
        "data": summary.as_record(),
        "search": _describe_search(configuration, plan, num_rows),
        "environment": {
            **describe_environment(),
            "model": _describe_model(configuration.model),
        },
    }


def is_repeatable(configuration: Configuration, *, has_gpu: bool) -> bool:
    """Whether the same command gives the same scores to the last digit.

    On CPU, one trial at a time; or any number where no decision depends on who came first.
    """
    search = configuration.search
    no_race = search.scheduler == "none" and search.algorithm in ("random", "grid")
    in_turn = search.max_concurrent == 1
    return not has_gpu and search.time_budget_s is None and (in_turn or no_race)


def _describe_search(
    configuration: Configuration, plan: EvaluationPlan, num_rows: int
) -> dict[str, Any]:
    """What was searched how; rows are training rows seen by one trial."""
    search = configuration.search
    return {
        "algorithm": search.algorithm,
        "scheduler": search.scheduler,
        "reduction_factor": search.reduction_factor,
        "rows_per_epoch": num_rows,
        "budget": plan.budget,
        "rungs": list(plan.rungs),
        "space": to_plain_space(search.space),
    }


def _describe_model(model: ModelConfig) -> dict[str, Any]:
    known = known_to(model)
    return {
        "name": model.name,
        "revision": model.revision,
        "sha256": None if model.name == TINY else hash_model(Path(model.name)),
        "texts_trained_on": None if known is None else len(known),
    }
