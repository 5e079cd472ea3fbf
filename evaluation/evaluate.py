"""The final evaluation: retrain, evaluate once on the test set, write the files of `final/`."""

import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from evaluation.gates import (
    GateKind,
    Stage,
    check_against_confirmation,
    check_data,
    check_training,
    describe_fall,
)
from evaluation.model_card import model_card
from evaluation.predictions import TestPredictions, predict_test_rows
from evaluation.readiness import check_artefacts
from evaluation.reports import build_report, write_reports
from evaluation.retrain import Retrained, loss_limit, retrain_and_record
from evaluation.shipped_baseline import ship_baseline
from evaluation.test_lock import TestLock, accesses_of_other_runs, describe_earlier_accesses
from evaluation.winner import Winner
from results.files import read_csv, write_json, write_text
from results.recommendation import recommend
from results.report.page import write_report
from results.run import BASELINE, TEST_REPORT
from results.tracker_thread import conclude
from results.tracking import MLFLOW, WANDB, make_tracker, outcome_of_test, problem_of_tracker
from results.verdict import search_epochs
from training.columns import sha256_of
from training.config import TINY
from training.errors import OnnxExportError
from training.model import load_tokenizer
from training.model_files import Weights, write_model
from training.options import read_yaml
from training.trained_on import write_trained_on

logger = logging.getLogger(__name__)

CHECKPOINT = ".retrain"
"""Directory beside the results with the checkpoint from which a killed retrain is resumed."""

_TRACKER_TIMEOUT_S = 60.0

NUM_READINESS_ROWS = 200
"""Number of test rows on which the saved model is compared with the evaluated one."""


def evaluate_winner(
    winner: Winner,
    lock: TestLock,
    directory: Path,
    *,
    gates: GateKind,
    weights: Weights,
    reopen_reason: str | None,
    with_texts: bool,
) -> dict[str, Any]:
    """Retrain, save the model, evaluate it on the test set, and write all reports.

    If the process is killed at any moment, the next call continues: the retrain from its
    checkpoint, and an evaluation whose files were being written in its directory, with the same
    model.

    Args:
        winner: the winner of the search.
        lock: the lock on the test set of the run.
        directory: `final`, or `final-2`, ...
        gates: which quality gates are checked.
        weights: `safetensors`, or `bin` to save `pytorch_model.bin` as well.
        reopen_reason: the reason for another evaluation on the test set; None for the first one.
        with_texts: whether `report.html` may contain texts of rows.

    Returns:
        The content of `evaluation_report.json`.

    Raises:
        RetrainError: no retrain passed the guard; no model is evaluated on the test set.
        RunError: another process evaluated a model on the test set, or an interrupted evaluation
            was one of another model.
        InputError: the model or the data cannot be loaded, or the data changed meanwhile.
        OSError: a file cannot be written.
    """
    configuration = winner.configuration
    if configuration.model.name == TINY:
        torch.set_num_threads(1)  # a step is too short for several threads: waiting costs more
    tokenizer = load_tokenizer(configuration.model, tiny=winner.run.tokenizer)
    checkpoint = directory / CHECKPOINT
    if winner.choice is not None:  # an interrupted retrain may have been one of the winner
        checkpoint /= winner.choice["trial_id"]
    retrained = retrain_and_record(winner, tokenizer, directory, checkpoint)
    aside = directory / ".model"
    _write_model(winner, tokenizer, retrained, aside, weights)
    sha256 = sha256_of(aside / "model.safetensors")
    lock.open(directory, reopen_reason, model_sha256=sha256)
    shutil.rmtree(directory / "model", ignore_errors=True)  # the same weights, or not evaluated
    aside.rename(directory / "model")
    predictions = predict_test_rows(winner, retrained.tuned.model, tokenizer)
    report = build_report(
        predictions=predictions.test,
        low_confidence=predictions.low_confidence,
        names=configuration.data.label_names,
        decided_by=winner.objective,
        is_ordered=configuration.data.is_ordered,
        gates_kind=gates,
        test_openings=lock.as_report(),
        seed=configuration.training.seed,
    )
    report["earlier_openings"] = accesses_of_other_runs(winner)
    report["summary"] += describe_earlier_accesses(report["earlier_openings"])
    report["search"] = _search_scores(winner)
    report["encoder"] = winner.choice
    report["retrain"] = _describe_retrain(winner, retrained)
    report["summary"] = describe_fall(report) + report["summary"]
    lock.mark("seen")  # from here on scores are written, so the access counts
    _write_all(winner, predictions, retrained, report, directory)
    write_report(winner.run, winner.record, with_texts=with_texts)
    lock.mark("complete")
    remove_checkpoints(lock)
    _track(winner, report, with_texts=with_texts)
    return report


def _track(winner: Winner, report: dict[str, Any], *, with_texts: bool) -> None:
    """Add the test scores, the verdict and the report to the search in its tracker."""
    output = read_yaml(winner.run.config).get("output") or {}
    kind = output.get("tracker", "none")
    if kind not in (MLFLOW, WANDB):
        return
    if problem := problem_of_tracker(kind):
        logger.warning("the test scores are not tracked: %s", problem)
        return
    with_texts = with_texts and output.get("tracker_texts") is True
    outcome = outcome_of_test(winner.run, winner.record, report, with_texts=with_texts)
    conclude(make_tracker(kind, winner.run), kind, outcome, timeout_s=_TRACKER_TIMEOUT_S)


