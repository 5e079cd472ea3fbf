"""`python -m results.compare`: runs side by side, as a table and as a picture."""

from training.cli import (
    ExitCode,
    OptionParser,
    exit_on_interrupt,
    is_uri,
    printable,
    run_command,
)

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.errors import RunError, StorageError
from results.load import LoadedRun, load_runs
from results.mirror import fetch_run
from results.png_plots import plain, save, score_title
from results.trial_states import SearchStatus, Source

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
        f"{label}, search": _score_cell(best.get("search_score")),
        f"{label}, confirmed": _score_cell(best.get("score")) if record["confirmation"] else "",
        f"{label}, test": _tested(test),
        "baseline, test": _score_cell(test["baseline"].get("score")) if test else "",
        f"{label}, default": _score_cell(default.get("score")),
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


def _score_cell(value: float | None) -> str:
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


_SCORES = (("search", "o"), ("confirmed", "s"), ("test", "D"))


def plot_comparison(path: Path, runs: Sequence[LoadedRun]) -> None:
    """Draw the best score so far against rows trained, and the final scores, 300 dpi PNG.

    Args:
        path: the picture, replaced whole.
        runs: at least one.

    Raises:
        OSError: the file cannot be written.
    """
    save(make_comparison(runs), path)


def make_comparison(runs: Sequence[LoadedRun]) -> Figure:
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


_PROGRAM = "python -m results.compare"


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code.

    Raises:
        InputError: an option is unknown.
        RunError: a run cannot be read.
        StorageError: a storage cannot be reached.
        OSError: the picture cannot be written.
    """
    options = _parser().parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        places = [_local(place, Path(scratch) / str(n)) for n, place in enumerate(options.runs)]
        runs = load_runs(*places).runs
    Console(markup=False, highlight=False, emoji=False).print(_table(runs))
    for caution in cautions(runs):
        print(printable(caution))
    if options.output:
        plot_comparison(Path(options.output), runs)
        print(f"Next: open {shlex.quote(options.output)}")
    else:
        given = shlex.join(map(str, options.runs))
        print(f"Next: {_PROGRAM} {given} --output comparison.png")
    return ExitCode.DONE


def _parser() -> OptionParser:
    parser = OptionParser(
        prog=_PROGRAM,
        description="Set runs side by side: winners, scores, costs, and what keeps them from being"
        " compared.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="directory of a run, or the URI it is mirrored to"
    )
    parser.add_argument(
        "--output",
        metavar="FILE.png",
        help="draw the best score so far against the rows trained, and the final scores",
    )
    return parser


def _local(place: str, scratch: Path) -> Path:
    return fetch_run(place, scratch).directory if is_uri(place) else Path(place)


def _table(runs: Sequence[LoadedRun]) -> Table:
    """A column a run; all texts go in as they stand."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    columns = [facts(run) for run in runs]
    table.add_column("", style="dim", no_wrap=True)
    for run in runs:
        table.add_column(Text(printable(run.directory.name)), justify="right")
    for name in _row_names(columns):
        table.add_row(Text(printable(name)), *(Text(column.get(name, "")) for column in columns))
    return table


def _row_names(columns: Iterable[dict[str, str]]) -> list[str]:
    """The names of all columns, each in front of the one that follows it in its own column."""
    names: list[str] = []
    for column in columns:
        place = len(names)
        for name in reversed(column):
            if name in names:
                place = names.index(name)
            else:
                names.insert(place, name)
    return names


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(RunError,), environment=(StorageError,)))
