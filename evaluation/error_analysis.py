"""Which rows a model gets wrong: how surely, how far off, and on what kind of text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact, norm

from evaluation.baseline import Answers
from evaluation.scores import equal_mass_bins
from results.intervals import CONFIDENCE, wilson_interval

SIGNIFICANCE = 0.01
"""A difference of two error rates is told of where its p-value is below this."""

STEEP = 0.5
"""A drop is steep where the rate of the most similar rows is at most this part of the other."""

POWER = 0.8
"""Rows are too few to rule out a steep drop where its chance of being seen is below this."""

RULE = (
    f"first against last part by Fisher's exact test, two-sided, rows taken as independent: a"
    f" difference is told of where p < {SIGNIFICANCE:g}; a drop with similarity is steep where"
    f" besides at most {100 * STEEP:.0f} % of the error rate is left, and said not to be there only"
    f" where it would be seen with a probability of {POWER:g}"
)
"""How the findings are arrived at."""

Rate = Mapping[str, Any]
"""`rows`, `errors` and `error_rate` of some rows, and `low` and `high` of a bin."""


class _Contrast(NamedTuple):
    """Two kinds of rows of one part of an analysis, `{}` standing for the values in a bin."""

    part: str
    these: str
    those: str
    first: int | str
    second: int | str


_CONTRASTS = (
    _Contrast(
        part="by_label_confidence",
        these="Rows whose label is least sure ({})",
        those="those whose label is surest ({})",
        first=0,
        second=-1,
    ),
    _Contrast(
        part="by_characters",
        these="The longest texts ({} characters)",
        those="the shortest ({})",
        first=-1,
        second=0,
    ),
    _Contrast(
        part="by_max_length",
        these="Texts that fill the model's length, whose end may be cut,",
        those="shorter ones",
        first="filled",
        second="shorter",
    ),
    _Contrast(
        part="by_unknown_share",
        these="Texts with the largest share of unknown pieces ({})",
        those="those with the smallest ({})",
        first=-1,
        second=0,
    ),
)


def findings(by_distance: Mapping[str, Any], parts: Mapping[str, Any]) -> list[str]:
    """A sentence for each part of an analysis; a part that is null has none.

    Args:
        by_distance: as in `analyse_errors`.
        parts: the other parts by name, as in `analyse_errors`.
    """
    num_errors = sum(by_distance[kind]["errors"] for kind in ("neighbouring", "distant"))
    if not num_errors:
        return ["No row is wrong."]
    found = [_distance(by_distance, num_errors)]
    if quarters := parts["by_similarity"]:
        found.append(_similarity(quarters[0], quarters[-1]))
    for contrast in _CONTRASTS:
        if part := parts[contrast.part]:
            found.append(_difference(contrast, part[contrast.first], part[contrast.second]))
    return found


def _distance(by_distance: Mapping[str, Any], num_errors: int) -> str:
    near, mean = by_distance["neighbouring"], by_distance["mean_absolute_distance"]
    return (
        f"Of {num_errors} errors {near['errors']} ({100 * near['share_of_errors']:.1f} %) are one"
        f" severity off; over all rows the mean distance is {mean:.2f}."
    )


def _similarity(least: Rate, most: Rate) -> str:
    """What a drop of the error rate towards the training rows says of a leak."""
    p_value = _p_value(least, most)
    rates = (
        f"{_told(least)} for the rows least like a training row (similarity {_range(least)}),"
        f" {_told(most)} for the most like ({_range(most)}), {_p(p_value)}"
    )
    if p_value >= SIGNIFICANCE and _power(least, most) < POWER:
        return (
            "Whether the error rate changes with similarity to the training rows cannot be told"
            f" from so few rows and errors: {rates}."
        )
    if p_value >= SIGNIFICANCE:
        return (
            f"The error rate does not clearly change with similarity to the training rows:"
            f" {rates}. These rows show no sign of a leak or of memorising."
        )
    if most["error_rate"] > least["error_rate"]:
        return (
            f"The error rate rises with similarity to the training rows: {rates}. That is no sign"
            " of a leak or of memorising."
        )
    if most["error_rate"] > STEEP * least["error_rate"]:
        return (
            f"The error rate falls with similarity to the training rows, but not steeply: {rates}."
            " Familiar texts are easier; that alone is no sign of a leak or of memorising."
        )
    return (
        f"The error rate falls steeply with similarity to the training rows: {rates}. That is what"
        " a leak or memorising looks like: on texts unlike the training rows expect the first rate."
    )


def _difference(contrast: _Contrast, first: Rate, second: Rate) -> str:
    p_value = _p_value(first, second)
    these, those = contrast.these.format(_range(first)), contrast.those.format(_range(second))
    verdict = "are not clearly wrong more or less often than"
    if p_value < SIGNIFICANCE:
        more = "more" if first["error_rate"] > second["error_rate"] else "less"
        verdict = f"are wrong {more} often than"
    return f"{these} {verdict} {those}: {_told(first)} against {_told(second)}, {_p(p_value)}."


def _p_value(first: Rate, second: Rate) -> float:
    table = [[part["errors"], part["rows"] - part["errors"]] for part in (first, second)]
    return float(fisher_exact(table).pvalue)


def _power(least: Rate, most: Rate) -> float:
    """Chance that the test sees a steep drop from the rate of the least similar rows.

    By the normal approximation with a continuity correction, which is close to Fisher's test
    (Casagrande, Pike and Smith 1978).
    """
    rate, rows = least["error_rate"], np.array([least["rows"], most["rows"]])
    rates = np.array([rate, STEEP * rate])
    if not rate:
        return 0.0
    pooled = float(rates @ rows) / rows.sum()
    drop = (1 - STEEP) * rate - (1 / rows).sum() / 2
    needed = norm.isf(SIGNIFICANCE / 2) * np.sqrt(pooled * (1 - pooled) * (1 / rows).sum())
    return float(norm.cdf((drop - needed) / np.sqrt((rates * (1 - rates) / rows).sum())))


def _told(part: Rate) -> str:
    return f"{100 * part['error_rate']:.1f} % ({part['errors']} of {part['rows']})"


def _range(part: Rate) -> str:
    """Lowest and highest value in a bin; empty where the rows are no bin."""
    low, high = (f"{part[end]:.4g}" if end in part else "" for end in ("low", "high"))
    return low if low == high else f"{low} to {high}"


def _p(p_value: float) -> str:
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"


NUM_MOST_CONFIDENT = 50
"""Most confident mistakes that the analysis lists."""

_INTERVAL = (
    f"Wilson, {100 * CONFIDENCE:.0f} %, rows taken as independent: a little narrow where"
    " near-duplicates are many"
)


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """What may make a row hard; each is an array [n], or None where it was not measured."""

    label_confidences: NDArray[np.float64] | None
    """The labeller's confidence, 0 to 1; NaN where there is none."""
    unknown_shares: NDArray[np.float64] | None
    """Share of unknown pieces among the row's, 0 to 1."""
    similarities: NDArray[np.float64] | None
    """Similarity to the nearest training row, 0 to 1."""
    fills_max_length: NDArray[np.bool_] | None
    """Whether the row has as many pieces as the model takes: its end is cut, or it just fits."""


