"""Gates: what the study asks of a model before it is used, and what every stage must hold."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from evaluation.markdown import one_line
from evaluation.scores import SCORE
from evaluation.uncertainty import LEVEL, SIGNIFICANCE
from training.config import DataConfig, TrainingConfig
from training.data import PreparedData
from training.errors import InputError
from training.finetune import FineTuned
from training.folding import drop_key, fold
from training.metrics import Evaluation
from training.schedule import schedule_of
from training.texts import Indices, LabelledTexts

Check = dict[str, Any]
Stage = dict[str, Check]

_GUARDED = "the retrain's guard rejects such a model before the test is opened"

TOLERANCE = 0.01
"""How far the share of a class that is held out may be from the configured one."""


def check(met: bool, value: float | str, rule: str) -> Check:
    """One check as a report holds it; a number that JSON cannot hold becomes text."""
    holds = isinstance(value, str) or np.isfinite(value)
    return {"met": bool(met), "value": value if holds else str(value), "rule": rule}


def unmet_stages(stages: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """The checks that are not met, as "data: no text in two splits", in their order."""
    return [
        f"{stage}: {name}"
        for stage, checks in stages.items()
        for name, found in checks.items()
        if not found["met"]
    ]


def check_data(
    data: PreparedData,
    test: LabelledTexts,
    splits: Sequence[Mapping[str, str]],
    config: DataConfig,
) -> Stage:
    """Check the data stage.

    Args:
        data: train and validation rows, as prepared from the file.
        test: the opened test rows.
        splits: rows of the search's `splits.csv`, each with `row`, `split` and `reason`.
        config: section `data`.
    """
    parts = {"train": data.train, "validation": data.validation, "test": test}
    return {
        "every input row accounted for": _every_row(data, splits),
        "rows in the recorded split": _recorded_rows(parts, splits),
        "labels are codes": _labels(parts, config.labels),
        "class shares kept": _class_shares(data, test, config),
        "no text in two splits": _apart(
            ({fold(text) or drop_key(text) for text in part.texts} for part in parts.values()),
            "folded texts",
        ),
        "no group in two splits": _apart(
            (set(part.groups.tolist()) for part in parts.values()), "groups"
        ),
    }


def check_training(
    tuned: FineTuned,
    history: Sequence[Evaluation],
    training: TrainingConfig,
    *,
    num_rows: int,
    loss_limit: float,
) -> Stage:
    """Check the training stage.

    Args:
        tuned: end of the final training.
        history: its evaluations, made on the fixed training rows.
        training: what it was trained with.
        num_rows: rows trained on, train and validation together.
        loss_limit: highest loss on the fixed rows that the retrain's guard accepts.
    """
    budget = schedule_of(training, num_rows).budget
    num_labels = tuned.model.config.num_labels
    assert num_labels
    untrained = math.log(num_labels)  # of a uniform guess, weighted or not
    losses = [loss for point in history for loss in (point.train_loss, point.eval_loss)]
    not_finite = int(np.count_nonzero(~np.isfinite([*losses, tuned.fixed_rows_loss])))
    before = history[0].train_loss if len(history) > 1 else untrained
    fallen = bool(history) and history[-1].train_loss < before
    trend = " to ".join(f"{point.train_loss:.4f}" for point in (*history[:1], *history[-1:]))
    collapsed = bool(history) and history[-1].collapsed
    within = tuned.fixed_rows_loss <= loss_limit  # false for a loss that is not a number
    return {
        "finished": check(
            tuned.outcome == "completed" and tuned.examples == budget,
            f"{tuned.outcome}, {tuned.examples:,} training rows seen",
            f"completed, with the full budget of {budget:,} rows ({training.epochs} epochs);"
            " checked here alone",
        ),
        "every loss finite": check(
            bool(history) and not not_finite,
            f"{not_finite} not finite of {len(losses) + 1}",
            "each recorded loss is a finite number; the retrain's guard asks it of the last one",
        ),
        "loss fallen": check(
            fallen,
            trend or "no evaluation",
            "the training loss of the last interval is below that of the first, or where there is"
            f" one alone below {untrained:.4f}, that of a uniform guess; checked here alone",
        ),
        "not collapsed": check(
            bool(history) and not collapsed,
            "one class for every row" if collapsed else "more than one class is predicted",
            f"at the end the fixed training rows are not all given one class; {_GUARDED}",
        ),
        "loss on fixed rows within the guard's limit": check(
            within,
            tuned.fixed_rows_loss,
            f"at most {loss_limit:.4f}, from the losses that the search's full trainings ended at;"
            f" {_GUARDED}",
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
        f"each of the file's {summary.rows:,} rows stands once in splits.csv; {summary.kept:,}"
        f" kept + {sum(dropped.values()):,} dropped, as many for each reason",
    )


def _recorded_rows(
    parts: Mapping[str, LabelledTexts], splits: Sequence[Mapping[str, str]]
) -> Check:
    recorded = {name: {line["row"] for line in splits if line["split"] == name} for name in parts}
    loaded = {name: {str(row) for row in part.rows} for name, part in parts.items()}
    num_wrong = sum(len(recorded[name] ^ loaded[name]) for name in parts)
    return check(
        num_wrong == 0,
        f"{num_wrong} rows elsewhere",
        "train, validation and test hold the rows that splits.csv gives them",
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
        all(there == codes for there in found.values()),
        f"rarest: {fewest} rows of '{labels[code]}' in {split}",
        f"labels are 0 to {len(labels) - 1}, and each stands in train, validation and test",
    )


def _class_shares(data: PreparedData, test: LabelledTexts, config: DataConfig) -> Check:
    fixed = config.split_column is not None
    if fixed and not _validation_was_drawn(data, config):
        return check(True, "fixed by the file", f"none where {config.split_column} fixes the split")
    draws = [
        ("validation", [data.validation], [data.train, data.validation], data.validation_share)
    ]
    if not fixed:
        draws.append(("test", [test], [test, data.train, data.validation], config.test_size))
    of_test = "the file fixes the test" if fixed else f"{config.test_size:.0%} is in test"
    excess, distance, where = max(
        (away - allowed, away, f"'{label}' in {name}")
        for name, held, whole, share in draws
        for code, label in enumerate(config.labels)
        for away, allowed in [_distance(_groups_of(held, code), _groups_of(whole, code), share)]
    )
    return check(
        excess <= 1e-12,
        f"{distance * 100:.2f} points at {where}",
        f"of each class {of_test} and {data.validation_share:.0%} of the rest is in validation, to"
        f" {TOLERANCE * 100:.0f} point, or one row or the class's largest"
        " group where that is more",
    )


def _validation_was_drawn(data: PreparedData, config: DataConfig) -> bool:
    """Whether the validation rows come from a draw and not from the file.

    Where the file fixes them their share is the one that is found, to the last digit; a draw may
    hit that by chance, but then it repeats.
    """
    found = len(data.validation.labels) / (len(data.train.labels) + len(data.validation.labels))
    if data.validation_share != found:
        return True
    try:
        _, drawn = data.resplit(config.split_seed)
    except InputError:  # a class too rare to be drawn
        return False
    return set(drawn.rows.tolist()) == set(data.validation.rows.tolist())


def _groups_of(parts: Sequence[LabelledTexts], code: int) -> Indices:
    """Group of each row of a class, int64 [rows of the class]."""
    return np.concatenate([part.groups[part.labels == code] for part in parts])


def _distance(held: Indices, whole: Indices, share: float) -> tuple[float, float]:
    """How far the share of a class that is held out is from `share`, and how far it may be.

    The draw itself keeps to a point, or to what whole rows and whole groups cost a small class.
    """
    if not len(whole):
        return 1.0, 0.0
    largest = int(np.unique(whole, return_counts=True)[1].max())
    return abs(len(held) / len(whole) - share), max(TOLERANCE, largest / len(whole))


def _apart(parts: Iterable[set[Any]], what: str) -> Check:
    times = Counter(member for part in parts for member in part)
    shared = sum(1 for count in times.values() if count > 1)
    return check(
        shared == 0,
        f"{shared} of {len(times):,} {what}",
        f"0 {what} stand in more than one of train, validation and test",
    )


BELOW_CONFIRMED = "test not far below the confirmed score"
"""Name of the check."""

_STANDARD_ERRORS = 3
_HALF_WIDTH = NormalDist().inv_cdf((1 + LEVEL) / 2)
"""Of the test's interval, in standard errors."""


