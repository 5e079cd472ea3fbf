"""Gates: the quality that the study requires of a model, and the checks of each stage."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from evaluation.markdown import one_line
from evaluation.scores import SCORE
from results.intervals import SIGNIFICANCE
from results.recommendation import missed_gates
from results.trust import MAX_STANDARD_ERRORS, fall_below_confirmed
from training.config import DataConfig, TrainingConfig
from training.data import PreparedData
from training.errors import InputError
from training.finetune import FineTuned
from training.folding import drop_key, fold
from training.metrics import Evaluation
from training.schedule import schedule_of
from training.texts import Indices, LabelledTexts

GateKind = Literal["minimum", "optimal", "none"]

Check = dict[str, Any]

Stage = dict[str, Check]

BELOW_CONFIRMED = "test not far below the confirmed score"
"""Name of the check of the test score against the confirmed score."""

TOLERANCE = 0.01
"""Largest difference between the held-out share of a class and the configured share."""

# Thresholds of accuracy, macro-F1 and the F1 of each class, from the study.
_THRESHOLDS = {"minimum": (0.85, 0.80, 0.70), "optimal": (0.90, 0.85, 0.80)}

_BASELINE = "beats the baseline"

_GUARDED = "the guard rejects such a model before it is evaluated on the test set"


def check_gates(kind: GateKind, report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Compare the values of a report with the thresholds; a value must exceed its threshold.

    Args:
        kind: which thresholds; `none` has no gates.
        report: `accuracy`, `f1_macro`, `per_class` and `baseline` as in evaluation_report.json.

    Returns:
        {gate: {`threshold`, `value`, `met`}}: `accuracy`, `f1_macro`, `f1 of NAME` for each
        class, `beats the baseline` (the difference in macro-F1; its `p_value` must also be below
        0.05).
    """
    if kind == "none":
        return {}
    accuracy, f1_macro, f1_of_class = _THRESHOLDS[kind]
    gates = {
        "accuracy": _gate(accuracy, report["accuracy"]),
        "f1_macro": _gate(f1_macro, report["f1_macro"]),
    }
    for name, scores in report["per_class"].items():
        gates[f"f1 of {name}"] = _gate(f1_of_class, scores["f1"])
    gates[_BASELINE] = _beats_baseline(report["baseline"])
    return gates


def _beats_baseline(baseline: Mapping[str, Any]) -> dict[str, Any]:
    gate = _gate(0.0, baseline["difference"]["f1_macro"])
    p_value = baseline["p_value"]["f1_macro"]
    return {**gate, "met": gate["met"] and p_value < SIGNIFICANCE, "p_value": p_value}


def _gate(threshold: float, value: float) -> dict[str, Any]:
    return {"threshold": threshold, "value": value, "met": value > threshold}


def all_unmet(kind: GateKind, report: Mapping[str, Any]) -> list[str]:
    """List the quality gates, then the stage gates, that are not met: then the exit code is 3.

    Args:
        kind: which gates are checked; with `none` neither quality gates nor stage gates.
        report: content of evaluation_report.json, with `gates` and `stages`.
    """
    if kind == "none":
        return []
    return missed_gates(report)


def check(met: bool, value: float | str, rule: str) -> Check:
    """Return one check of a report; a number that JSON cannot represent becomes text."""
    fits_json = isinstance(value, str) or np.isfinite(value)
    return {"met": bool(met), "value": value if fits_json else str(value), "rule": rule}


def check_data(
    data: PreparedData,
    test: LabelledTexts,
    splits: Sequence[Mapping[str, str]],
    config: DataConfig,
) -> Stage:
    """Check the data stage.

    Args:
        data: training and validation rows, as prepared from the file.
        test: the test rows.
        splits: rows of the search's `splits.csv`, each with `row`, `split` and `reason`.
        config: section `data` of the configuration.
    """
    parts = {"train": data.train, "validation": data.validation, "test": test}
    return {
        "every input row accounted for": _every_row(data, splits),
        "rows in the recorded split": _recorded_rows(parts, splits),
        "labels are codes": _labels(parts, config.label_names),
        "class shares kept": _class_shares(data, test, config),
        "no text in two splits": _apart(
            ({fold(text) or drop_key(text) for text in part.texts} for part in parts.values()),
            "folded texts",
        ),
        "no group in two splits": _apart(
            (set(part.groups.tolist()) for part in parts.values()), "groups"
        ),
    }


