"""The verdict on a terminal: sentence, figures, what to do next, gates; readable in ten seconds."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from results.encoder_choice import as_evaluated
from results.key_figures import KeyFigure, key_figures
from results.live_view import terminal_console
from results.next_steps import NextStep
from results.recommendation import Recommendation, recommend
from results.run import Run
from results.verdict import describe_result
from training.cli import printable

_STYLES = {"green": "bold green", "red": "bold red", "amber": "bold yellow", "grey": "bold"}
_ASCII_SIGNS = {"\u2713": "+", "\u2717": "x"}
"""Signs for a terminal that cannot display the others."""

_MAX_STEPS = 4


def print_verdict(run: Run, record: Mapping[str, Any], test: Mapping[str, Any]) -> None:
    """Print the verdict, its figures and the next steps; in colour on a terminal that has it.

    Args:
        run: the run, with the files of its evaluation.
        record: content of `search.json`.
        test: content of `evaluation_report.json`.
    """
    found = recommend(run, record, test)
    console = terminal_console()
    sign = found.sign if _can_display(found.sign) else _ASCII_SIGNS[found.sign]
    rest = printable(found.sentence.removeprefix(found.words))
    # Without colour the words stand out by their sign and their line alone.
    headline = Text.assemble((f"{sign} {found.words}", _STYLES[found.colour]), rest)
    console.print(headline, soft_wrap=True)  # a command must stay in one line
    for line in (
        *found.notes,
        *describe_figures(
            key_figures(as_evaluated(record, test), test), str(test["objective"]["label"])
        ),
        *describe_steps(found.next_steps),
        describe_gates(found, test),
        f"Report: {run.report}",
    ):
        console.print(printable(line), soft_wrap=True)


def describe_search_result(run: Run, record: Mapping[str, Any]) -> Iterator[str]:
    """Describe what a completed search found, its outcome in one sentence first."""
    found = recommend(run, record, None)
    yield f"{found.sign} {found.sentence}"
    yield from found.notes
    yield from describe_result(record)


def describe_figures(figures: Sequence[KeyFigure], label: str) -> Iterator[str]:
    """Return a line for each score, in columns."""
    width = max((len(figure.name) for figure in figures), default=0)
    for figure in figures:
        ends = figure.interval
        between = f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "no interval"
        yield f"  {figure.name:<{width}}  {label} {figure.score:.3f} ({between}), {figure.origin}"
    if any(figure.interval for figure in figures):
        yield "  (in brackets: 95 % intervals)"


def describe_steps(steps: Sequence[NextStep]) -> Iterator[str]:
    """Return the first few steps, one a line."""
    if len(steps) == 1:
        yield f"Next: {steps[0]}"
        return
    if steps:
        yield "Next:"
    for number, step in enumerate(steps[:_MAX_STEPS], 1):
        yield f"  {number}. {step}"
    if len(steps) > _MAX_STEPS:
        yield f"  and {len(steps) - _MAX_STEPS} more in the report"


def describe_gates(found: Recommendation, test: Mapping[str, Any]) -> str:
    """Return one line on the quality gates and the checks of the evaluation."""
    checks = [check for stage in test.get("stages", {}).values() for check in stage]
    num_gates, missed = len(test.get("gates", {})), found.missed_gates
    total = num_gates + len(checks)
    kinds = "gates and checks" if num_gates else "checks (no quality gate was requested)"
    if not missed:
        return f"Gates: all {total} {kinds} met"
    return f"Gates: {len(missed)} of {total} {kinds} not met: {'; '.join(missed)}"


def _can_display(sign: str) -> bool:
    try:
        sign.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
