"""`report.html`: one file with what a run found, made of the run's own files; no network."""

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
from results.report import search_sections
from results.report.charts import learning_curves
from results.report.evaluation_sections import describe_evaluation
from results.report.markup import anchor_of, paragraphs, section
from results.report.parameter_charts import parameters
from results.report.run_data import RunData, read_run_data
from results.report.search_sections import verdict
from results.run import Run

logger = logging.getLogger(__name__)


def write_report(run: Run, record: Mapping[str, Any], *, with_texts: bool = True) -> None:
    """Replace `report.html` by what the run's files say now.

    Args:
        run: whose report it is.
        record: content of `search.json`.
        with_texts: whether texts of rows may be shown.

    A run whose files do not hold what the page needs is told in the log and keeps the page that it
    had: no search, and no test, ends for its report.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        text = page_of(run, record, with_texts=with_texts)
    except RunError as error:
        logger.warning("%s was not written: %s", run.report.name, error)
        return
    write_text(run.report, text)


def page_of(run: Run, record: Mapping[str, Any], *, with_texts: bool) -> str:
    """The whole page.

    Raises:
        RunError: a file of the run cannot be read, or does not hold what the page needs.
    """
    try:
        return page(read_run_data(run, record), with_texts=with_texts)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, RunError):
            raise
        logger.debug("the report's failure", exc_info=True)
        raise RunError(
            f"run {run.directory}: its files do not hold what the report needs"
            f" ({type(error).__name__}: {error}); restore them, or make search.json again by"
            " python -m tuning.status --run DIR --rebuild"
        ) from error


def page(data: RunData, *, with_texts: bool) -> str:
    """The page of what was read."""
    record = data.record
    opened = (
        describe_evaluation(data, with_texts=with_texts)
        if data.test
        else {"Test": paragraphs(["The test was not opened."])}
    )
    sections = {
        "Verdict": verdict(data),
        **opened,
        "Leaderboard": search_sections.leaderboard(data),
        "Confirmation": search_sections.confirmation(data),
        "Learning curves": learning_curves(data),
        "Parameters": parameters(data),
        "Data": search_sections.data(record["data"]),
        "How to repeat it": search_sections.repeat(record),
    }
    shown = {title: content for title, content in sections.items() if content}
    return _shell(
        f"Search {data.run.directory.name}",
        "".join(section(title, content) for title, content in shown.items()),
        "".join(f'<li><a href="#{anchor_of(title)}">{escape(title)}</a></li>' for title in shown),
    )


def _shell(title: str, content: str, contents: str) -> str:
    library, script = _library(), _resource("page.js")
    # Should a text of the data ever get out of its place, the browser still runs and loads nothing.
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
        f'<nav aria-label="Sections"><ul>{contents}</ul></nav></header>\n'
        f'<main id="main"><noscript><p>Charts and sorting need JavaScript; the tables hold the'
        f" same figures.</p></noscript>\n{content}</main>\n"
        f"<script>{library}</script>\n<script>{script}</script></body></html>\n"
    )


@cache
def _library() -> str:
    """Plotly's script, as its Python package ships it."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")


@cache
def _resource(name: str) -> str:
    return (files("results.report") / name).read_text("utf-8")


@cache
def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


_SECONDS_BETWEEN = 60.0
_SHARE_OF_TIME = 0.02
"""Most of the time that goes into reports: their page grows with the trials."""


class PeriodicReport:
    """Rewrites `report.html` from the run's files."""

    def __init__(self, run: Run) -> None:
        """Take the run; nothing is written yet."""
        self._run = run
        self._due = float("-inf")

    def update(self) -> None:
        """Write it if it is due.

        Raises:
            OSError: the file cannot be written.
        """
        began = time.monotonic()
        if began < self._due:
            return
        write_report(self._run, self._run.read_record())
        ended = time.monotonic()
        self._due = ended + max(_SECONDS_BETWEEN, (ended - began) / _SHARE_OF_TIME)
