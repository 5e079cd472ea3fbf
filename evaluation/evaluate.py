"""The final evaluation: retrain, one look at the test rows, the files of `final/`."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from evaluation.baseline import fit_predict
from evaluation.gates import GateKind
from evaluation.model_card import model_card
from evaluation.openings import TestLock
from evaluation.reports import TestResult, Weights, write_model, write_reports
from evaluation.retrain import RetrainError, retrain
from evaluation.tables import build_report
from evaluation.winner import Winner
from results.files import write_json, write_text
from results.report import write_report
from results.tensorboard import CurveWriter
from training.config import TINY, TrainingConfig
from training.data import open_test
from training.finetune import FineTuned
from training.inference import log_probabilities
from training.metrics import Evaluation
from training.model import facts_of, load_tokenizer
from training.tokens import encode

logger = logging.getLogger(__name__)


def evaluate_winner(
    winner: Winner,
    lock: TestLock,
    directory: Path,
    *,
    gates: GateKind,
    weights: Weights,
    reopen_reason: str | None,
) -> dict[str, Any]:
    """Retrain, save the model, open the test rows, and write all reports.

    Args:
        winner: of the search.
        lock: of the run's test rows.
        directory: `final`, or `final-2`, ...
        gates: which quality gates are checked.
        weights: `safetensors`, or `bin` for `pytorch_model.bin` too.
        reopen_reason: why the test is opened once more; None: it is the first time.

    Returns:
        The content of `evaluation_report.json`.

    Raises:
        RetrainError: no retrain passed the guard; the test stays closed.
        RunError: another process opened the test.
        InputError: the model or the data cannot be loaded, or the data changed meanwhile.
    """
    configuration = winner.configuration
    if configuration.model.name == TINY:
        torch.set_num_threads(1)  # a step is too short to be shared: waiting costs more
    tokenizer = load_tokenizer(configuration.model, tiny=winner.run.tokenizer)
    history: list[Evaluation] = []
    tuned, training = _retrain(winner, tokenizer, directory, history)
    trained = configuration.model_copy(update={"training": training})
    write_model(directory / "model", tuned.model, tokenizer, trained, weights)
    lock.open(directory, reopen_reason)
    result = _open_test(winner, tuned, tokenizer)
    report = build_report(
        labels=result.test.labels,
        predictions=result.predictions,
        probabilities=result.probabilities,
        baseline_predictions=result.baseline_predictions,
        groups=result.test.groups,
        names=configuration.data.labels,
        gates_kind=gates,
        test_openings=lock.as_report(),
        seed=configuration.training.seed,
    )
    report["search"] = _search_scores(winner)
    curve = [{"epoch": point.epoch, "loss": point.train_loss} for point in history]
    # From here on there are numbers, so the opening counts.
    lock.close()
    write_text(directory / "model" / "README.md", model_card(winner, report))
    write_reports(
        directory / "reports",
        result,
        report,
        configuration.data.labels,
        (winner.search_curve(), curve),
    )
    write_report(winner.run, winner.record, test=report, reports=directory / "reports")
    return report


def _retrain(
    winner: Winner,
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    history: list[Evaluation],
) -> tuple[FineTuned, TrainingConfig]:
    """Retrain, and write the curves and `training_metrics.json` while at it."""
    path = directory / "reports" / "training_metrics.json"
    writer = CurveWriter(directory / "logs" / "tensorboard_logs")

    def take(evaluation: Evaluation) -> None:
        if history and evaluation.examples <= history[-1].examples:
            history.clear()  # the next attempt begins
        history.append(evaluation)
        scalars = {"train_loss": evaluation.train_loss, "fixed_rows_loss": evaluation.eval_loss}
        writer.write({**scalars, "learning_rate": evaluation.learning_rate}, evaluation.examples)
        logger.info(
            "epoch %.2f: training loss %.4f, learning rate %.2e",
            evaluation.epoch,
            evaluation.train_loss,
            evaluation.learning_rate,
        )

    try:
        tuned, training, problems = retrain(winner, tokenizer, on_evaluation=take)
    except RetrainError as error:
        write_json(path, {"rejected_attempts": error.problems})
        raise
    finally:
        writer.close()
    metrics = {
        "history": [
            {
                "epoch": point.epoch,
                "examples": point.examples,
                "loss": point.train_loss,
                "fixed_rows_loss": point.eval_loss,
                "learning_rate": point.learning_rate,
            }
            for point in history
        ],
        "search_history": winner.search_curve(),
        "seconds": tuned.seconds,
        "parameters": training.model_dump(mode="json"),
        "rows": len(winner.data.train.labels) + len(winner.data.validation.labels),
        "fixed_rows_loss": tuned.fixed_rows_loss,
        "fixed_rows_loss_in_search": winner.losses_seen,
        "rejected_attempts": problems,
    }
    write_json(path, metrics)
    return tuned, training


def _open_test(winner: Winner, tuned: FineTuned, tokenizer: PreTrainedTokenizerBase) -> TestResult:
    configuration, data = winner.configuration, winner.data
    test = open_test(configuration.data, sha256=data.summary.sha256)
    log_p = log_probabilities(
        tuned.model,
        encode(tokenizer, test.texts, max_length=configuration.model.max_length),
        batch_size=configuration.training.eval_batch_size,
        pad_token_id=facts_of(tokenizer).pad_token_id,
    )
    baseline = fit_predict(
        [*data.train.texts, *data.validation.texts],
        np.concatenate([data.train.labels, data.validation.labels]),
        test.texts,
        seed=configuration.training.seed,
    )
    return TestResult(test=test, probabilities=np.exp(log_p), baseline_predictions=baseline)


def _search_scores(winner: Winner) -> dict[str, Any]:
    """What the search said of the winner, to hold beside the test."""
    best, confirmation = winner.record["best"], winner.record["confirmation"]
    means = [
        candidate["mean"]
        for candidate in (confirmation or {}).get("candidates", [])
        if candidate["parameters"] == best["parameters"]
    ]
    return {
        "trial_id": best["trial_id"],
        "search_f1_macro": best["search_f1_macro"],
        "confirmed_f1_macro": next(iter(means), None),
        "note": "both were selected on; only the test score is unbiased",
    }