def _every_row(data: PreparedData, splits: Sequence[Mapping[str, str]]) -> Check:
    summary = data.summary
    numbers = Counter(line["row"] for line in splits)
    reasons = Counter(line["reason"] for line in splits if line["split"] == "dropped")
    dropped = {reason: count for reason, count in summary.dropped.items() if count}
    kept = len(splits) - reasons.total()
    met = (
        numbers == Counter(str(row) for row in range(summary.rows))
        and kept == summary.kept
        and reasons == dropped
    )
    return check(
        met,
        f"{len(splits):,} in splits.csv = {kept:,} kept + {reasons.total():,} dropped",
        f"each of the {summary.rows:,} rows of the file is once in splits.csv: {summary.kept:,}"
        f" kept + {sum(dropped.values()):,} dropped, with the same count for each reason",
    )


def _recorded_rows(
    parts: Mapping[str, LabelledTexts], splits: Sequence[Mapping[str, str]]
) -> Check:
    recorded = {name: {line["row"] for line in splits if line["split"] == name} for name in parts}
    loaded = {name: {str(row) for row in part.rows} for name, part in parts.items()}
    num_wrong = sum(len(recorded[name] ^ loaded[name]) for name in parts)
    return check(
        num_wrong == 0,
        f"{num_wrong} rows are in another split",
        "train, validation and test consist of the rows that splits.csv lists for them",
    )


def _labels(parts: Mapping[str, LabelledTexts], labels: Sequence[str]) -> Check:
    codes = set(range(len(labels)))
    found = {name: set(part.labels.tolist()) for name, part in parts.items()}
    fewest, split, code = min(
        (int(np.count_nonzero(part.labels == code)), name, code)
        for name, part in parts.items()
        for code in codes
    )
    return check(
        all(present == codes for present in found.values()),
        f"rarest: {fewest} rows of '{labels[code]}' in {split}",
        f"labels are 0 to {len(labels) - 1}, and each occurs in train, validation and test",
    )


def _class_shares(data: PreparedData, test: LabelledTexts, config: DataConfig) -> Check:
    fixed = config.split_column is not None
    if fixed and not _validation_was_sampled(data, config):
        rule = f"not checked, because the column {config.split_column} fixes the split"
        return check(True, "fixed by the file", rule)
    samples = [
        ("validation", [data.validation], [data.train, data.validation], data.validation_share)
    ]
    if not fixed:
        samples.append(("test", [test], [test, data.train, data.validation], config.test_size))
    of_test = "the file fixes the test rows" if fixed else f"{config.test_size:.0%} is in test"
    excess, distance, where = max(
        (away - allowed, away, f"'{label}' in {name}")
        for name, held_out, whole, share in samples
        for code, label in enumerate(config.label_names)
        for away, allowed in [_distance(_groups_of(held_out, code), _groups_of(whole, code), share)]
    )
    return check(
        excess <= 1e-12,
        f"{distance * 100:.2f} percentage points for {where}",
        f"of each class {of_test} and {data.validation_share:.0%} of the rest is in validation,"
        f" within {TOLERANCE * 100:.0f} percentage point, or within the share of one row or of the"
        " largest group of the class if that is more",
    )


def _validation_was_sampled(data: PreparedData, config: DataConfig) -> bool:
    """Return whether the validation rows were sampled, and not fixed by the file.

    If the file fixes them, the configured share equals the observed share to the last digit.
    Sampling may give that share by chance, but then the same seed gives the same rows.
    """
    found = len(data.validation.labels) / (len(data.train.labels) + len(data.validation.labels))
    if data.validation_share != found:
        return True
    try:
        _, sampled = data.resplit(config.split_seed)
    except InputError:  # a class is too rare to be sampled
        return False
    return set(sampled.rows.tolist()) == set(data.validation.rows.tolist())


def _groups_of(parts: Sequence[LabelledTexts], code: int) -> Indices:
    """Return the group of each row of a class, int64 [rows of the class]."""
    return np.concatenate([part.groups[part.labels == code] for part in parts])


def _distance(held_out: Indices, whole: Indices, share: float) -> tuple[float, float]:
    """Return how far the held-out share of a class is from `share`, and the largest allowed value.

    Whole rows and whole groups are held out, so a small class may be further away than a point.
    """
    if not len(whole):
        return 1.0, 0.0
    largest = int(np.unique(whole, return_counts=True)[1].max())
    return abs(len(held_out) / len(whole) - share), max(TOLERANCE, largest / len(whole))


def _apart(parts: Iterable[set[Any]], what: str) -> Check:
    times = Counter(member for part in parts for member in part)
    shared = sum(1 for count in times.values() if count > 1)
    return check(
        shared == 0,
        f"{shared} of {len(times):,} {what}",
        f"no {what} are in more than one of train, validation and test",
    )


