"""What runs in a worker: one trial. Ray's dict ends here."""

import gc
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from ray import tune

from results.errors import StorageError
from training.config import ModelConfig, TrainingConfig
from training.device import cap_memory, kind_of_device, most_reserved_memory
from training.encoder import Encoder
from training.errors import CheckpointError, InputError, TrainingStoppedError
from training.finetune import Task, finetune
from training.metrics import Evaluation
from training.model import TokenizerFacts
from training.model_cache import ModelCache
from training.tokens import Integers, LabelledTokens
from tuning.checkpoints import Checkpoints
from tuning.trials import Ending, Trial
from tuning.workers import StopFlag, log_as, this_worker, watch

logger = logging.getLogger(__name__)

_MODEL_CACHE = ModelCache()
"""The worker's: all its trials have one model."""

EVALUATION = "evaluation"
ENDING = "ending"
MICRO_BATCH_SIZES = "micro_batch_sizes"
WORKER = "worker"
DEVICE_MEMORY = "device_memory"
TRIAL_ID = "trial_id"


@dataclass(frozen=True, kw_only=True)
class Replicate:
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
    replicates: Sequence[Replicate]
    """Of the search, then of each replicate."""
    model: ModelConfig
    tokenizer: TokenizerFacts
    encoder: Encoder
    """Read by the driver; a node fetches it once, a trial copies it from there."""
    labels: tuple[str, ...]
    metric: str
    """`search.metric`."""
    stop_early_after: int
    num_threads: int

    def task(self, replicate: int) -> Task:
        """The rows of the search (0) or of a replicate."""
        found = self.replicates[replicate]
        return Task(
            train=self.pool.take(found.train),
            validation=self.pool.take(found.validation),
            model=self.model,
            tokenizer=self.tokenizer,
            labels=self.labels,
            encoder=self.encoder,
            metric=self.metric,
        )


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What all trials of a search reach from their workers."""

    checkpoints: Checkpoints
    flag: StopFlag
    gpus: float
    """Of a trial; a fraction is a share of one card's memory, too."""


def to_config(trial: Trial, *, flag: str, micro_batch_sizes: Mapping[str, int]) -> dict[str, Any]:
    """What Ray hands to the worker of a trial.

    Args:
        trial: what is trained.
        flag: name of the flag that halts it.
        micro_batch_sizes: by kind of device, where memory ran out before.
    """
    return {
        TRIAL_ID: trial.trial_id,
        "training": trial.training.model_dump(),
        "replicate": trial.replicate,
        "stops_early": not trial.is_never_stopped,
        "flag": flag,
        MICRO_BATCH_SIZES: dict(micro_batch_sizes),
    }


def run_trial(config: dict[str, Any], data: SearchData, surroundings: Surroundings) -> None:
    """Train one configuration, reporting each evaluation and then how it ended.

    One whose process was lost, or that was told to halt, goes on from its checkpoint. Errors of
    the code or the data end the trial as failed; only a lost process reaches Ray's retry. What
    stays behind in the worker is the model as it was built, and what serves the next trial.
    """
    log_as(config[TRIAL_ID])
    # Ray's own 2 s for a stopped trial to leave its worker are too few on a busy machine, and the
    # next trial, which was to be reset into that worker, would be lost.
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")
    torch.set_num_threads(data.num_threads)
    if not gc.get_freeze_count():
        gc.freeze()  # the libraries' half a million objects: each look at them takes 0.3 s
    _free_memory()  # of a trial stopped before in this worker, whose frames lived until now
    tune.report({WORKER: json.dumps(asdict(this_worker()))})
    logger.info("begins: %s", config["training"])
    try:
        ending = _train(config, data, surroundings)
    except TrainingStoppedError:
        ending = Ending(status="halted")
    except (CheckpointError, StorageError) as error:  # the place's fault, not the trial's
        ending = Ending(status="broken", error=str(error))
    except Exception as error:  # whatever it is, the trial has failed, not Ray
        ending = Ending(status="failed", error=describe_error(error))
    finally:
        _free_memory()
    logger.info("ends: %s", " ".join([ending.status, ending.error]).strip())
    tune.report({ENDING: json.dumps(asdict(ending))})


def _train(config: dict[str, Any], data: SearchData, surroundings: Surroundings) -> Ending:
    halt = watch(surroundings.flag, config["flag"])
    cap_memory(surroundings.gpus)
    device = kind_of_device(surroundings.gpus)
    task = data.task(config["replicate"])
    with surroundings.checkpoints.of(config[TRIAL_ID]) as (directory, written):
        tuned = finetune(
            task,
            TrainingConfig.model_validate(config["training"]),
            evaluate_at=data.replicates[config["replicate"]].evaluate_at,
            on_evaluation=partial(_report, task.objective.label),
            stop_early_after=data.stop_early_after if config["stops_early"] else None,
            checkpoint=directory,
            on_checkpoint=written,
            should_stop=halt.is_set,
            micro_batch_size=config[MICRO_BATCH_SIZES].get(device),
            on_micro_batch_size=lambda rows: _report_micro_batch_size(device, rows),
            model_cache=_MODEL_CACHE,
        )
    return Ending(
        status=tuned.outcome, fixed_rows_loss=tuned.fixed_rows_loss, seconds=tuned.seconds
    )


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


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _report(label: str, evaluation: Evaluation) -> None:
    logger.info(
        "%.2f epochs, %d rows: %s %.4f, validation loss %.4f",
        *(evaluation.epoch, evaluation.examples, label),
        *(evaluation.score, evaluation.eval_loss),
    )
    # As text: Tune flattens dicts, and what was one value would come as many.
    told = {EVALUATION: json.dumps(asdict(evaluation)), DEVICE_MEMORY: most_reserved_memory()}
    tune.report(told)


def _report_micro_batch_size(device: str, rows: int) -> None:
    tune.report({MICRO_BATCH_SIZES: json.dumps([device, rows])})
