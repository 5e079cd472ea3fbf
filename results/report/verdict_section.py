"""The top of `report.html`: the verdict, three numbers and what to do next, on the first screen."""

from collections.abc import Iterable, Sequence
from html import escape

from results.encoder_choice import as_evaluated
from results.key_figures import KeyFigure, key_figures
from results.next_steps import NextStep
from results.recommendation import Recommendation, recommend
from results.report.markup import fold, heading, paragraphs
from results.report.run_data import RunData
from results.score_names import capitalise
from results.trial_states import VerdictKind

VERDICT = "verdict"
"""Anchor of the section."""

_MOST_STEPS = 3
"""Most steps that are not folded away; one fewer below several reasons."""


def describe_verdict(data: RunData) -> str:
    """Write the section that fills the first screen."""
    found = recommend(data.run, data.record, data.test)
    figures = key_figures(as_evaluated(data.record, data.test), data.test)
    return (
        f'<section id="{VERDICT}" aria-labelledby="{VERDICT}-title">'
        f"{_banner(found)}{paragraphs(found.notes)}"
        f"{_figures(figures, data.score_label)}{_steps(found)}"
        "</section>\n"
    )


def _banner(found: Recommendation) -> str:
    """Return sign and sentence in large type; cautions and several reasons stand below it."""
    sentence, caution, below = found.sentence.removeprefix(found.words).partition(" Caution: ")
    if caution:
        below = f'<p class="below">{escape(caution.strip())} {escape(below)}</p>'
    if _has_several_reasons(found):
        sentence = ", because"
        items = [f"<li>{escape(reason)}</li>" for reason in found.reasons]
        below = _reasons(items[:2]) + fold(f"{len(items) - 2} more", _reasons(items[2:]))
    return (
        f'<div class="banner {escape(found.colour)}">'
        f'<span class="sign" aria-hidden="true">{escape(found.sign)}</span>'
        f'<div><h2 id="{VERDICT}-title"><strong>{escape(found.words)}</strong>{escape(sentence)}'
        f"</h2>{below}</div></div>\n"
    )


def _has_several_reasons(found: Recommendation) -> bool:
    return found.kind == VerdictKind.DO_NOT_TRUST and len(found.reasons) > 1


def _reasons(items: Sequence[str]) -> str:
    return f'<ul class="below">{"".join(items)}</ul>\n' if items else ""


def _figures(figures: Iterable[KeyFigure], label: str) -> str:
    items = "".join(
        f"<div><dt>{escape(capitalise(figure.name))}: <span>{escape(label)}</span></dt>"
        f"<dd><b>{figure.score:.3f}</b>{_interval(figure)}"
        f'<span class="origin">{escape(capitalise(figure.origin))}.</span></dd></div>\n'
        for figure in figures
    )
    return f'<dl class="figures">{items}</dl>\n' if items else ""


def _interval(figure: KeyFigure) -> str:
    if figure.interval is None:
        return ""
    low, high = figure.interval
    ends = f"{low:.3f} to {high:.3f}"
    return f'<span class="interval"><span>95 % interval</span> {ends}</span> '


def _steps(found: Recommendation) -> str:
    """Return the first steps as a list; the others, and all commands but the first, are folded."""
    steps, most = found.next_steps, _MOST_STEPS - _has_several_reasons(found)
    if not steps:
        return ""
    first = next((step for step in steps if step.command), None)
    items = [_step(step, is_open=step is first) for step in steps]
    others = len(items) - most
    return (
        heading("What to do next")
        + _list(items[:most])
        + fold(f"{others} more step{'s' * (others > 1)}", _list(items[most:], start=most + 1))
    )


def _list(items: Sequence[str], *, start: int = 1) -> str:
    return f'<ol start="{start}">{"".join(items)}</ol>\n' if items else ""


def _step(step: NextStep, *, is_open: bool) -> str:
    text = escape(step.text)
    if step.command is None:
        return f"<li>{text}.</li>\n"
    command = f'<code class="command">{escape(step.command)}</code>'
    return f"<li>{text}: {command if is_open else fold('command', command).strip()}</li>\n"
