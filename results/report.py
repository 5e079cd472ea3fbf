"""`report.html`: one file with what a run found, made of the run's own files; no network."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from results import report_search
from results.files import write_text
from results.markup import paragraphs, section
from results.report_final import final_sections
from results.run import Run
from results.verdict import describe_result

_STYLE = """
:root { color-scheme: light dark; --line: #8886; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: left; }
td { overflow-wrap: anywhere; min-width: 4rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; max-height: 42rem; background: #fff; }
code { overflow-wrap: anywhere; }
"""


def write_report(
    run: Run, record: Mapping[str, Any], test: Mapping[str, Any] | None, reports: Path | None
) -> None:
    """Replace `report.html`.

    Args:
        run: whose report it is.
        record: content of `search.json`.
        test: content of `evaluation_report.json`; None before the test is opened.
        reports: directory of the final evaluation's pictures; None before it.
    """
    opened = (
        final_sections(test, reports)
        if test
        else section("Test", paragraphs(["The test was not opened."]))
    )
    sections = [
        section("Verdict", _verdict(record, test)),
        section("Search, confirmation and test", report_search.three_scores(record, test)),
        opened,
        section("Confirmation", report_search.confirmation(record.get("confirmation"))),
        section("Trials", report_search.trials(run.read_trials())),
        section("Data", report_search.data(record["data"])),
        section("How to repeat it", report_search.repeat(record)),
    ]
    name = escape(run.directory.name)
    write_text(
        run.report,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Search {name}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>Search {name}</h1>\n{''.join(sections)}</main></body></html>\n",
    )


def _verdict(record: Mapping[str, Any], test: Mapping[str, Any] | None) -> str:
    lines = [test["summary"]] if test else []
    if record.get("best") is None:
        lines.append(f"The search is {record['status']}; no trial has a score yet.")
    else:
        lines += describe_result(record)
    return paragraphs(lines)