def analyse_errors(answers: Answers, names: Sequence[str], facts: RowFacts) -> dict[str, Any]:
    """Describe the mistakes; no text is repeated in the answer.

    Args:
        answers: on n rows, at least one; codes are ordered by severity.
        names: [num_labels], names in the order of the codes.
        facts: of the same rows.

    Returns:
        `rows`, `errors`, `error_rate`, `interval`; `findings` [sentence]; `most_confident`
        [{index (place among these rows, from 0), row (record number), label, prediction,
        confidence}]; `by_distance` (how many severities off); `by_characters` (length of the
        text), `by_label_confidence`, `by_unknown_share`, `by_similarity`, each as
        `error_rate_by_quarter` has it, or null; `by_max_length` {filled, shorter: {rows, errors,
        error_rate, interval}} or null; `not_analysed` {what is null: reason}; `method`.
    """
    wrong = answers.wrong
    assert len(wrong) > 0
    lengths = np.array([len(text) for text in answers.data.texts], dtype=np.int64)
    analysed = {
        "by_characters": _by_quarter(lengths, wrong),
        "by_label_confidence": _by_quarter(facts.label_confidences, wrong),
        "by_unknown_share": _by_quarter(facts.unknown_shares, wrong),
        "by_similarity": _by_quarter(facts.similarities, wrong),
        "by_max_length": _by_max_length(facts.fills_max_length, wrong),
    }
    parts = {name: part for name, (part, _) in analysed.items()}
    by_distance = _by_distance(answers.predictions - answers.data.labels, len(names))
    return {
        **_rate(wrong),
        "findings": findings(by_distance, parts),
        "most_confident": _most_confident(answers, names),
        "by_distance": by_distance,
        **parts,
        "not_analysed": {name: reason for name, (_, reason) in analysed.items() if reason},
        "method": {"interval": _INTERVAL, "findings": RULE},
    }


