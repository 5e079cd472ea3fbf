"""Build `report.html`: its sections in order, in one file that loads nothing from the network."""

import base64
import hashlib
import logging
import time
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from results.errors import RunError
from results.files import write_text
from results.report.charts import plot_learning_curves
from results.report.confirmation_section import describe_confirmation
from results.report.encoders_section import describe_encoders
from results.report.evaluation_sections import describe_other_scores
from results.report.gates_section import describe_gates
from results.report.leaderboard import list_trials
from results.report.markup import anchor_of, heading, section
from results.report.mistakes_section import describe_mistakes
from results.report.parameter_charts import plot_parameters
from results.report.run_data import RunData, read_run_data
from results.report.search_sections import describe_data, describe_repetition, list_earlier
from results.report.verdict_section import describe_verdict
from results.run import Run

logger = logging.getLogger(__name__)


def write_report(run: Run, record: Mapping[str, Any], *, with_texts: bool = True) -> None:
    """Write `report.html` from the run's files.

    If the files lack what the report requires, a warning is logged and the previous report stays:
    neither a search nor an evaluation ends because of its report.

    Args:
        run: the run to report on.
        record: content of `search.json`.
        with_texts: whether the report may contain texts of rows.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        text = build_report(run, record, with_texts=with_texts)
    except RunError as error:
        logger.warning("%s was not written: %s", run.report.name, error)
        return
    write_text(run.report, text)


def build_report(run: Run, record: Mapping[str, Any], *, with_texts: bool) -> str:
    """Return the whole page.

    Raises:
        RunError: a file of the run cannot be read, or lacks what the report requires.
    """
    try:
        return _build_page(read_run_data(run, record), with_texts=with_texts)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, RunError):
            raise
        logger.debug("the report's failure", exc_info=True)
        raise RunError(
            f"run {run.directory}: its files lack what the report requires"
            f" ({type(error).__name__}: {error}); restore them, or rebuild search.json with"
            " python -m tuning.status --run DIR --rebuild"
        ) from error


def _build_page(data: RunData, *, with_texts: bool) -> str:
    """Return the page with all sections that have content."""
    record, test = data.record, data.test
    curves = heading("Learning curves") + plot_learning_curves(data)
    sections = {
        "Gates": describe_gates(test) if test else "",
        "Mistakes": describe_mistakes(data, with_texts=with_texts) if test else "",
        "Winner against default": describe_confirmation(data),
        "Encoders": describe_encoders(data),
        "Configurations tried": list_trials(data)
        + list_earlier(data)
        + plot_parameters(data)
        + curves,
        "Data": describe_data(record),
        "Calibration and other scores": describe_other_scores(test) if test else "",
        "Method and environment": describe_repetition(data),
    }
    written = {title: content for title, content in sections.items() if content}
    links = [f'<li><a href="#{anchor_of(title)}">{escape(title)}</a></li>' for title in written]
    contents = f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>\n'
    parts = [section(title, content) for title, content in written.items()]
    return _fill_frame(
        title=f"Search {data.run.directory.name}",
        content="".join([describe_verdict(data), contents, *parts]),
    )


def _fill_frame(*, title: str, content: str) -> str:
    library, script = _plotly_script(), _resource("page.js")
    # Even if a text from the data became markup, the browser would run and load nothing of it.
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(script)};"
        " style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_resource('page.css')}</style></head>\n"
        f'<body><a class="skip" href="#main">Skip to the report</a><header><h1>{escape(title)}</h1>'
        "</header>\n"
        f'<main id="main">\n{content}<noscript><p>Charts and sorting require JavaScript; the tables'
        f" contain the same figures.</p></noscript></main>\n"
        f"<script>{library}</script>\n<script>{script}</script></body></html>\n"
    )


@cache
def _plotly_script() -> str:
    """Return Plotly's script from its Python package."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")


@cache
def _resource(name: str) -> str:
    return (files("results.report") / name).read_text("utf-8")


@cache
def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


_MIN_INTERVAL_S = 60.0
_MAX_SHARE_OF_TIME = 0.02
"""Share of the search's time that reports may take: the more trials, the larger a page."""


class PeriodicReport:
    """Rewrites `report.html` from time to time."""

    def __init__(self, run: Run) -> None:
        """Prepare for a run; nothing is written yet."""
        self._run = run
        self._due = float("-inf")

    def update(self) -> None:
        """Write the report if it is due.

        Raises:
            OSError: the file cannot be written.
        """
        started = time.monotonic()
        if started < self._due:
            return
        write_report(self._run, self._run.read_record())
        ended = time.monotonic()
        self._due = ended + max(_MIN_INTERVAL_S, (ended - started) / _MAX_SHARE_OF_TIME)
