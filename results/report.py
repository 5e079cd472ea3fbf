"""`report.html`: one file with what a run found, made of the run's own files; no network."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from results.files import write_text
from results.run import Run
from results.verdict import describe_result

_STYLE = """
:root { color-scheme: light dark; --line: #8886; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; background: #fff; }
code { overflow-wrap: anywhere; }
"""
_PICTURES = {
    "training_curves.png": "Training curves: loss by epoch, and the winner's validation macro-F1",
    "confusion_matrix.png": "Confusion matrix of the test rows, as counts and as shares of a row",
}


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
    sections = [
        _section("Verdict", _paragraphs([*([test["summary"]] if test else []), *_verdict(record)])),
        _section("Test", _test(test, reports) if test else "<p>The test was not opened.</p>"),
        _section("Confirmation", _confirmation(record.get("confirmation"))),
        _section("Trials", _trials(run.read_trials())),
        _section("Data", _data(record["data"])),
        _section("How to repeat it", _repeat(record)),
    ]
    name = escape(run.directory.name)
    write_text(
        run.report,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Search {name}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>Search {name}</h1>\n{''.join(sections)}</main></body></html>\n",
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{content}</section>\n"


def _paragraphs(lines: Iterable[str]) -> str:
    return "".join(f"<p>{escape(line[:1].upper() + line[1:])}</p>\n" for line in lines)


def _verdict(record: Mapping[str, Any]) -> list[str]:
    if record.get("best") is None:
        return [f"The search is {record['status']}; no trial has a score yet."]
    return list(describe_result(record))


def _test(test: Mapping[str, Any], reports: Path | None) -> str:
    intervals = test["confidence_intervals"]
    against, labels = test["baseline"], test["method"]["labels"]
    overall = [
        [name, _number(test[name]), _interval(intervals[name]), _number(against[name])]
        for name in ("f1_macro", "accuracy")
    ]
    classes = [
        [name, *(_number(row[key]) for key in ("precision", "recall", "f1")), row["support"]]
        for name, row in test["per_class"].items()
    ]
    gates = [
        [name, _number(gate["threshold"]), _number(gate["value"]), "yes" if gate["met"] else "no"]
        for name, gate in test["gates"].items()
    ]
    return (
        _table(["metric", "test", "95 % interval", against["name"]], overall)
        + _table(["class", "precision", "recall", "F1", "rows"], classes)
        + (_table(["gate", "above", "value", "met"], gates) if gates else "")
        + _table(["test rows opened at", "because"], _openings(test))
        + _paragraphs([f"Intervals cover {test['method']['intervals_cover']}.", f"{labels}."])
        + "".join(_picture(reports / name, text) for name, text in _PICTURES.items() if reports)
    )


def _openings(test: Mapping[str, Any]) -> list[list[str]]:
    return [[opening["at"], opening["reason"]] for opening in test["test_openings"]]


def _confirmation(confirmation: Mapping[str, Any] | None) -> str:
    if not confirmation:
        return "<p>None: scores of the search are the best of many and therefore too high.</p>"
    rows = [
        [
            _parameters(candidate["parameters"]),
            ", ".join(_number(score) for score in candidate["f1_macro"]),
            _number(candidate["mean"]),
            _number(candidate["standard_error"]),
        ]
        for candidate in confirmation["candidates"]
    ]
    header = ["configuration", "macro-F1 on each fresh draw", "mean", "standard error"]
    return "<p>Selected on; the default comes first.</p>" + _table(header, rows)


def _trials(rows: Sequence[Mapping[str, str]]) -> str:
    ranked = sorted(rows, key=_rank)
    header = list(rows[0]) if rows else []
    return _table(header, [[_shortened(row[name]) for name in header] for row in ranked])


def _data(data: Mapping[str, Any]) -> str:
    dropped = [[reason, count] for reason, count in data["dropped"].items()]
    labels = list(next(iter(data["class_counts"].values()), {}))
    counts = [
        [split, *(by_label[label] for label in labels)]
        for split, by_label in data["class_counts"].items()
    ]
    text = f"{data['path']}: {data['kept']} of {data['rows']} rows kept; SHA-256 {data['sha256']}."
    return (
        _paragraphs([text])
        + _table(["split", *labels], counts)
        + _table(["dropped for", "rows"], dropped)
    )


def _repeat(record: Mapping[str, Any]) -> str:
    exact = "to the last digit" if record["repeatable"] else "but for timing and hardware"
    versions = record["environment"]["packages"].items()
    return (
        f"<p><code>{escape(record['command'])}</code></p>"
        + _paragraphs([f"The scores repeat {exact}.", f"Commit {record['environment']['commit']}."])
        + _table(["package", "version"], [list(pair) for pair in versions])
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f'<table tabindex="0"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>\n'


def _cell(value: Any) -> str:
    kind = ' class="number"' if isinstance(value, int | float) else ""
    return f"<td{kind}>{escape(str(value))}</td>"


def _picture(path: Path, text: str) -> str:
    if not path.is_file():
        return ""
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{escape(text)}" src="data:image/png;base64,{content}"></p>\n'


def _parameters(parameters: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in parameters.items())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def _shortened(cell: str) -> str:
    try:
        return cell if cell.isdecimal() else f"{float(cell):.5g}"
    except ValueError:
        return cell


def _value(cell: str) -> float:
    return float(cell) if cell else float("-inf")


def _rank(row: Mapping[str, str]) -> tuple[bool, bool, float]:
    """Trials of the search first, full budgets before others, best scores first."""
    return row["source"] == "confirm", row["status"] != "completed", -_value(row["f1_macro"])