def error_rate_by_quarter(values: NDArray[Any], wrong: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Error rate in four bins of about equal count, by rising value.

    Args:
        values: number [n], what the rows are sorted by; equal values share a bin.
        wrong: bool [n], whether the prediction is wrong.

    Returns:
        [{low, high, rows, errors, error_rate, interval}], `low` and `high` both met in the bin,
        `interval` [low, high] of the error rate (Wilson 1927); fewer than four where values are
        equal, and two, the lowest value and all others, where most rows have the lowest.
    """
    bins = equal_mass_bins(values, 4)
    lowest = values == values.min()
    if len(bins) == 1 and not lowest.all():
        bins = [np.flatnonzero(lowest), np.flatnonzero(~lowest)]
    return [
        {
            "low": values[members].min().item(),
            "high": values[members].max().item(),
            **_rate(wrong[members]),
        }
        for members in bins
    ]


def _by_quarter(
    values: NDArray[Any] | None, wrong: NDArray[np.bool_]
) -> tuple[list[dict[str, Any]] | None, str | None]:
    """Error rates by quarter over the rows that have a value, or why there are none."""
    if values is None:
        return None, "not measured"
    known = ~np.isnan(values)
    if not known.any():
        return None, "no row has a value"
    if (values[known] == values[known][0]).all():
        return None, f"it is {values[known][0]:g} in every row"
    return error_rate_by_quarter(values[known], wrong[known]), None


def _by_max_length(
    fills: NDArray[np.bool_] | None, wrong: NDArray[np.bool_]
) -> tuple[dict[str, Any] | None, str | None]:
    """Error rates of the rows that fill the model's length and of the others."""
    if fills is None:
        return None, "not measured"
    if fills.all() or not fills.any():
        return None, f"{'every' if fills.all() else 'no'} row fills it"
    return {"filled": _rate(wrong[fills]), "shorter": _rate(wrong[~fills])}, None


def _rate(wrong: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "rows": len(wrong),
        "errors": int(wrong.sum()),
        "error_rate": float(wrong.mean()),
        "interval": list(wilson_interval(int(wrong.sum()), len(wrong))),
    }


def _most_confident(answers: Answers, names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "index": place,
            "row": int(answers.data.rows[place]),
            "label": names[answers.data.labels[place]],
            "prediction": names[answers.predictions[place]],
            "confidence": float(answers.confidence[place]),
        }
        for place in answers.most_confident_errors()[:NUM_MOST_CONFIDENT].tolist()
    ]


def _by_distance(steps: NDArray[np.int64], num_labels: int) -> dict[str, Any]:
    """Errors by how many severities they are off: `neighbouring` is 1, `distant` more."""
    num_errors = int(np.count_nonzero(steps))
    distances = np.abs(steps)

    def part(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        count = int(chosen.sum())
        return {"errors": count, "share_of_errors": count / max(num_errors, 1)}

    return {
        "neighbouring": part(distances == 1),
        "distant": part(distances > 1),
        "too_severe": part(steps > 0),
        "too_mild": part(steps < 0),
        "distribution": [
            {
                "distance": distance,
                "rows": int(np.count_nonzero(distances == distance)),
                "share_of_rows": float(np.mean(distances == distance)),
                "too_severe": int(np.count_nonzero(steps == distance)) if distance else 0,
                "too_mild": int(np.count_nonzero(steps == -distance)) if distance else 0,
            }
            for distance in range(num_labels)
        ],
        "mean_absolute_distance": float(distances.mean()),
    }
