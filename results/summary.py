"""A short summary of a run: lines for `repr`, a table for a notebook."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from results.encoder_choice import as_evaluated
from results.key_figures import key_figures
from results.older_runs import with_objective
from results.parameter_values import format_parameters, short_model_names
from results.recommendation import recommend
from results.run import Run
from results.trial_states import VerdictKind


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Names with their values, all plain text."""

    title: str
    rows: Sequence[tuple[str, str]]
    """(name, value)."""

    def as_text(self) -> str:
        """Return the title and a line a row."""
        width = max((len(name) for name, _ in self.rows), default=0)
        return "\n".join([self.title, *(f"  {name:<{width}}  {text}" for name, text in self.rows)])

    def as_html(self) -> str:
        """Return a table that takes its colours from the notebook."""
        cell = "text-align: left; vertical-align: top; white-space: normal"
        rows = "".join(
            f'<tr><th scope="row" style="{cell}">{escape(name)}</th>'
            f'<td style="{cell}">{escape(text)}</td></tr>'
            for name, text in self.rows
        )
        title = f'<caption style="text-align: left">{escape(self.title)}</caption>'
        return f"<table>{title}<tbody>{rows}</tbody></table>"


def summarize(
    title: str,
    run: Run,
    record: Mapping[str, Any],
    test: Mapping[str, Any] | None,
    *,
    directory: Path | None = None,
    next_step: str = "",
) -> Summary:
    """Summarize a run: verdict, scores with intervals, winner, directory, next step.

    Args:
        title: name of the summarized object.
        run: the run.
        record: content of `search.json`, of any version.
        test: content of `evaluation_report.json`, of any version; None: not evaluated.
        directory: the results of this evaluation (`final`, ...); None: the newest one.
        next_step: what to do next; empty: what the verdict suggests first.
    """
    record = with_objective(record)
    found = recommend(run, record, test, directory=directory)
    steps = [next_step] if next_step else map(str, found.next_steps[:1])
    rows = [
        ("verdict", f"{found.sign} {found.sentence}"),
        *(("encoder", note) for note in found.notes),
        *_scores(record, test, is_trusted=found.kind != VerdictKind.DO_NOT_TRUST),
        *_winner(record),
        ("directory", str(directory or run.directory)),
        *(("next", step) for step in steps),
    ]
    return Summary(title=title, rows=rows)


def _scores(
    record: Mapping[str, Any], test: Mapping[str, Any] | None, *, is_trusted: bool
) -> Iterator[tuple[str, str]]:
    """Yield the score of each configuration, the one to quote first."""
    label = record["objective"]["label"]
    for number, figure in enumerate(key_figures(as_evaluated(record, test), test)):
        is_quoted = test is not None and number == 0 and is_trusted
        yield label, f"{figure}{': the score to quote' if is_quoted else ''}"


def _winner(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    best, default = record.get("best"), record.get("default")
    if best is None:
        return
    is_default = default is not None and best["trial_id"] == default["trial_id"]
    name = f"{best['trial_id']}{', the default' if is_default else ''}"
    values = format_parameters(best["parameters"], short_model_names(record))
    yield "winner", f"{name}: {values}"
