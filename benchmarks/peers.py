"""The search of Hugging Face's Trainer on Ray Tune, as the study ran it and tuned."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from sklearn.metrics import f1_score
from torch.utils.data import Dataset
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.contest import CPU_THREADS, Contest

OBJECTIVE = "eval_score"


class _Rows(Dataset[dict[str, Any]]):
    """Texts as tokens, tokenised once."""

    def __init__(self, contest: Contest, part: str, *, padded: bool) -> None:
        table = contest.rows(part)
        encoded = AutoTokenizer.from_pretrained(contest.model)(
            table["text"].tolist(),
            truncation=True,
            max_length=contest.max_length,
            padding="max_length" if padded else False,
            return_token_type_ids=False,
            return_attention_mask=padded,
        )
        self._columns = dict(encoded) | {"labels": table["label"].tolist()}
        if padded:
            self._columns = {n: torch.tensor(v) for n, v in self._columns.items()}

    def __len__(self) -> int:
        return len(self._columns["labels"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self._columns.items()}


class _Weighted(Trainer):
    """Class-weighted cross-entropy, the usual few lines."""

    weights: tuple[float, ...]

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        weight = torch.tensor(self.weights, device=labels.device)
        loss = torch.nn.functional.cross_entropy(outputs.logits.float(), labels, weight=weight)
        return (loss, outputs) if return_outputs else loss


class _Counting(DataCollatorWithPadding):
    """Counts tokens with and without padding."""

    padded = 0
    tokens = 0

    def __call__(self, features: list[dict[str, Any]]) -> Any:
        batch = super().__call__(features)
        self.padded += batch["attention_mask"].numel()
        self.tokens += int(batch["attention_mask"].sum())
        return batch


class _Moments(TrainerCallback):
    """Writes a line for each training: process, start, end, score and padding."""

    def __init__(self, file: Path, collator: _Counting | None) -> None:
        self._file, self._collator = file, collator
        self._started = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = time.time()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        scores = [entry[OBJECTIVE] for entry in state.log_history if OBJECTIVE in entry]
        line = {
            "process": str(os.getpid()),
            "began": self._started,
            "ended": time.time(),
            "score": scores[-1] if scores else None,
            "epochs": state.epoch,
            "learning_rate": args.learning_rate,
            "batch_size": args.per_device_train_batch_size,
            "padding": self._collator and self._collator.padded / max(self._collator.tokens, 1),
        }
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def search_with_trainer(contest: Contest, *, tuned: bool) -> list[dict[str, Any]]:
    """Search with the Trainer.

    Args:
        contest: rows, model and trials.
        tuned: with the settings of somebody who knows the Trainer well; else with the study's.

    Returns:
        The same as `benchmarks.sides.search_with_ours`, without the trials that ASHA stopped.
    """
    moments = contest.directory / f"moments-{time.time_ns()}.jsonl"
    trainer = make_trainer(contest, tuned=tuned, moments=moments)
    settings: dict[str, Any] = {"reuse_actors": True} if tuned else {}
    if contest.with_asha:
        settings["scheduler"] = ASHAScheduler(
            metric="objective",
            mode="max",
            time_attr="training_iteration",
            max_t=contest.epochs,
            grace_period=1,
            reduction_factor=3,
        )
    trainer.hyperparameter_search(
        backend="ray",
        hp_space=lambda _: {
            "learning_rate": tune.uniform(0, 1),
            "per_device_train_batch_size": tune.choice([1]),
        },
        search_alg=BasicVariantGenerator(points_to_evaluate=contest.trials),
        n_trials=len(contest.trials),
        direction="maximize",
        compute_objective=lambda metrics: metrics[OBJECTIVE],
        resources_per_trial={"cpu": CPU_THREADS, "gpu": int(torch.cuda.is_available())},
        storage_path=str(contest.directory / "peers"),
        verbose=0,
        **settings,
    )
    lines = moments.read_text(encoding="utf-8").splitlines() if moments.exists() else []
    trials = [json.loads(line) for line in lines]
    whole = contest.max_length / float(contest.lengths().mean())
    num_rows = len(contest.rows("train"))
    return [
        trial
        | {
            "rows": round(trial.pop("epochs") * num_rows),
            "padding": trial["padding"] or whole,
        }
        for trial in trials
    ]


def make_trainer(contest: Contest, *, tuned: bool, moments: Path, **arguments: Any) -> Trainer:
    """Build the Trainer of one side.

    Args:
        contest: rows and model.
        tuned: as for `search_with_trainer`.
        moments: file to which a line for each training is appended.
        arguments: of `TrainingArguments`, instead of the side's.
    """
    collator = _Counting(AutoTokenizer.from_pretrained(contest.model)) if tuned else None
    trainer = _Weighted(
        model_init=lambda: _build(contest.model),
        args=_arguments(contest, tuned=tuned, **arguments),
        train_dataset=_Rows(contest, "train", padded=not tuned),
        eval_dataset=_Rows(contest, "validation", padded=not tuned),
        data_collator=collator,
        compute_metrics=_scores,
        callbacks=[_Moments(moments, collator)],
    )
    trainer.weights = contest.class_weights
    return trainer


def _build(model: Path) -> PreTrainedModel:
    built: PreTrainedModel = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        AutoConfig.from_pretrained(model)
    )
    return built


def _arguments(contest: Contest, *, tuned: bool, **changes: Any) -> TrainingArguments:
    better: dict[str, Any] = {
        "train_sampling_strategy": "group_by_length",
        "per_device_eval_batch_size": 128,
        "bf16": torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        "optim": "adamw_torch_fused",
    }
    settings: dict[str, Any] = {
        "output_dir": str(contest.directory / "trainer"),
        "num_train_epochs": contest.epochs,
        "warmup_steps": contest.warmup_share,
        "weight_decay": 0.01,
        "seed": contest.seed,
        "use_cpu": not torch.cuda.is_available(),
        "eval_strategy": "epoch",
        "per_device_eval_batch_size": 32,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    return TrainingArguments(**(settings | (better if tuned else {}) | changes))


def _scores(prediction: EvalPrediction) -> dict[str, float]:
    chosen = np.asarray(prediction.predictions).argmax(axis=1)
    return {"score": float(f1_score(prediction.label_ids, chosen, average="macro"))}
