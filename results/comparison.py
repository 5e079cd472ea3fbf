"""Runs side by side: a table of what they found, and in words what may not be compared."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from results.load import LoadedRun
from results.trial_states import SearchStatus

_UNLIKE = {
    "labels": "other labels: their scores mean other things",
    "objective": "other objectives: their scores mean other things",
    "data": "other data: their scores are of other rows",
    "split": "other splits: their scores are of other rows",
    "budget": "other budgets: a longer training has more to show",
}


def facts(run: LoadedRun) -> dict[str, str]:
    """What is known of a run, {name: text}, empty where it is not."""
    record, test = run.record, run.test
    best, trials = record["best"] or {}, record["trials"]
    default, label = record["default"] or {}, record["objective"]["label"]
    trained = record.get("examples_trained", {})
    return {
        "status": record["status"],
        "winner": best.get("trial_id", "none"),
        **{name: f"{value:.4g}" for name, value in best.get("parameters", {}).items()},
        f"{label}, search": _score(best.get("search_score")),
        f"{label}, confirmed": _score(best.get("score")) if record["confirmation"] else "",
        f"{label}, test": _tested(test),
        "baseline, test": _score(test["baseline"].get("score")) if test else "",
        f"{label}, default": _score(default.get("score")),
        "trials": f"{sum(trials[key] for key in ('completed', 'stopped_early', 'failed'))}"
        f" of {trials['requested']}",
        "rows trained": f"{sum(trained.values()):,}" if trained else "",
        "seconds": f"{record['seconds']:,.0f}",
        "data": str(record["data"].get("sha256", ""))[:12],
        "test opened": str(len(test["test_openings"])) if test else "0",
    }


def _tested(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return "not opened"
    low, high = test["confidence_intervals"]["score"]
    return f"{test['score']:.4f} [{low:.4f}, {high:.4f}]"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def cautions(runs: Sequence[LoadedRun]) -> Iterator[str]:
    """What keeps these runs from being compared, a sentence each."""
    first, *others = runs
    for run in others:
        unlike = [told for key, told in _UNLIKE.items() if _of(run, key) != _of(first, key)]
        if unlike:  # what follows from the first need not be told
            yield f"{run.directory.name} and {first.directory.name} have {unlike[0]}."
    for run in runs:
        if run.record["status"] != SearchStatus.COMPLETED:
            yield f"{run.directory.name} is {run.record['status']}: it may still find better."
    if closed := [run.directory.name for run in runs if run.test is None]:
        yield (
            f"The test of {', '.join(closed)} was not opened: scores of search and confirmation"
            " were selected on and are too high, the more trials the more."
        )
    for run in runs:
        if run.test is not None and len(run.test["test_openings"]) > 1:
            count = len(run.test["test_openings"])
            yield f"The test of {run.directory.name} was opened {count} times."


def _of(run: LoadedRun, key: str) -> Any:
    data = run.record["data"]
    counts = data.get("class_counts", {})
    return {
        "data": data.get("sha256"),
        "split": (counts, data.get("rules", 1)),
        "budget": (run.record.get("search") or {}).get("budget"),
        "labels": [sorted(of) for of in counts.values()],
        "objective": run.record["objective"]["name"],
    }[key]
