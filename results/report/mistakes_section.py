"""The section of `report.html` on mistakes: which classes are confused, which rows are hardest."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from results.report.charts import plot_class_f1
from results.report.markup import (
    bullets,
    fold,
    heading,
    interval,
    matrix,
    number,
    paragraphs,
    table,
)
from results.report.run_data import RunData
from results.score_names import STEPS_APART, TOO_FEW_ROWS

_MOST_CONFIDENT = 20
_NUM_VISIBLE = 5
_LONGEST_TEXT = 200
_MOST_CLASSES = 8
"""Most classes whose matrix is displayed at once; with more, the most frequent confusions are."""
_MOST_CONFUSIONS = 10
_MOST_IN_CHART, _NUM_LOWEST = 20, 5
"""Most classes whose F1 is plotted at once; with more, the lowest ones are listed."""


def describe_mistakes(data: RunData, *, with_texts: bool) -> str:
    """Write how many test rows are wrong, the confusion matrix, F1 by class and hardest rows.

    Args:
        data: of a run that was evaluated on the test set.
        with_texts: whether the hardest mistakes include the texts of their rows.
    """
    test, analysis = data.test, data.analysis
    assert test is not None
    parts = {
        "Confusion matrix": _confusions(test),
        "Classes": _classes(test),
        "Hardest mistakes": _hardest(data, with_texts=with_texts),
        "Error analysis": _findings(analysis),
    }
    return paragraphs(_count(analysis)) + "".join(
        heading(title) + content for title, content in parts.items() if content
    )


def _count(analysis: Mapping[str, Any]) -> Iterator[str]:
    if analysis:
        yield f"{analysis['errors']:,} of {analysis['rows']:,} test rows are wrong."


def _confusions(test: Mapping[str, Any]) -> str:
    found, labels = test.get("confusion_matrix") or [], list(test["per_class"])
    cells = [[(count, count / max(sum(row), 1)) for count in row] for row in found]
    if len(labels) < 2 or not cells:
        return ""
    if len(labels) <= _MOST_CLASSES:
        return matrix(labels, cells)
    pairs = [
        (cell[0], cell[1], true, predicted)
        for true, row in zip(labels, cells, strict=False)
        for predicted, cell in zip(labels, row, strict=False)
        if predicted != true and cell[0]
    ]
    rows = [
        [f"{true} predicted as {predicted}", count, f"{share:.0%}"]
        for count, share, true, predicted in sorted(pairs, reverse=True)[:_MOST_CONFUSIONS]
    ]
    header = ["most frequent confusions", "rows", "share of the true class"]
    return table(header, rows) + fold(
        f"The whole matrix of {len(labels)} classes", matrix(labels, cells)
    )


def _classes(test: Mapping[str, Any]) -> str:
    intervals, few = test["confidence_intervals"], test["method"].get("few_rows", {})
    of_baseline = test["baseline"].get("per_class", {})
    header = ["class", "F1", "95 % interval", "F1 of the baseline", "precision", "recall"]
    rows = [
        [
            *(name, number(row["f1"]), class_interval(intervals, name, few)),
            number(of_baseline.get(name, {}).get("f1")),
            *(number(row["precision"]), number(row["recall"]), row["support"]),
        ]
        for name, row in test["per_class"].items()
    ]
    header += ["test rows"]
    whole = table(header, rows)
    if len(rows) <= _MOST_IN_CHART:
        return plot_class_f1(test) + fold("Precision, recall and F1 of each class", whole)
    of_class = test["per_class"]
    lowest = sorted(rows, key=lambda row: of_class[row[0]]["f1"])[:_NUM_LOWEST]
    return table(header, lowest, caption=f"The {_NUM_LOWEST} classes with the lowest F1") + fold(
        f"F1 of each of the {len(rows)} classes", plot_class_f1(test) + whole
    )


def class_interval(
    intervals: Mapping[str, Sequence[float]], name: str, few: Mapping[str, int]
) -> str:
    """Return the interval of a class's F1, with a note where the class has too few rows."""
    ends = interval(intervals.get(f"f1 of {name}"))
    return f"{ends} ({TOO_FEW_ROWS})" if ends and name in few else ends


def _hardest(data: RunData, *, with_texts: bool) -> str:
    """List the most confident mistakes, with their texts where these are allowed."""
    mistakes = data.mistakes[:_MOST_CONFIDENT]
    if not mistakes:
        return ""
    items = [_mistake(row, with_texts=with_texts) for row in mistakes]
    left_out = "" if with_texts else " Texts are left out of this copy."
    num_others = len(items) - _NUM_VISIBLE
    return (
        paragraphs(
            [
                "Wrong with the highest confidence: often a wrong label in the data. All mistakes"
                f" are in misclassified.csv.{left_out}"
            ]
        )
        + _mistakes(items[:_NUM_VISIBLE])
        + fold(f"{num_others} more", _mistakes(items[_NUM_VISIBLE:]))
    )


def _mistakes(items: Sequence[str]) -> str:
    return f'<ul class="mistakes">{"".join(items)}</ul>\n' if items else ""


def _mistake(row: Mapping[str, str], *, with_texts: bool) -> str:
    quoted = f"<q>{escape(_cut(row['text']))}</q>" if with_texts else ""
    return (
        f"<li><strong>{escape(row['prediction'])}</strong> instead of"
        f" <strong>{escape(row['label'])}</strong> <small>row {escape(row['row'])}, confidence"
        f" {float(row['confidence']):.3f}</small>{quoted}</li>\n"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " ..."


def _findings(analysis: Mapping[str, Any]) -> str:
    """Write the findings, and the rates of errors by length, similarity and so on folded away."""
    if not analysis:
        return ""
    tables = "".join(
        f"<h4>{escape(f'Errors by {_words(key)}')}</h4>\n" + _rates(value)
        for key, value in analysis.items()
        if key.startswith("by_") and value
    )
    not_analysed = [
        f"Errors by {_words(key)} are left out: {reason}."
        for key, reason in analysis.get("not_analysed", {}).items()
        if key != "by_distance"  # labels that are no scale have no distances
    ]
    return bullets(analysis.get("findings", [])) + fold(
        "Rates of errors in numbers", tables + paragraphs(not_analysed)
    )


def _rates(found: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> str:
    """Return a table of bins; of a mapping, a table of its named parts and one of each list."""
    if not isinstance(found, Mapping):
        return _lines(found)
    named = [
        {"group": _words(name), **part} for name, part in found.items() if isinstance(part, Mapping)
    ]
    lists = [part for part in found.values() if isinstance(part, list)]
    return "".join(_lines(part) for part in (named, *lists) if part)


def _lines(parts: Sequence[Mapping[str, Any]]) -> str:
    """Return records with the same keys as a table."""
    header = list(parts[0])
    rows = [[_figure(key, part.get(key)) for key in header] for part in parts]
    return table([_words(key) for key in header], rows)


def _figure(key: str, value: Any) -> Any:
    """Format rates, shares and intervals in percent, counts unchanged, other numbers short."""
    if isinstance(value, list):
        return " to ".join(f"{end:.1%}" for end in value)
    if not isinstance(value, float):
        return "" if value is None else value
    return f"{value:.1%}" if "rate" in key or "share" in key else number(value)


def _words(key: str) -> str:
    """Return the name of a key for people."""
    name = key.removeprefix("by_")
    return STEPS_APART.get(name, name.replace("_", " "))