def check_against_confirmation(report: Mapping[str, Any]) -> Stage:
    """Check that the test is not far below what the confirmation led to expect.

    The confirmed mean is of fresh trainings on validation rows drawn afresh. Chance and what is
    left of selection move the test by a standard error or so; a starting model that has seen the
    validation rows, or validation rows that are easier than the test's, by more.

    Args:
        report: content of evaluation_report.json: `objective`, `score`, `confidence_intervals`,
            `search`.

    Returns:
        {name: check}; empty without a confirmation: the search's own score is too high by
        selection, and nothing can be claimed.
    """
    search, tested = report["search"], report[SCORE]
    confirmed = search["confirmed_score"]
    if confirmed is None:
        return {}
    low, high = report["confidence_intervals"][SCORE]
    of_test, of_mean = (high - low) / (2 * _HALF_WIDTH), search["confirmed_standard_error"]
    joint = math.hypot(of_test, of_test if of_mean is None else of_mean)
    return {
        BELOW_CONFIRMED: check(
            tested >= confirmed - _STANDARD_ERRORS * joint,
            f"test {tested:.4f}, confirmed {confirmed:.4f}, joint standard error {joint:.4f}",
            f"{one_line(report['objective']['label'])} of the test is at most {_STANDARD_ERRORS}"
            " joint standard errors below the mean of the winner's replicates; joint: the root of"
            f" the sum of the squares of the test's (from its {LEVEL:.0%} interval) and the mean's"
            " (of one replicate alone, the test's again)",
        )
    }


