"""What an error analysis shows, in plain words."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import fisher_exact, norm

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
