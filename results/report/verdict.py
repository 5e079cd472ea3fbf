"""The first section: what was found, as figures to be seen first and in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from results.report.markup import cards, paragraphs
from results.report.material import Material
from results.report.searched import label_worth, three_scores
from results.trial_states import SearchStatus
from results.verdict import describe_result


def verdict(material: Material) -> str:
    """What won, by how much, how surely, what the test said, and what the labels are worth."""
    record, test = material.record, material.test
    if record.get("best") is None:
        return paragraphs([f"The search is {record['status']}; no trial has a score yet."])
    lines = [
        *_state(record),
        *([test["summary"]] if test else ["The test was not opened."]),
        *describe_result(record),
        *label_worth(record["data"]),
    ]
    sentences = [line if line.endswith(".") else f"{line}." for line in lines]
    return cards(_figures(record, test)) + paragraphs(sentences) + three_scores(record, test)


def _state(record: Mapping[str, Any]) -> Iterator[str]:
    if record["status"] != SearchStatus.COMPLETED:
        yield f"The search is {record['status']}: what stands here is not its result yet."


def _figures(
    record: Mapping[str, Any], test: Mapping[str, Any] | None
) -> Iterator[tuple[str, str, str]]:
    best, default = record["best"], record.get("default") or {}
    label = record["objective"]["label"]
    values = ", ".join(f"{name} {value:.4g}" for name, value in best["parameters"].items())
    yield "winner", best["trial_id"], values
    yield "lead over the default", *_lead(record, best, default)
    if test is None:
        yield f"test {label}", "not opened", "python -m evaluation.final opens it, once"
        return
    low, high = test["confidence_intervals"]["score"]
    against = test["baseline"]
    of_baseline = f"95 % interval {low:.3f} to {high:.3f}; baseline {against['score']:.3f}"
    yield f"test {label}", f"{test['score']:.3f}", of_baseline
    yield "gates met", *_gates(test)


def _lead(
    record: Mapping[str, Any], best: Mapping[str, Any], default: Mapping[str, Any]
) -> tuple[str, str]:
    """Points of the score, and what they are worth."""
    if best["trial_id"] == default.get("trial_id"):
        return "none", "the default stays: nothing was shown to be better"
    confirmation = record.get("confirmation") or {}
    found = confirmation.get("winner_beats_default")
    if not found:
        return "not known", confirmation.get("verdict", "not confirmed on fresh draws")
    worth = "distinguishable" if found["distinguishable"] else "not yet distinguishable"
    draws = f"on {found['draws']} fresh draws, standard error"
    return (
        f"{found['difference'] * 100:+.2f} points",
        f"{draws} {found['standard_error'] * 100:.2f}: {worth}",
    )


def _gates(test: Mapping[str, Any]) -> tuple[str, str]:
    stages = [gate for checks in test.get("stages", {}).values() for gate in checks.values()]
    quality = list(test.get("gates", {}).values())
    checks = [*quality, *stages]
    met = sum(gate["met"] for gate in checks)
    told = "quality and stage gates" if quality else "stage gates; no quality gate was asked for"
    return f"{met} of {len(checks)}", told
