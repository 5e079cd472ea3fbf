"""Read the runs that a search starts from: their best configurations, texts and test accesses.

A run is only read: it may be gone, running or on a disk that cannot be written when it is resumed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from results.errors import RunError
from results.files import read_csv
from results.run import Run, open_run
from training.data import texts_of_splits
from training.errors import InputError, Problems
from training.metrics import RECORDED_METRICS
from training.split_texts import SplitTexts, read_split_texts
from tuning.config import Configuration
from tuning.preparation import OnSplit, Preparation, ignore_split, prepare_search
from tuning.ranking import Ranking
from tuning.resume import recall_trials
from tuning.rungs import RungScores, plan_of
from tuning.space import Parameters
from tuning.start import build, read_configuration
from tuning.trials import TrialStore
from tuning.warm_start import EarlierRun, Scored, WarmStart, start_from


def read_earlier_runs(configuration: Configuration) -> list[EarlierRun]:
    """Read the runs of `search.warm_start`.

    Raises:
        InputError: one line for each run that cannot be read, has no score, or recorded no scores
            of the metric of the new search; or the runs tested and searched on the same texts.
    """
    problems = Problems()
    found = []
    for path in configuration.search.warm_start:
        run = problems.attempt(lambda path=path: _read(Path(path), configuration))  # type: ignore[misc]
        found += [run] if run else []
    problems.raise_any()
    if found and (num := _merged(found).num_contradicting):
        raise InputError(
            f"search.warm_start: {num:,} texts are test rows of one of the runs and were searched"
            " on by another, but must be on one side; give runs of the same split, or one alone"
        )
    return found


def prepare_from_earlier(
    configuration: Configuration,
    *,
    tokenizer_directory: Path,
    problems: Problems,
    on_split: OnSplit = ignore_split,
) -> tuple[Preparation, WarmStart]:
    """Prepare a new search, as `prepare_search`, and what it takes from earlier runs.

    Raises:
        InputError: as `prepare_search`, `read_earlier_runs` and `start_from`.
    """
    runs = problems.attempt(lambda: read_earlier_runs(configuration)) or []
    held_out = texts_of(runs)
    preparation = prepare_search(
        configuration,
        tokenizer_directory=tokenizer_directory,
        problems=problems,
        on_split=on_split,
        held_out=held_out,
    )
    return preparation, start_from(runs, preparation.configuration, preparation.data, held_out)


def texts_of(runs: Sequence[EarlierRun]) -> SplitTexts | None:
    """Return the texts of all runs; None: there is no run."""
    return _merged(runs) if runs else None


def _merged(runs: Sequence[EarlierRun]) -> SplitTexts:
    first, *others = (run.texts for run in runs)
    for texts in others:
        first = first.merge(texts)
    return first


def _read(path: Path, ours: Configuration) -> EarlierRun:
    try:
        return _read_run(open_run(path), ours)
    except (RunError, InputError, OSError) as error:
        lines = " ".join(str(error).split())
        raise InputError(
            f"search.warm_start: {lines}; give a run that can be read, or leave it out"
        ) from error


def _read_run(run: Run, ours: Configuration) -> EarlierRun:
    record = run.read_whole_record()
    configuration = build(read_configuration(run))
    counts = record["data"]["class_counts"]
    num_rows = sum(counts["train"].values())
    store = recall_trials(run, configuration, resumes=False, curve_rows=run.read_complete_curves())
    is_same = configuration.search.metric == ours.search.metric
    if not is_same:
        store = _by_metric(run, store, ours.search.metric, configuration.search.metric)
    scores = RungScores(plan=plan_of(configuration, num_rows), num_rows=num_rows)
    winner = (record["best"] or {}).get("parameters") if is_same else None
    ranked = list(ranked_configurations(store, Ranking(rung_scores=scores), winner))
    if not ranked:
        raise RunError(f"run {run.directory}: no trial has a score yet")
    return EarlierRun(
        run=run,
        configuration=configuration,
        labels=configuration.data.labels or tuple(counts["train"]),
        num_rows=num_rows,
        ranked=ranked,
        texts=_texts(run, record, configuration, ours),
        accesses=[one for one in run.read_test_accesses() if one.get("state") != "opened"],
    )


def _by_metric(run: Run, store: TrialStore, metric: str, theirs: str) -> TrialStore:
    """Return the trials with their scores by another metric.

    Raises:
        RunError: the run did not record it.
    """
    if metric not in RECORDED_METRICS:
        raise RunError(
            f"run {run.directory}: search.metric is {metric}, but the run was decided by {theirs}"
            f" and recorded only {' and '.join(RECORDED_METRICS)} beside it; search by one of these"
        )
    return TrialStore(
        replace(trial, evaluations=[one.by_metric(metric) for one in trial.evaluations])
        for trial in store
    )


def ranked_configurations(
    store: TrialStore, ranking: Ranking, winner: Parameters | None
) -> Iterator[Scored]:
    """Yield the distinct configurations with a score, best first.

    Args:
        store: the trials of a search.
        ranking: by their scores in the search.
        winner: comes first; None: it is not known.
    """
    confirmed: list[tuple[Parameters, list[float]]] = []
    for trial in store.confirmations:
        if trial.final_score is not None and not trial.has_collapsed:
            known = next((of for one, of in confirmed if one == trial.parameters), None)
            if known is None:
                confirmed.append((trial.parameters, [trial.final_score]))
            else:
                known.append(trial.final_score)
    means = [Scored(parameters=one, score=fmean(scores)) for one, scores in confirmed]
    means.sort(key=lambda one: -(one.score or 0.0))
    searched = [
        Scored(parameters=trial.parameters, score=score.score)
        for trial in ranking.ranked(store.searched)
        if (score := ranking.search_score(trial)) is not None
    ]
    everything = [*means, *searched]
    everything.sort(key=lambda one: one.parameters != winner)  # stable: the winner comes first
    seen: list[Parameters] = []
    for one in everything:
        if one.parameters not in seen:
            seen.append(one.parameters)
            yield one


def _texts(
    run: Run, record: dict[str, Any], configuration: Configuration, ours: Configuration
) -> SplitTexts:
    """Return the texts of a run's split, from its file or, for an older version, from its table."""
    if (kept := read_split_texts(run.split_texts)) is not None:
        return kept
    assignment = {int(row["row"]): row["split"] for row in read_csv(run.splits)}
    sha256 = str(record["data"]["sha256"])
    data = configuration.data
    for path in dict.fromkeys((data.path, ours.data.path)):
        copy = data.model_copy(update={"path": path})
        if (found := texts_of_splits(copy, assignment, sha256=sha256)) is not None:
            return found
    raise RunError(
        f"run {run.directory}: its version kept no {run.split_texts.name}, and its table"
        f" {data.path} is gone or has another SHA-256 than {sha256[:12]}..., so that it is unknown"
        " which texts it tested on; restore the table"
    )