def describe_fall(report: Mapping[str, Any]) -> str:
    """The sentence to stand before the result of a test that fell so far; empty for others.

    Args:
        report: as in `check_against_confirmation`, and `retrain`, whose loss on the fixed rows
            tells a model that learnt less from rows that were easier.
    """
    if all(found["met"] for found in check_against_confirmation(report).values()):
        return ""
    fall = report["search"]["confirmed_score"] - report[SCORE]
    retrain = report["retrain"]
    loss, highest = retrain["fixed_rows_loss"], max(retrain["fixed_rows_loss_in_search"])
    why = (
        "validation rows were easier than the test's, or known to the starting model, and what was"
        " chosen by them may not be the best"
    )
    if loss > highest:
        why = (
            "the retrain learnt less than the search's trainings did (loss on the same training"
            f" rows {loss:.3f}, theirs at most {highest:.3f}), as models from scratch do with some"
            " seeds"
        )
    return (
        f"The test is {fall * 100:.1f} points below the confirmed score, more than"
        f" {_STANDARD_ERRORS} joint standard errors: {why}. "
    )


GateKind = Literal["minimum", "optimal", "none"]

# Accuracy, macro-F1, F1 of each class: the study's two levels.
_THRESHOLDS = {"minimum": (0.85, 0.80, 0.70), "optimal": (0.90, 0.85, 0.80)}

_BASELINE = "beats the baseline"


def check_gates(kind: GateKind, report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Hold a report's values against the thresholds; a value must be above, not at, its own.

    Args:
        kind: which thresholds; `none` has no gates.
        report: `accuracy`, `f1_macro`, `per_class` and `baseline` as in evaluation_report.json.

    Returns:
        {gate: {`threshold`, `value`, `met`}}: `accuracy`, `f1_macro`, `f1 of NAME` for each
        class, `beats the baseline` (the difference in macro-F1, with its `p_value`, which must be
        below 0.05 besides).
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
    gates[_BASELINE] = _beats(report["baseline"])
    return gates


def unmet(gates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the gates that are not met, in their order."""
    return [name for name, gate in gates.items() if not gate["met"]]


def all_unmet(kind: GateKind, report: Mapping[str, Any]) -> list[str]:
    """What the exit code must tell: quality gates, then stage gates, that are not met.

    Args:
        kind: which gates were asked for; `none` asks for neither.
        report: content of evaluation_report.json, with `gates` and `stages`.
    """
    if kind == "none":
        return []
    return [*unmet(report["gates"]), *unmet_stages(report["stages"])]


def advice(missed: Sequence[str]) -> str:
    """What to do about gates that are not met, in a clause."""
    if f"evaluation: {BELOW_CONFIRMED}" in missed:
        return (
            "find out why validation rows were easier than the test's (rows of one source in both"
            " train and validation: data.group_column), or what the starting model had seen"
        )
    if list(missed) == [_BASELINE]:
        return "the baseline does as well on these rows: use it, or try a larger model"
    return "label more rows of the weakest classes"


def _beats(baseline: Mapping[str, Any]) -> dict[str, Any]:
    gate = _gate(0.0, baseline["difference"]["f1_macro"])
    p_value = baseline["p_value"]["f1_macro"]
    return {**gate, "met": gate["met"] and p_value < SIGNIFICANCE, "p_value": p_value}


def _gate(threshold: float, value: float) -> dict[str, Any]:
    return {"threshold": threshold, "value": value, "met": value > threshold}
