"""`python -m results.compare`: compare runs in a table and a plot, and warn where they differ."""

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
from results.parameter_values import MODEL, format_value, name_of_model, short_names
from results.png_plots import escape_math, save, score_title
from results.rung_scores import score_at
from results.trial_states import SearchStatus, Source
from results.trust import num_evaluations
from results.verdict import confirmed_score, when_taken

_DIFFERENCES = {
    "labels": "different labels: their scores are not comparable",
    "objective": "different objectives: their scores are not comparable",
    "data": "different data: their scores are of different rows",
    "split": "different splits: their scores are of different rows",
    "budget": "different budgets: longer trainings tend to score higher",
    "search_epochs": (
        "search scores after different numbers of epochs: only their confirmed and test scores are"
        " comparable"
    ),
}
"""Aspects in which runs may differ; each makes the following ones irrelevant."""


def list_facts(run: LoadedRun, models: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the table's column of a run, {name: text}; empty texts where a fact is not known.

    Args:
        run: the run.
        models: short names of models, by their names.
    """
    record, test = run.record, run.test
    best, trials = record["best"] or {}, record["trials"]
    label = record["objective"]["label"]
    trained = record.get("examples_trained", {})
    return {
        "status": record["status"],
        "winner": best.get("trial_id", "none"),
        MODEL: format_value(name_of_model(record), models) if name_of_model(record) else "",
        **{
            name: format_value(value, models)
            for name, value in best.get("parameters", {}).items()
            if name != MODEL
        },
        f"{label}, search": _search_cell(record, "best"),
        f"{label}, confirmed": _score_cell(confirmed_score(record, "best")),
        f"{label}, test": _test_cell(test),
        "baseline, test": _score_cell(test["baseline"].get("score")) if test else "",
        f"{label}, default": _score_cell(confirmed_score(record, "default"))
        or _search_cell(record, "default"),
        "trials": f"{sum(trials[key] for key in ('completed', 'stopped_early', 'failed'))}"
        f" of {trials['requested']}",
        "rows trained": f"{sum(trained.values()):,}" if trained else "",
        "seconds": f"{record['seconds']:,.0f}",
        "data": str(record["data"].get("sha256", ""))[:12],
        "test evaluations": str(num_evaluations(test)) if test else "0",
    }


def _test_cell(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return "not evaluated"
    low, high = test["confidence_intervals"]["score"]
    chosen = test.get("encoder")  # a candidate that was evaluated instead of the winner
    of_trial = f" of {chosen['trial_id']}" if chosen else ""
    return f"{test['score']:.4f} [{low:.4f}, {high:.4f}]{of_trial}"


def _search_cell(record: Mapping[str, Any], role: str) -> str:
    """Return the search score of `best` or `default`, and the epochs of a shorter training."""
    score = _score_cell((record[role] or {}).get("search_score"))
    return f"{score} {when_taken(record, role)}".strip() if score else ""


def _score_cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def warn_of_differences(runs: Sequence[LoadedRun]) -> Iterator[str]:
    """Return the reasons for which a comparison of these runs would mislead, a sentence each."""
    first, *others = runs
    for run in others:
        one, other = _comparable(first), _comparable(run)
        different = next((text for key, text in _DIFFERENCES.items() if one[key] != other[key]), "")
        if different:
            yield f"{run.directory.name} and {first.directory.name} have {different}."
    for run in runs:
        if run.record["status"] != SearchStatus.COMPLETED:
            yield f"{run.directory.name} is {run.record['status']}: its scores are not final."
    for run in runs:
        if run.test is None:
            yield (
                f"{run.directory.name} has not been evaluated on the test set: its search and"
                " confirmation scores were used for the selection and are too high, by more the"
                " more trials it has."
                + (" The search score is also that of a shorter training." * _is_short(run))
            )
    for run in runs:
        if run.test is not None and (count := num_evaluations(run.test)) > 1:
            yield f"{run.directory.name} was evaluated on the test set {count} times."


def _comparable(run: LoadedRun) -> dict[str, Any]:
    """Return the aspects of `_DIFFERENCES` of a run."""
    data = run.record["data"]
    counts = data.get("class_counts", {})
    return {
        "data": data.get("sha256"),
        "split": (counts, data.get("rules", 1)),
        "budget": (run.record.get("search") or {}).get("budget"),
        "labels": [sorted(of) for of in counts.values()],
        "objective": run.record["objective"]["name"],
        "search_epochs": when_taken(run.record, "best"),
    }


_SCORES = (("search", "o"), ("confirmed", "s"), ("test", "D"))


def plot_comparison(path: Path, runs: Sequence[LoadedRun]) -> None:
    """Plot the best score so far against rows trained, and the final scores, as a 300 dpi PNG.

    Args:
        path: of the PNG file, which is replaced atomically.
        runs: at least one.

    Raises:
        OSError: the file cannot be written.
    """
    save(make_comparison(runs), path)


def make_comparison(runs: Sequence[LoadedRun]) -> Figure:
    """Return the figure of `plot_comparison`."""
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = seaborn.color_palette("colorblind", len(runs))
    names = _names(runs)
    for run, name, colour in zip(runs, names, colours, strict=True):
        at = when_taken(run.record, "best") or "at the full budget"
        label = f"{name}, {at}" if any(map(_is_short, runs)) else name
        _plot_best_so_far(left, run, label, colour)
    _plot_final_scores(right, runs, names)
    left.set_title("Best of the search so far")
    left.set_xlabel("Training rows seen by all trials")
    label = score_title(_common_label(runs))
    has_short = any(map(_is_short, runs))
    left.set_ylabel(f"{label}{'' if has_short else ' at the full budget'} (validation)")
    right.set_title("The winner's scores")
    right.set_ylabel(label)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    return figure


def best_so_far(run: LoadedRun) -> tuple[list[int], list[float]]:
    """Return training rows seen by all trials, and the best score of a whole trial until then.

    There is a point for each trial that reached the full budget, or the last rung where trials end
    there, with a higher score than all earlier ones, and a point at the end of the search.
    """
    spent, curves, rows, best = 0, dict[str, list[tuple[int, float]]](), list[int](), list[float]()
    ends = _ends(run)
    for trial_id, examples, score in zip(
        *(run.curves[name] for name in ("trial_id", "examples", "score")), strict=True
    ):
        if trial_id not in ends:
            continue
        curve = curves.setdefault(trial_id, [])
        before = curve[-1][0] if curve else 0
        spent += examples - before
        curve.append((examples, score))
        if before < ends[trial_id] <= examples:
            reached = score_at(curve, ends[trial_id], budget=run.record["search"]["budget"])
            if reached is not None and (not best or reached > best[-1]):
                rows.append(spent)
                best.append(reached)
    return ([*rows, spent], [*best, best[-1]]) if best else ([], [])


def _ends(run: LoadedRun) -> dict[str, int]:
    """Return the training rows at which each trial of the search is compared with others.

    That is the full budget, or the last rung where trials end there; a trial that was not judged at
    that rung trains on to the full budget.
    """
    plan = run.record.get("search") or {}
    if not plan:
        return {}
    last = plan["rungs"][-1] if plan.get("ends_at_last_rung") else plan["budget"]
    trials = run.trials[run.trials["source"] != Source.CONFIRM]
    return {
        trial_id: plan["budget"] if examples >= plan["budget"] else last
        for trial_id, examples in zip(trials["trial_id"], trials["examples"], strict=True)
    }


def _common_label(runs: Sequence[LoadedRun]) -> str:
    """Return the name of the score, or a general one where the runs have different objectives."""
    labels = set(map(_label, runs))
    return labels.pop() if len(labels) == 1 else "score (each run's own)"


def _names(runs: Sequence[LoadedRun]) -> list[str]:
    """Return the runs' names for the axis, with their objectives where these differ."""
    names, labels = ([run.directory.name for run in runs], [*map(_label, runs)])
    if len(set(labels)) > 1:
        names = [f"{name} ({label})" for name, label in zip(names, labels, strict=True)]
    return [escape_math(name) for name in names]


def _is_short(run: LoadedRun) -> bool:
    """Return whether its search score is that of a shorter training."""
    return bool(when_taken(run.record, "best"))


def _label(run: LoadedRun) -> str:
    return str(run.record["objective"]["label"])


def _plot_best_so_far(
    axes: Axes, run: LoadedRun, name: str, colour: tuple[float, float, float]
) -> None:
    rows, best = best_so_far(run) if len(run.curves) else ([], [])
    if rows:
        axes.step(rows, best, where="post", label=name, color=colour, marker="o", markersize=4)


def _plot_final_scores(axes: Axes, runs: Sequence[LoadedRun], names: Sequence[str]) -> None:
    num_short = sum(map(_is_short, runs))
    shorter = ", a shorter training" if num_short == len(runs) else ", of some a shorter training"
    for number, (kind, marker) in enumerate(_SCORES):
        found = [(x, *_score(run, kind)) for x, run in enumerate(runs) if _score(run, kind)]
        if not found:
            continue
        positions = [x + 0.15 * (number - 1) for x, *_ in found]
        scores = [score for _, score, _, _ in found]
        below = [max(score - low, 0.0) for _, score, low, _ in found]
        above = [max(high - score, 0.0) for _, score, _, high in found]
        label = f"search{shorter}" if kind == "search" and num_short else kind
        axes.errorbar(positions, scores, [below, above], fmt=marker, capsize=3, label=label)
    axes.set_xticks(range(len(runs)), names, rotation=20)
    axes.set_xlim(-0.5, len(runs) - 0.5)


def _score(run: LoadedRun, kind: str) -> tuple[float, float, float] | tuple[()]:
    """Return score, low and high end of its interval; three times the score if it has none."""
    best = run.record["best"] or {}
    if kind == "test":
        if run.test is None:
            return ()
        low, high = run.test["confidence_intervals"]["score"]
        return run.test["score"], low, high
    is_search = kind == "search"
    score = best.get("search_score") if is_search else confirmed_score(run.record, "best")
    return () if score is None else (score, score, score)


_PROGRAM = "python -m results.compare"


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code.

    Raises:
        InputError: an option is unknown.
        RunError: a run cannot be read.
        StorageError: a storage cannot be reached.
        OSError: the plot cannot be written.
    """
    options = _parser().parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        paths = [_fetch(run, Path(scratch) / str(n)) for n, run in enumerate(options.runs)]
        runs = load_runs(*paths).runs
    Console(markup=False, highlight=False, emoji=False).print(_table(runs))
    for warning in warn_of_differences(runs):
        print(printable(warning))
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
        description="Compare runs: winners, scores and costs, with a warning where they are not"
        " comparable.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="directory of a run, or the URI it is mirrored to"
    )
    parser.add_argument(
        "--output",
        metavar="FILE.png",
        help="plot the best score so far against the rows trained, and the final scores",
    )
    return parser


def _fetch(run: str, scratch: Path) -> Path:
    """Return the directory of a run, downloaded to `scratch` if `run` is a URI."""
    return fetch_run(run, scratch).directory if is_uri(run) else Path(run)


def _table(runs: Sequence[LoadedRun]) -> Table:
    """Return a table with a column for each run; its texts contain no markup."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    models = short_names(filter(None, (name_of_model(run.record) for run in runs)))
    columns = [list_facts(run, models) for run in runs]
    table.add_column("", style="dim", no_wrap=True)
    for run in runs:
        table.add_column(Text(printable(run.directory.name)), justify="right")
    for name in _row_names(columns):
        table.add_row(Text(printable(name)), *(Text(column.get(name, "")) for column in columns))
    return table


def _row_names(columns: Iterable[dict[str, str]]) -> list[str]:
    """Merge the names of all columns' rows, keeping the order that they have in each column."""
    names: list[str] = []
    for column in columns:
        position = len(names)
        for name in reversed(column):
            if name in names:
                position = names.index(name)
            else:
                names.insert(position, name)
    return names


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(RunError,), environment=(StorageError,)))
