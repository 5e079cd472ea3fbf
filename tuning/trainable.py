"""Train one trial in a worker, and report its evaluations and its ending to Ray."""

import ctypes
import gc
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from ray import tune

from results.errors import StorageError
from results.trial_states import Status
from training.config import TrainingConfig
from training.device import cap_memory, kind_of_device, most_reserved_memory, peak_memory
from training.errors import CheckpointError, InputError, TrainingStoppedError
from training.finetune import Task, finetune
from training.metrics import Evaluation
from training.model_cache import ModelCache
from training.tokens import Integers, LabelledTokens
from tuning.checkpoints import Checkpoints
from tuning.encoders import PreparedEncoder
from tuning.space import name_of_model
from tuning.trials import Ending, Trial
from tuning.workers import StopFlag, log_as, this_worker, watch

logger = logging.getLogger(__name__)

_MODEL_CACHE = ModelCache()
"""The built model of this worker, which all its trials use."""

_STATUSES = {
    "completed": Status.COMPLETED,
    "stopped early": Status.STOPPED,
    "diverged": Status.DIVERGED,
}
"""Status of a trial by the outcome of its training."""

EVALUATION = "evaluation"
ENDING = "ending"
MICRO_BATCH_SIZE = "micro_batch_size"
WORKER = "worker"
DEVICE_MEMORY = "device_memory"
MEMORY = "memory"
TRIAL_ID = "trial_id"


@dataclass(frozen=True, kw_only=True)
class Replicate:
    """A train/validation split of the pool, for the search or for a replicate."""

    train: Integers
    """Positions in the pool, int64 [rows]."""
    validation: Integers
    """Positions in the pool, int64 [rows]."""
    evaluate_at: tuple[int, ...]
    """Training rows seen at which to evaluate; the last is the budget."""


@dataclass(frozen=True, kw_only=True)
class SearchData:
    """Data that all trials share; it is put in the object store once and read without a copy."""

    encoders: Mapping[str, PreparedEncoder]
    """By the name of the model, trial 0's first; each has the tokens of all rows but the test."""
    pool_labels: Integers
    """Labels of all rows but the test rows, int64 [rows]."""
    replicates: Sequence[Replicate]
    """The split of the search at 0, then that of each replicate by its number."""
    labels: tuple[str, ...]
    metric: str
    """`search.metric`."""
    stop_early_after: int
    num_threads: int

    def task(self, replicate: int, model: str | None = None) -> Task:
        """Return the rows that the search (0) or a replicate trains and validates on.

        Args:
            replicate: its number.
            model: name of the encoder; None: that of trial 0.
        """
        split = self.replicates[replicate]
        chosen = self.encoders[model] if model else next(iter(self.encoders.values()))
        pool = LabelledTokens(tokens=chosen.tokens, labels=self.pool_labels)
        return Task(
            train=pool.take(split.train),
            validation=pool.take(split.validation),
            model=chosen.model,
            tokenizer=chosen.tokenizer,
            labels=self.labels,
            encoder=chosen.encoder,
            metric=self.metric,
        )


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Resources that all trials of a search use from their workers."""

    checkpoints: Checkpoints
    flag: StopFlag
    gpus: float
    """GPUs per trial; a fraction also limits the trial to that share of one card's memory."""


def to_config(trial: Trial, *, flag: str, micro_batch_sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return the dict that Ray passes to the worker of a trial.

    Args:
        trial: to train.
        flag: name of the flag that halts it.
        micro_batch_sizes: rows by kind of device, where memory ran out before for its encoder.
    """
    return {
        TRIAL_ID: trial.trial_id,
        "model": name_of_model(trial.parameters),
        "training": trial.training.model_dump(),
        "replicate": trial.replicate,
        "stops_early": not trial.is_never_stopped,
        "flag": flag,
        "micro_batch_sizes": dict(micro_batch_sizes),
    }


def run_trial(config: dict[str, Any], data: SearchData, surroundings: Surroundings) -> None:
    """Train one configuration; report each evaluation and then how the trial ended.

    A trial whose process was lost, or that was halted, is resumed from its checkpoint. Errors of
    the code or the data end the trial as failed; only a lost process reaches Ray's retry. The model
    as it was built stays in the worker for the next trial.
    """
    log_as(config[TRIAL_ID])
    # By default Ray waits 2 s for a stopped trial to leave its worker. On a busy machine that is
    # too short, and the next trial, which is to run in that worker, would be lost.
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")
    torch.set_num_threads(data.num_threads)
    if not gc.get_freeze_count():
        gc.freeze()  # half a million objects of the libraries, which each collection reads in 0.3 s
    _free_memory()  # of the trial that was stopped in this worker, whose frames lived until now
    tune.report({WORKER: json.dumps(asdict(this_worker()))})
    of_model = {"model": config["model"]} if config["model"] else {}
    logger.info("started: %s", {**of_model, **config["training"]})
    try:
        ending = _train(config, data, surroundings)
    except TrainingStoppedError:
        ending = Ending(status=Status.RUNNING)
    except (CheckpointError, StorageError) as error:  # not the trial's fault
        ending = Ending(status=Status.RUNNING, error=str(error) or type(error).__name__)
    except Exception as error:  # whatever it is, the trial has failed, not Ray
        ending = Ending(status=Status.FAILED, error=describe_error(error))
    finally:
        _free_memory()
    status = ending.status if ending.is_final else "halted"
    logger.info("ended: %s", " ".join([status, ending.error]).strip())
    tune.report({ENDING: ending.to_json()})


def _train(config: dict[str, Any], data: SearchData, surroundings: Surroundings) -> Ending:
    halt = watch(surroundings.flag, config["flag"])
    cap_memory(surroundings.gpus)
    device = kind_of_device(surroundings.gpus)
    task = data.task(config["replicate"], config["model"])
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
            micro_batch_size=config["micro_batch_sizes"].get(device),
            on_micro_batch_size=lambda rows: _report_micro_batch_size(device, rows),
            model_cache=_MODEL_CACHE,
        )
    return Ending(
        status=_STATUSES[tuned.outcome],
        fixed_rows_loss=tuned.fixed_rows_loss,
        seconds=tuned.seconds,
    )


def describe_error(error: BaseException) -> str:
    """Return an error in one line; an InputError as it is, others with type and position."""
    if isinstance(error, InputError):
        return "; ".join(error.problems)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    position = f" ({trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno})" if trace else ""
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message}{position}"


def _free_memory() -> None:
    """Give memory back: each trial runs in a thread of its own, whose heap glibc would keep."""
    gc.collect()
    with suppress(AttributeError, OSError):  # other C libraries have no such function
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _report(label: str, evaluation: Evaluation) -> None:
    logger.info(
        "%.2f epochs, %d rows: %s %.4f, validation loss %.4f",
        *(evaluation.epoch, evaluation.examples, label),
        *(evaluation.score, evaluation.eval_loss),
    )
    # As text: Tune flattens dicts.
    text = json.dumps(asdict(evaluation))
    memory = {DEVICE_MEMORY: most_reserved_memory(), MEMORY: peak_memory()}
    tune.report({EVALUATION: text, **memory})


def _report_micro_batch_size(device: str, rows: int) -> None:
    tune.report({MICRO_BATCH_SIZE: json.dumps([device, rows])})
