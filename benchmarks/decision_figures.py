"""The figures of `python -m benchmarks.decisions`: means, errors, the worst cell, and the table."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.contenders import OURS, TODAY, Contender, Result

WORKERS = (1, 4, 8)
RETRAIN = 1.15
"""Full trainings of the final training, on train and validation rows."""
HOURS_OF_A_TRAINING = 400 / 3600
"""A full training of the study: 72 of them took 8 hours."""
WORSE = -0.3
"""A configuration this many points from the default is a search that did harm."""
SIMULATED = "simulated"

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The results of one contender on problems of one size and source."""

    contender: Contender
    size: int
    """Configurations of a problem."""
    source: str
    """`SIMULATED`, or the name of a recorded grid."""
    groups: Mapping[str, Sequence[Result]]
    """By cell; a recorded grid is a single group."""
    more_gains: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Gains in points of many more searches, by cell; they count for the harm alone."""

    @property
    def num_trials(self) -> int:
        """Configurations that the contender tried."""
        return self.contender.num_trials or self.size

    @property
    def gains(self) -> Mapping[str, Sequence[float]]:
        """Gain over the default in points, by group."""
        return {name: [one.gain for one in results] for name, results in self.groups.items()}


def figures_of(measured: Measured) -> Figures:
    """Return the figures of one source, with the standard error of each mean.

    Problems of a recorded grid share its trainings: they differ less than other data would.
    """
    costs = {
        name: [RETRAIN + one.cost for one in results] for name, results in measured.groups.items()
    }
    regrets = {name: [one.regret for one in results] for name, results in measured.groups.items()}
    return {
        "problems": sum(len(results) for results in measured.groups.values()),
        **_mean_and_error("full_trainings", costs),
        **_mean_and_error("mean_gain", measured.gains),
        **_mean_and_error("mean_regret", regrets),
        "hours": _hours(measured),
        **_busy(measured),
        **(_harm(measured) if measured.source == SIMULATED else {}),
    }


def _mean_and_error(name: str, groups: Mapping[str, Sequence[float]]) -> Figures:
    """Return the mean of the groups' means, and its standard error."""
    means = [float(np.mean(values)) for values in groups.values()]
    variances = [
        float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else math.nan
        for values in groups.values()
    ]
    error = math.sqrt(sum(variances)) / len(groups)
    return {
        name: round(float(np.mean(means)), 3),
        f"{name}_standard_error": None if math.isnan(error) else round(error, 4),
    }


def _harm(measured: Measured) -> Figures:
    """Return the share of searches that did harm, over all cells and in the worst one."""
    gains = measured.more_gains or measured.gains
    shares = {name: float(np.mean(np.array(values) < WORSE)) for name, values in gains.items()}
    worst = max(shares, key=lambda name: shares[name])
    share, num = shares[worst], len(gains[worst])
    return {
        "mean_harm": round(float(np.mean(list(shares.values()))), 5),
        "worst_harm": round(share, 5),
        "worst_harm_standard_error": round(math.sqrt(share * (1 - share) / num), 5),
        "worst_cell": worst,
        "harm_searches": num,
    }


def _hours(measured: Measured) -> dict[str, float]:
    """Return the mean hours until the winner is retrained, by number of workers."""
    results = [one for results in measured.groups.values() for one in results]
    spans = {
        number: [one.makespans[number] for one in results if number in one.makespans]
        for number in WORKERS
    }
    return {
        str(number): round((RETRAIN + float(np.mean(times))) * HOURS_OF_A_TRAINING, 2)
        for number, times in spans.items()
        if times
    }


def _busy(measured: Measured) -> Figures:
    results = [one for results in measured.groups.values() for one in results]
    shares = {
        number: [one.busy[number] for one in results if number in one.busy] for number in WORKERS
    }
    means = {str(n): round(float(np.mean(values)), 3) for n, values in shares.items() if values}
    return {"confirmation_busy": means} if means else {}


def lead(one: Measured, other: Measured) -> Figures:
    """Return how much more `one` gains than `other` on the same problems, points."""
    groups = {
        name: list(np.subtract(values, other.gains[name])) for name, values in one.gains.items()
    }
    return _mean_and_error(f"lead_over_{other.contender.name}", groups)


def policies(measured: Iterable[Measured]) -> list[Figures]:
    """Return an entry for each contender and size.

    The figures of an entry itself are those of the simulated cells; where there are none, the means
    of the recorded grids. `sources` has the figures of each source.
    """
    entries: dict[tuple[str, int], Figures] = {}
    everything = list(measured)
    by_key = {(one.contender.name, one.size, one.source): one for one in everything}
    for one in everything:
        key = one.contender.name, one.size
        entry = entries.setdefault(key, {"sources": {}})
        entry |= {
            "policy": one.contender.name,
            "label": one.contender.label,
            "trials": one.num_trials,
            "configurations": one.size,
            "is_variant": one.contender.is_variant,
        }
        entry["sources"][one.source] = figures_of(one)
        for name in (OURS, TODAY):
            if other := by_key.get((name, one.size, one.source)):
                entry["sources"][one.source] |= lead(one, other)
    return [_with_summary(entry) for entry in entries.values()]


def _with_summary(entry: Figures) -> Figures:
    sources = entry.pop("sources")
    summary = sources.get(SIMULATED) or _means(list(sources.values()))
    kept = ("full_trainings", "mean_gain", "mean_regret")
    chosen = {key: value for key, value in summary.items() if key.startswith(kept)}
    chosen |= {key: summary.get(key) for key in ("worst_harm", "worst_cell", "hours")}
    return {**entry, **chosen, "sources": sources}


def _means(sources: Sequence[Figures]) -> Figures:
    names = ("full_trainings", "mean_gain", "mean_regret")
    hours = {
        number: round(float(np.mean([one["hours"][number] for one in sources])), 2)
        for number in sources[0]["hours"]
    }
    means = {name: round(float(np.mean([one[name] for one in sources])), 3) for name in names}
    return {**means, "hours": hours}


def as_table(entries: Sequence[Figures]) -> str:
    """Format the entries as a Markdown table."""
    grids = sorted({name for entry in entries for name in entry["sources"]} - {SIMULATED})
    head = ["policy", "trials", "full trainings", f"hours on {', '.join(map(str, WORKERS))}"]
    head += ["gain", "regret", "harm: worst cell, all cells"]
    head += [f"{name}: trainings, gain, regret" for name in grids]
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    return "\n".join([*lines, *(_row(_cells(entry, grids)) for entry in entries)])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(entry: Figures, grids: Sequence[str]) -> list[str]:
    found = entry["sources"].get(SIMULATED)
    return [
        entry["label"],
        str(entry["trials"]),
        f"{found['full_trainings']:.1f}" if found else "",
        ", ".join(f"{value:.1f}" for value in found["hours"].values()) if found else "",
        f"{found['mean_gain']:+.2f}" if found else "",
        f"{found['mean_regret']:.2f}" if found else "",
        f"{found['worst_harm']:.1%}, {found['mean_harm']:.1%}" if found else "",
        *(_of_grid(entry["sources"].get(name)) for name in grids),
    ]


def _of_grid(found: Figures | None) -> str:
    if found is None:
        return ""
    return f"{found['full_trainings']:.1f}, {found['mean_gain']:+.1f}, {found['mean_regret']:.1f}"