def check_training(
    tuned: FineTuned,
    history: Sequence[Evaluation],
    training: TrainingConfig,
    *,
    num_rows: int,
    loss_limit: float,
    has_reference: bool = True,
) -> Stage:
    """Check the training stage.

    Args:
        tuned: result of the retrain.
        history: evaluations of the retrain on the fixed training rows.
        training: configuration of the retrain.
        num_rows: number of training and validation rows together.
        loss_limit: highest loss on the fixed rows that the guard of the retrain accepts.
        has_reference: whether the limit comes from full trainings of the winner.
    """
    budget = schedule_of(training, num_rows).budget
    num_labels = tuned.model.config.num_labels
    assert num_labels
    uniform_loss = math.log(num_labels)  # of a uniform guess, with or without class weights
    losses = [loss for point in history for loss in (point.train_loss, point.eval_loss)]
    not_finite = int(np.count_nonzero(~np.isfinite([*losses, tuned.fixed_rows_loss])))
    before = history[0].train_loss if len(history) > 1 else uniform_loss
    fallen = bool(history) and history[-1].train_loss < before
    trend = " to ".join(f"{point.train_loss:.4f}" for point in (*history[:1], *history[-1:]))
    collapsed = bool(history) and history[-1].collapsed
    origin = (
        "derived from the final losses of the winner's full trainings in the search"
        if has_reference
        else "the loss of a uniform guess, because the search has no full training of the winner"
    )
    within = tuned.fixed_rows_loss <= loss_limit  # false for a loss that is not a number
    return {
        "finished": check(
            tuned.outcome == "completed" and tuned.examples == budget,
            f"{tuned.outcome}, {tuned.examples:,} training rows seen",
            f"completed, with the full budget of {budget:,} rows ({training.epochs} epochs);"
            " only checked here",
        ),
        "every loss finite": check(
            bool(history) and not not_finite,
            f"{not_finite} of {len(losses) + 1} are not finite",
            "each recorded loss is a finite number; the guard checks the last one",
        ),
        "loss fallen": check(
            fallen,
            trend or "no evaluation",
            "the training loss of the last interval is below that of the first interval, or if"
            f" there is only one, below {uniform_loss:.4f}, the loss of a uniform guess; only"
            " checked here",
        ),
        "not collapsed": check(
            bool(history) and not collapsed,
            "one class for every row" if collapsed else "more than one class is predicted",
            f"at the end more than one class is predicted on the fixed training rows; {_GUARDED}",
        ),
        "loss on fixed rows within the guard's limit": check(
            within,
            tuned.fixed_rows_loss,
            f"at most {loss_limit:.4f}, {origin}; {_GUARDED}",
        ),
    }


def check_against_confirmation(report: Mapping[str, Any]) -> Stage:
    """Check that the test score is not far below the mean of the confirmation.

    The confirmation trains the winner on replicates, each with a fresh seed and validation split.
    Chance and the remaining selection bias move the test score by about one standard error. It
    falls further if the starting model has seen the validation rows, or if the validation rows are
    easier than the test rows.

    Args:
        report: content of evaluation_report.json: `objective`, `score`, `confidence_intervals`,
            `search`.

    Returns:
        {name: check}; empty without a confirmation, because the score of the search is biased by
        selection and the test score cannot be compared with it.
    """
    fall = fall_below_confirmed(report)
    if fall is None:
        return {}
    confirmed = report["search"]["confirmed_score"]
    return {
        BELOW_CONFIRMED: check(
            not fall.is_too_far,
            f"test {report[SCORE]:.4f}, confirmed {confirmed:.4f}, joint standard error"
            f" {fall.joint_standard_error:.4f}",
            f"{one_line(report['objective']['label'])} on the test set is at most"
            f" {MAX_STANDARD_ERRORS} joint standard errors below the mean of the winner's"
            " replicates",
        )
    }


def describe_fall(report: Mapping[str, Any]) -> str:
    """Return a warning to put before the result if `check_against_confirmation` is not met.

    Args:
        report: as in `check_against_confirmation`, and `retrain`, whose loss on the fixed rows
            distinguishes a model that learnt less from validation rows that were easier.

    Returns:
        The warning; empty if the check is met.
    """
    fall = fall_below_confirmed(report)
    if fall is None or not fall.is_too_far:
        return ""
    retrain = report["retrain"]
    loss = retrain["fixed_rows_loss"]
    highest = max(retrain["fixed_rows_loss_in_search"], default=math.inf)
    why = (
        "the validation rows were easier than the test rows, or the starting model had seen them,"
        " so the configuration that they selected may not be the best"
    )
    if loss > highest:
        why = (
            "the retrain learnt less than the trainings in the search (its loss on the same"
            f" training rows is {loss:.3f}, theirs is at most {highest:.3f}), which happens with"
            " some seeds if a model is trained from scratch"
        )
    return (
        f"The test score is {fall.points:.1f} points below the confirmed score, more than"
        f" {MAX_STANDARD_ERRORS} joint standard errors: {why}. "
    )
