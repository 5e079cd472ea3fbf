"""What runs in a worker: one trial. Ray's dict ends here."""

import gc
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from ray import tune

from training.config import ModelConfig, TrainingConfig
from training.errors import InputError
from training.finetune import FineTuned, Task, finetune
from training.metrics import Evaluation
from training.model import TokenizerFacts
from training.tokens import Integers, LabelledTokens
from tuning.conductor import Ending
from tuning.trials import Trial

EVALUATION = "evaluation"
ENDING = "ending"
TRIAL_ID = "trial_id"


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One train/validation split of the pool."""

    train: Integers
    """Positions in the pool, int64 [rows]."""
    validation: Integers
    """Positions in the pool, int64 [rows]."""
    evaluate_at: tuple[int, ...]
    """Training rows seen at which to evaluate; the last is the budget."""


@dataclass(frozen=True, kw_only=True)
class SearchData:
    """What all trials share; put in the object store once and read there without a copy."""

    pool: LabelledTokens
    """Every row that is not a test row."""
    draws: Sequence[Draw]
    """Of the search, then of each replicate."""
    model: ModelConfig
    tokenizer: TokenizerFacts
    labels: tuple[str, ...]
    stop_early_after: int
    num_threads: int

    def task(self, replicate: int) -> Task:
        """The rows of the search (0) or of a replicate."""
        draw = self.draws[replicate]
        return Task(
            train=self.pool.take(draw.train),
            validation=self.pool.take(draw.validation),
            model=self.model,
            tokenizer=self.tokenizer,
            labels=self.labels,
        )


def to_config(trial: Trial) -> dict[str, Any]:
    """What Ray hands to the worker of a trial."""
    return {
        TRIAL_ID: trial.trial_id,
        "training": trial.training.model_dump(),
        "replicate": trial.replicate,
        "stops_early": not trial.is_never_stopped,
    }


def run_trial(config: dict[str, Any], data: SearchData) -> None:
    """Train one configuration, reporting each evaluation and then how it ended.

    Errors of the code or the data end the trial as failed; only a lost process reaches Ray's
    retry. Between the first and the last line nothing of the trial stays behind in the worker.
    """
    torch.set_num_threads(data.num_threads)
    _free_memory()  # of a trial stopped before in this worker, whose frames lived until now
    try:
        tuned = finetune(
            data.task(config["replicate"]),
            TrainingConfig.model_validate(config["training"]),
            evaluate_at=data.draws[config["replicate"]].evaluate_at,
            on_evaluation=_report,
            stop_early_after=data.stop_early_after if config["stops_early"] else None,
        )
        ending = _ending(tuned)
        del tuned
    except Exception as error:  # whatever it is, the trial has failed, not Ray
        ending = Ending(status="failed", error=describe_error(error))
    finally:
        _free_memory()
    tune.report({ENDING: json.dumps(asdict(ending))})


def describe_error(error: BaseException) -> str:
    """One line: what a user can cause as it stands, else with its type and place in the code."""
    if isinstance(error, InputError):
        return "; ".join(error.problems)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno})" if trace else ""
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message}{place}"


def _ending(tuned: FineTuned) -> Ending:
    return Ending(
        status=tuned.outcome, fixed_rows_loss=tuned.fixed_rows_loss, seconds=tuned.seconds
    )


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _report(evaluation: Evaluation) -> None:
    # As text: Tune flattens dicts, and what was one value would come as many.
    tune.report({EVALUATION: json.dumps(asdict(evaluation))})
