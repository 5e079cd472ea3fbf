"""The picture of runs side by side."""

from collections.abc import Sequence
from pathlib import Path

import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.drawing import plain, save, score_title
from results.load import LoadedRun
from results.trial_states import Source

_SCORES = (("search", "o"), ("confirmed", "s"), ("test", "D"))


def plot_comparison(path: Path, runs: Sequence[LoadedRun]) -> None:
    """Draw the best score so far against rows trained, and the final scores, 300 dpi PNG.

    Args:
        path: the picture, replaced whole.
        runs: at least one.

    Raises:
        OSError: the file cannot be written.
    """
    save(draw_comparison(runs), path)


def draw_comparison(runs: Sequence[LoadedRun]) -> Figure:
    """The figure of `plot_comparison`."""
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = seaborn.color_palette("colorblind", len(runs))
    names = _names(runs)
    for run, name, colour in zip(runs, names, colours, strict=True):
        _draw_best_so_far(left, run, name, colour)
    _draw_final_scores(right, runs, names)
    left.set_title("Best of the search so far")
    left.set_xlabel("Training rows seen by all trials")
    label = score_title(_common_label(runs))
    left.set_ylabel(f"{label} at the full budget (validation)")
    right.set_title("The winner's scores")
    right.set_ylabel(label)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    return figure


def best_so_far(run: LoadedRun) -> tuple[list[int], list[float]]:
    """Training rows seen by all trials of the search, and the best full score by then.

    A point where a trial came to the full budget with a better score than all before, and one at
    the end.
    """
    budget = (run.record.get("search") or {}).get("budget")
    spent, seen, rows, best = 0, dict[str, int](), list[int](), list[float]()
    searched = set(run.trials.loc[run.trials["source"] != Source.CONFIRM, "trial_id"])
    for trial_id, examples, score in zip(
        *(run.curves[name] for name in ("trial_id", "examples", "score")), strict=True
    ):
        if trial_id not in searched:
            continue
        spent += examples - seen.get(trial_id, 0)
        seen[trial_id] = examples
        if budget and examples >= budget and (not best or score > best[-1]):
            rows.append(spent)
            best.append(score)
    return ([*rows, spent], [*best, best[-1]]) if best else ([], [])


def _common_label(runs: Sequence[LoadedRun]) -> str:
    """What the scores of all these runs are, for people."""
    labels = set(map(_label, runs))
    return labels.pop() if len(labels) == 1 else "score (each run's own)"


def _names(runs: Sequence[LoadedRun]) -> list[str]:
    """As the legend has them: with what their scores are where that differs."""
    names, labels = ([run.directory.name for run in runs], [*map(_label, runs)])
    if len(set(labels)) > 1:
        names = [f"{name} ({label})" for name, label in zip(names, labels, strict=True)]
    return [plain(name) for name in names]


def _label(run: LoadedRun) -> str:
    return str(run.record["objective"]["label"])


def _draw_best_so_far(
    axes: Axes, run: LoadedRun, name: str, colour: tuple[float, float, float]
) -> None:
    rows, best = best_so_far(run) if len(run.curves) else ([], [])
    if rows:
        axes.step(rows, best, where="post", label=name, color=colour, marker="o", markersize=4)


def _draw_final_scores(axes: Axes, runs: Sequence[LoadedRun], names: Sequence[str]) -> None:
    for place, (kind, marker) in enumerate(_SCORES):
        found = [(x, *_score(run, kind)) for x, run in enumerate(runs) if _score(run, kind)]
        if not found:
            continue
        where = [x + 0.15 * (place - 1) for x, *_ in found]
        scores = [score for _, score, _, _ in found]
        below = [max(score - low, 0.0) for _, score, low, _ in found]
        above = [max(high - score, 0.0) for _, score, _, high in found]
        axes.errorbar(where, scores, [below, above], fmt=marker, capsize=3, label=kind)
    axes.set_xticks(range(len(runs)), names, rotation=20)
    axes.set_xlim(-0.5, len(runs) - 0.5)


def _score(run: LoadedRun, kind: str) -> tuple[float, float, float] | tuple[()]:
    """Score, low and high end of its interval; both the score itself where there is none."""
    best = run.record["best"] or {}
    if kind == "test":
        if run.test is None:
            return ()
        low, high = run.test["confidence_intervals"]["score"]
        return run.test["score"], low, high
    score = best.get("search_score") if kind == "search" else best.get("score")
    if score is None or (kind == "confirmed" and not run.record["confirmation"]):
        return ()
    return score, score, score
