"""The section of `report.html` on the gates: the missed ones first, the met ones folded away."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from results.report.markup import fold, number, paragraphs, table
from results.score_names import OVERALL


@dataclass(frozen=True, kw_only=True)
class _Gate:
    name: str
    is_met: bool
    value: str
    rule: str


def describe_gates(test: Mapping[str, Any]) -> str:
    """Write the gates of quality and of the stages; empty without any.

    Args:
        test: content of `evaluation_report.json`.
    """
    gates = [*_quality_gates(test), *_stage_gates(test)]
    met = [gate for gate in gates if gate.is_met]
    missed = [gate for gate in gates if not gate.is_met]
    missing = f"{len(missed)} of {len(gates)} gates missed"
    return (
        (_list_gates(missed, missing) if missed else "")
        + fold(f"{_count(met, missed)} met", _list_gates(met, ""))
        + paragraphs([] if test.get("gates") else ["No quality gate was requested."])
    )


def _count(met: list[_Gate], missed: list[_Gate]) -> str:
    if missed:
        return f"The other {len(met)} gates are"
    return f"All {len(met)} gates are" if len(met) > 1 else "The only gate is"


def _list_gates(gates: list[_Gate], caption: str) -> str:
    rows = [[gate.name, gate.value, gate.rule] for gate in gates]
    return table(["gate", "value", "required"], rows, caption=caption)


def _quality_gates(test: Mapping[str, Any]) -> Iterator[_Gate]:
    for name, gate in test.get("gates", {}).items():
        p_value = gate.get("p_value")
        rule = f"above {gate['threshold']:.3g}"
        yield _Gate(
            name=OVERALL.get(name, name),
            is_met=gate["met"],
            value=number(gate["value"]) + ("" if p_value is None else f", {_p_value(p_value)}"),
            rule=rule if p_value is None else f"{rule}, p below 0.05",
        )


def _stage_gates(test: Mapping[str, Any]) -> Iterator[_Gate]:
    for stage, checks in test.get("stages", {}).items():
        for name, found in checks.items():
            yield _Gate(
                name=f"{stage}: {name}",
                is_met=found["met"],
                value=number(found["value"]),
                # What is missed is displayed without explanations of how it is checked.
                rule=found["rule"] if found["met"] else found["rule"].partition(";")[0],
            )


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.0005 else f"p = {value:.3f}"
