"""The verdict on a run: use the model, use the baseline, either, or trust neither; what to do next.

It is computed from the record of the search and the report of the test evaluation. Nobody else
composes a verdict: report, terminal, model card, Python API and publishing all read this one.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from results.encoder_choice import as_evaluated, recommended_encoder
from results.intervals import SIGNIFICANCE
from results.next_steps import NextStep, list_next_steps
from results.older_runs import with_objective, with_tested_score
from results.run import Run
from results.score_names import capitalise
from results.trial_states import VerdictKind
from results.trust import Cause, Reason, find_reasons
from results.verdict import describe_p_value, describe_search

SIMPLER = "TF-IDF"
"""The simpler one of model and baseline, in the words of the verdict."""


_WORDS = {
    VerdictKind.USE_MODEL: "Use this model",
    VerdictKind.USE_BASELINE: f"Use {SIMPLER} instead",
    VerdictKind.NO_DIFFERENCE: f"No significant difference: use the simpler one, {SIMPLER}",
    VerdictKind.DO_NOT_TRUST: "Do not trust this result",
    VerdictKind.NOT_EVALUATED: "Not evaluated yet",
}
_SIGNS = {
    VerdictKind.USE_MODEL: "\u2713",
    VerdictKind.USE_BASELINE: "\u2717",
    VerdictKind.NO_DIFFERENCE: "=",
    VerdictKind.DO_NOT_TRUST: "!",
    VerdictKind.NOT_EVALUATED: "?",
}
_COLOURS = {
    VerdictKind.USE_MODEL: "green",
    VerdictKind.USE_BASELINE: "red",
    VerdictKind.NO_DIFFERENCE: "amber",
    VerdictKind.DO_NOT_TRUST: "red",
    VerdictKind.NOT_EVALUATED: "grey",
}


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The verdict on a run. Sign, colour and words state the same, each on its own."""

    kind: VerdictKind
    sentence: str
    """The verdict and its figures in one sentence, without a sign; it starts with `words`."""
    reasons: tuple[str, ...] = ()
    """Clauses that complete "do not trust this result, because"; of `use_baseline`: cautions."""
    next_steps: tuple[NextStep, ...] = ()
    """What to do next, the most useful first."""
    missed_gates: tuple[str, ...] = ()
    """Quality gates and checks that are not met; they do not change the verdict."""
    notes: tuple[str, ...] = ()
    """Sentences on the encoder: a cheaper one is recommended, or was evaluated."""

    @property
    def words(self) -> str:
        """The verdict in a few words."""
        return _WORDS[self.kind]

    @property
    def sign(self) -> str:
        """One character."""
        return _SIGNS[self.kind]

    @property
    def colour(self) -> str:
        """Whether the model may be used: `green` yes, `red` no, `amber` either, `grey` unknown."""
        return _COLOURS[self.kind]

    def as_record(self) -> dict[str, Any]:
        """Return `verdict` of `evaluation_report.json`."""
        return {
            "kind": self.kind.value,
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "next_steps": [step.as_record() for step in self.next_steps],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """The model compared with the baseline on the same test rows."""

    lead: float
    """Difference of the scores; positive where the model is better."""
    p_value: float
    """Two-sided, of the paired test."""

    @property
    def is_significant(self) -> bool:
        return self.p_value < SIGNIFICANCE and self.lead != 0


def recommend(
    run: Run,
    record: Mapping[str, Any],
    test: Mapping[str, Any] | None,
    *,
    directory: Path | None = None,
) -> Recommendation:
    """Return the verdict on a run.

    Args:
        run: the run; its paths are in the commands of the next steps.
        record: content of `search.json`, of any version.
        test: content of `evaluation_report.json`, of any version; None: not evaluated.
        directory: the results of this evaluation (`final`, `final-2`, ...); None: the newest one.
    """
    record = with_objective(record)
    notes = tuple(_describe_encoder(record, test))
    if test is None:
        sentence = _untested_sentence(record)
        found = Recommendation(kind=VerdictKind.NOT_EVALUATED, sentence=sentence, notes=notes)
        return _with_next_steps(found, run, record, None, (), directory)
    test = with_tested_score(test)
    reasons, comparison = find_reasons(as_evaluated(record, test), test), _compare(test)
    kind = _decide(reasons, comparison)
    found = Recommendation(
        kind=kind,
        sentence=_sentence(kind, reasons, comparison, test["objective"]["label"]),
        reasons=tuple(reason.text for reason in reasons),
        missed_gates=tuple(missed_gates(test)),
        notes=notes,
    )
    return _with_next_steps(found, run, record, test, reasons, directory)


def _with_next_steps(
    found: Recommendation,
    run: Run,
    record: Mapping[str, Any],
    test: Mapping[str, Any] | None,
    reasons: list[Reason] | tuple[()],
    directory: Path | None,
) -> Recommendation:
    steps = list_next_steps(
        found.kind,
        run,
        record,
        test,
        causes=[reason.cause for reason in reasons],
        directory=directory,
    )
    return replace(found, next_steps=tuple(steps))


def _compare(test: Mapping[str, Any]) -> _Comparison | None:
    """Return the comparison with the baseline; None: the report of an older version has none."""
    baseline = test.get("baseline") or {}
    difference = baseline.get("difference", {}).get("score")
    p_value = baseline.get("p_value", {}).get("score")
    if difference is None or p_value is None or not math.isfinite(difference):
        return None
    sign = 1 if test["objective"].get("higher_is_better", True) else -1
    return _Comparison(lead=sign * difference, p_value=p_value)


def _decide(reasons: list[Reason], comparison: _Comparison | None) -> VerdictKind:
    """Return the verdict; a loss to the baseline is true even where other runs chose before."""
    has_lost = comparison is not None and comparison.is_significant and comparison.lead < 0
    if any(reason.cause != Cause.OTHER_RUNS or not has_lost for reason in reasons):
        return VerdictKind.DO_NOT_TRUST
    if comparison is None:
        return VerdictKind.NOT_EVALUATED
    if not comparison.is_significant:
        return VerdictKind.NO_DIFFERENCE
    return VerdictKind.USE_MODEL if comparison.lead > 0 else VerdictKind.USE_BASELINE


def _sentence(
    kind: VerdictKind, reasons: list[Reason], comparison: _Comparison | None, label: str
) -> str:
    words = _WORDS[kind]
    if kind == VerdictKind.DO_NOT_TRUST:
        return f"{words}, because {'; and because '.join(reason.text for reason in reasons)}."
    if comparison is None:
        return f"{words}: the report of this evaluation has no comparison with {SIMPLER}."
    gap = f"{abs(comparison.lead) * 100:.1f} points"
    probability = describe_p_value(comparison.p_value)
    if kind == VerdictKind.USE_MODEL:
        return f"{words}: on the test rows its {label} is {gap} above {SIMPLER}'s ({probability})."
    if kind == VerdictKind.USE_BASELINE:
        caution = "".join(f" Caution: {reason.text}." for reason in reasons)
        won = f"on the test rows its {label} is {gap} above the model's ({probability})"
        return f"{words}: {won}.{caution}"
    if gap == "0.0 points":
        return f"{words}. On the test rows both have the same {label} to a tenth of a point."
    side = "above" if comparison.lead > 0 else "below"
    return (
        f"{words}. On the test rows the model's {label} is {gap} {side} {SIMPLER}'s"
        f" ({probability}, not below {SIGNIFICANCE})."
    )


def _describe_encoder(record: Mapping[str, Any], test: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield which encoder is recommended, or why another than the winner's was evaluated."""
    chosen = (test or {}).get("encoder")
    if chosen:
        yield f"{capitalise(str(chosen['reason']))}."
    elif advice := recommended_encoder(record):
        yield f"A cheaper encoder is recommended, {advice.short_name}: {advice}."


def _untested_sentence(record: Mapping[str, Any]) -> str:
    return f"{_WORDS[VerdictKind.NOT_EVALUATED]}: {describe_search(record)}."


def missed_gates(test: Mapping[str, Any]) -> list[str]:
    """List quality gates, then checks as `data: no text in two splits`, that are not met.

    Args:
        test: content of `evaluation_report.json`.
    """
    quality = [name for name, gate in test.get("gates", {}).items() if not gate["met"]]
    stages = [
        f"{stage}: {name}"
        for stage, checks in test.get("stages", {}).items()
        for name, found in checks.items()
        if not found["met"]
    ]
    return [*quality, *stages]
