"""Gates: what the study asks of a model before it is used, and what every stage must hold."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from evaluation.confirmed import BELOW_CONFIRMED
from evaluation.stages import unmet_stages
from evaluation.uncertainty import SIGNIFICANCE

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