def remove_checkpoints(lock: TestLock) -> None:
    """Remove the checkpoints of finished evaluations."""
    for access in lock.own_accesses():
        if access.state == "complete":
            directory = lock.run.directory / access.directory
            shutil.rmtree(directory / CHECKPOINT, ignore_errors=True)


def _write_all(
    winner: Winner,
    predictions: TestPredictions,
    retrained: Retrained,
    report: dict[str, Any],
    directory: Path,
) -> None:
    """Write baseline and reports, add the verdict and the stage gates, and write the model card."""
    reports = directory / "reports"
    ship_baseline(
        predictions.baseline,
        report,
        directory / BASELINE,
        run_name=winner.run.directory.name,
    )
    verdict = recommend(winner.run, winner.record, report, directory=directory)
    report["verdict"] = verdict.as_record()
    write_reports(
        reports,
        predictions,
        report,
        winner.configuration.data.label_names,
        is_ordered=winner.configuration.data.is_ordered,
        search_curve=winner.search_curve(),
        final_curve=[{"epoch": p.epoch, "loss": p.train_loss} for p in retrained.history],
    )
    report["stages"] = _check_stages(winner, predictions, retrained, report, directory)
    write_json(reports / TEST_REPORT, report)
    write_text(directory / "model" / "README.md", model_card(winner, report))


def _check_stages(
    winner: Winner,
    predictions: TestPredictions,
    retrained: Retrained,
    report: dict[str, Any],
    directory: Path,
) -> dict[str, Stage]:
    config, data, test = winner.configuration.data, winner.data, predictions.test.data
    splits = read_csv(winner.run.splits)
    by_length = np.argsort([len(text) for text in test.texts], kind="stable")
    spread = np.linspace(0, len(by_length) - 1, min(NUM_READINESS_ROWS, len(by_length)))
    sampled = by_length[spread.astype(np.int64)]
    return {
        "data": check_data(data, test, splits, config),
        "training": check_training(
            retrained.tuned,
            retrained.history,
            retrained.training,
            num_rows=winner.num_final_rows,
            loss_limit=loss_limit(winner.losses_seen, len(config.label_names)),
            has_reference=bool(winner.losses_seen),
        ),
        "evaluation": check_against_confirmation(report),
        "readiness": check_artefacts(
            directory / "model",
            [test.texts[index] for index in sampled],
            predictions.test.probabilities[sampled],
        ),
    }


def _write_model(
    winner: Winner,
    tokenizer: PreTrainedTokenizerBase,
    retrained: Retrained,
    directory: Path,
    weights: Weights,
) -> None:
    trained = winner.configuration.model_copy(update={"training": retrained.training})
    try:
        write_model(directory, retrained.tuned.model, tokenizer, trained, weights)
    except OnnxExportError as error:
        logger.warning("%s", error)  # the readiness stage reports it as not met
    write_trained_on(directory, winner.texts_trained_on)


def _describe_retrain(winner: Winner, retrained: Retrained) -> dict[str, Any]:
    """Return facts about the retrain, which may differ from `best.yaml`."""
    return {
        "seed": retrained.training.seed,
        "rejected_attempts": list(retrained.rejected),
        "rows": winner.num_final_rows,
        "seconds": retrained.tuned.seconds,
        "fixed_rows_loss": retrained.tuned.fixed_rows_loss,
        "fixed_rows_loss_in_search": winner.losses_seen,
    }


def _search_scores(winner: Winner) -> dict[str, Any]:
    """Return the scores of the winner in the search, to compare with those on the test set."""
    best = winner.own_record["best"]
    confirmed = _of_replicates(winner, "score")
    deviation = stdev(confirmed) if len(confirmed) > 1 else None
    return {
        "trial_id": best["trial_id"],
        "search_score": best["search_score"],
        "search_epochs": search_epochs(winner.own_record, "best"),
        "epochs": winner.configuration.training.epochs,
        "search_f1_macro": best["search_f1_macro"],
        "confirmed_score": _mean(confirmed),
        "confirmed_f1_macro": _mean(_of_replicates(winner, "f1_macro")),
        "confirmed_deviation": deviation,
        "confirmed_standard_error": None
        if deviation is None
        else deviation / math.sqrt(len(confirmed)),
        "note": "both were selected on; only the test score is unbiased; the search score was taken"
        " after `search_epochs` epochs, the others after `epochs`",
    }


def _of_replicates(winner: Winner, key: str) -> list[float]:
    """Return a score of each finished replicate of the winner; empty without a confirmation."""
    confirmation = winner.record["confirmation"] or {}
    for candidate in confirmation.get("candidates", []):
        if candidate["parameters"] == winner.own_record["best"]["parameters"]:
            return [value for value in candidate[key] if value is not None]
    return []


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
