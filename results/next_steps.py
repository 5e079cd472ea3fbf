"""What to do next with a run, by its verdict and by what its search and its data suggest."""

import json
import math
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from results.encoder_choice import as_evaluated, recommended_encoder
from results.parameter_values import name_of_model
from results.run import BASELINE, Run
from results.status_text import (
    final_command,
    next_step,
    predict_command,
    publish_command,
    search_again_command,
)
from results.trial_states import SearchStatus, VerdictKind
from results.trust import FEWEST_TEST_ROWS, Cause, classes_with_few_rows
from results.verdict import confirmed_score, edges_to_search, has_default_won

_TINY = "tiny"
"""Name of the model that is built from scratch."""

_USUAL_COLUMNS = {"text_column": "text", "label_column": "label"}
"""Columns that a search finds by itself."""

LEAST_NOISE = 0.02
"""Share of repeated texts with conflicting labels below which it costs under a point."""


@dataclass(frozen=True, kw_only=True)
class NextStep:
    """One thing to do next."""

    text: str
    """A sentence without a full stop."""
    command: str | None = None
    """The command that does it; None: it is done elsewhere."""

    def as_record(self) -> dict[str, str | None]:
        """Return the step for JSON."""
        return {"text": self.text, "command": self.command}

    def __str__(self) -> str:
        """Return text and command in one line."""
        return self.text if self.command is None else f"{self.text}: {self.command}"


@dataclass(frozen=True, kw_only=True)
class _Situation:
    """What the steps depend on."""

    run: Run
    record: Mapping[str, Any]
    test: Mapping[str, Any] | None
    causes: Collection[Cause]
    directory: Path | None
    """`final` or `final-2`, ...; None: no evaluation."""

    @property
    def is_from_scratch(self) -> bool:
        """Whether the winner started from random weights."""
        model = (self.record.get("environment") or {}).get("model") or {}
        name = name_of_model(as_evaluated(self.record, self.test))
        return name == _TINY or model.get("weights") == "random"


def list_next_steps(
    kind: VerdictKind,
    run: Run,
    record: Mapping[str, Any],
    test: Mapping[str, Any] | None,
    *,
    causes: Collection[Cause],
    directory: Path | None,
) -> Iterator[NextStep]:
    """Yield what to do next, the most useful first.

    Args:
        kind: the verdict.
        run: the run.
        record: content of `search.json`.
        test: content of `evaluation_report.json`; None: not evaluated.
        causes: why the result cannot be trusted, or what to be cautious about.
        directory: the results of the evaluation; None: the newest ones of the run.
    """
    if directory is None and (reports := run.newest_reports()) is not None:
        directory = reports.parent
    found = _Situation(run=run, record=record, test=test, causes=causes, directory=directory)
    yield from _STEPS[kind](found)
    if test is not None or record["status"] == SearchStatus.COMPLETED:
        yield from _after_search(found)


def _to_use_model(found: _Situation) -> Iterator[NextStep]:
    if found.directory is not None:
        model = str(found.directory / "model")
        yield NextStep(text="Classify texts with the model", command=predict_command(model))
        yield NextStep(text="Share it on the Hub", command=publish_command(model))


def _to_use_baseline(found: _Situation) -> Iterator[NextStep]:
    yield from _baseline(found)
    yield from _better_encoder(found)
    if found.causes:
        yield from _other_test_rows(found)


def _to_choose_the_simpler(found: _Situation) -> Iterator[NextStep]:
    yield from _baseline(found)
    yield from _better_encoder(found)
    low, high = (found.test or {})["confidence_intervals"]["score"]
    if high > low:
        yield NextStep(
            text=f"Label more rows: the test score is known to +/- {(high - low) * 50:.1f} points,"
            " so that a smaller difference cannot be detected"
        )


def _to_trust(found: _Situation) -> Iterator[NextStep]:
    remedies = dict.fromkeys(  # each of them once
        remedy for cause in found.causes for remedy in _REMEDIES[cause]
    )
    for remedy in remedies:
        yield from remedy(found)
    if _is_behind_on_test(found.test or {}):
        for step in _baseline(found):
            yield replace(step, text="Meanwhile classify texts with TF-IDF")
    has_learnt_little = Cause.COLLAPSED in found.causes or Cause.BELOW_CONFIRMED in found.causes
    if has_learnt_little and found.is_from_scratch:
        yield from _better_encoder(found)


def _is_behind_on_test(test: Mapping[str, Any]) -> bool:
    """Return whether the baseline has the higher score on the test rows."""
    of_baseline = (test.get("baseline") or {}).get("score")
    higher_is_better = test["objective"].get("higher_is_better", True)
    return of_baseline is not None and (of_baseline > test["score"]) is higher_is_better


def _to_evaluate(found: _Situation) -> Iterator[NextStep]:
    """Yield how to reach a verdict: complete the search, then evaluate its winner."""
    run, record = found.run, found.record
    again = search_again_command(run)
    if found.test is not None:
        text = "Search and evaluate again with this version, which compares with TF-IDF"
        yield NextStep(text=text, command=again)
    elif record["status"] == SearchStatus.ABORTED or (
        record["status"] == SearchStatus.COMPLETED and record["best"] is None
    ):
        yield NextStep(text=f"Fix the errors in {run.log}, then search again", command=again)
    elif record["status"] != SearchStatus.COMPLETED:
        is_alive = record["status"] == SearchStatus.RUNNING and run.is_locked()
        text = "Follow the search" if is_alive else "Resume the search"
        yield NextStep(text=text, command=next_step(run, record, is_alive=is_alive))
    else:
        if _is_behind_baseline(record):
            yield from _better_encoder(found)
        yield from _evaluate(run, record)


def _evaluate(run: Run, record: Mapping[str, Any]) -> Iterator[NextStep]:
    """Yield the evaluation of the winner; if a cheaper encoder is recommended, first that of it."""
    command, once = final_command(str(run.directory)), "on the test rows, which is done once"
    if (advice := recommended_encoder(record)) is None:
        yield NextStep(text=f"Evaluate the winner {once}", command=command)
        return
    yield NextStep(
        text=f"Evaluate {advice.trial_id}, the best candidate of the cheaper encoder, {once}",
        command=final_command(str(run.directory), encoder=advice.short_name),
    )
    yield NextStep(text="Or evaluate the winner instead", command=command)


def _is_behind_baseline(record: Mapping[str, Any]) -> bool:
    """Return whether TF-IDF has a higher score than the winner on validation rows."""
    of_baseline = (record.get("baseline") or {}).get("score")
    best = confirmed_score(record, "best")
    best = record["best"]["score"] if best is None else best
    if of_baseline is None or not record["objective"].get("higher_is_better", True):
        return False
    return bool(of_baseline > best)


def _baseline(found: _Situation) -> Iterator[NextStep]:
    directory = found.directory and found.directory / BASELINE
    if directory and directory.is_dir():
        command = predict_command(str(directory))
        yield NextStep(text="Classify texts with TF-IDF", command=command)


def _better_encoder(found: _Situation) -> Iterator[NextStep]:
    if found.is_from_scratch:
        yield NextStep(
            text="Fine-tune a pretrained encoder (ID: a model of the Hub in the language of the"
            " texts, or a directory), since this model was trained from scratch",
            command=_command_with_encoder(found),
        )
    else:
        yield NextStep(
            text="Try an encoder that was pretrained on texts like these, or label more rows",
            command=_command_with_encoder(found),
        )


def _command_with_encoder(found: _Situation) -> str:
    """Return the command of a search with another encoder on the same table."""
    data = _data_options(found.run)
    words = ["--data", str(data.get("path") or found.record["data"].get("path") or "FILE")]
    for field, usual in _USUAL_COLUMNS.items():
        if data.get(field) not in (None, usual):
            words += [f"--data.{field}", str(data[field])]
    if data.get("ordered") is True:
        labels = json.dumps(data.get("labels"), ensure_ascii=False)
        words += ["--data.labels", labels, "--data.ordered", "true"]
    return f"{shlex.join(['python', '-m', 'tuning.search', *words])} --model ID"


def _data_options(run: Run) -> Mapping[str, Any]:
    """Return section `data` of the run's configuration; empty where it cannot be read."""
    try:
        values = yaml.safe_load(run.config.read_text("utf-8"))
        return dict(run.with_own_data(values)["data"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return {}


def _find_cause_of_fall(found: _Situation) -> Iterator[NextStep]:
    retrain = (found.test or {}).get("retrain") or {}
    highest = max(retrain.get("fixed_rows_loss_in_search") or [math.inf])
    if retrain.get("fixed_rows_loss", -math.inf) > highest:
        yield NextStep(
            text="Do not quote or ship this model: its retrain learnt less than the trainings of"
            " the search, which happens with some seeds"
        )
        return
    yield NextStep(
        text="Do not quote or ship this model: compare the test rows with the training rows"
        " (source, time, duplicates; section Mistakes of the report); if rows of one source are in"
        " train and validation, set data.group_column"
    )


def _quote_the_first(_: _Situation) -> Iterator[NextStep]:
    yield NextStep(text="Quote the report of the first evaluation, in final/, and not this one")


def _other_test_rows(_: _Situation) -> Iterator[NextStep]:
    yield NextStep(
        text="Label new rows, mark them as test in a column, and search with"
        " --data.split_column COLUMN: a verdict needs test rows that no run was evaluated on"
    )


def _other_start(_: _Situation) -> Iterator[NextStep]:
    yield NextStep(
        text="Start from a model that was not trained on these rows, or evaluate on other rows"
    )


def _learn_more_than_one_class(_: _Situation) -> Iterator[NextStep]:
    yield NextStep(text="Search lower learning rates and a longer warm-up")


def _label_rare_classes(found: _Situation) -> Iterator[NextStep]:
    counts = found.record["data"].get("class_counts", {})
    for name, rows in classes_with_few_rows(found.test or {}).items():
        total = sum(of.get(name, 0) for of in counts.values())
        needed = f", about {math.ceil(total * FEWEST_TEST_ROWS / rows):,} in all" if rows else ""
        yield NextStep(
            text=f"Label more rows of '{name}' ({total:,} now{needed}), or merge it with another"
            " class"
        )


def _after_search(found: _Situation) -> Iterator[NextStep]:
    """Yield what the outcome of the search and the labels suggest, whatever the verdict."""
    record = found.record
    if has_default_won(record):
        yield NextStep(
            text="Keep the default configuration: the search found nothing better, and another"
            " seed would only select by chance"
        )
    space = (record.get("search") or {}).get("space") or {}
    for edge in edges_to_search(record):
        name, beyond = edge["parameter"], edge["try_next"]
        wider = json.dumps({**space, name: beyond})
        yield NextStep(
            text=f"Search {name} further: the winner's {edge['value']:.4g} is at the"
            f" {edge['bound']} end of its range",
            command=f"{search_again_command(found.run)} --search.space {shlex.quote(wider)}",
        )
    noise = record["data"].get("label_noise") or 0.0
    if noise >= LEAST_NOISE:
        yield NextStep(
            text=f"Check the labels: {noise:.1%} of the repeated texts have labels that disagree;"
            f" if all rows are like them, no model exceeds an accuracy of about {1 - noise / 2:.0%}"
        )


_STEPS: Mapping[VerdictKind, Callable[[_Situation], Iterator[NextStep]]] = {
    VerdictKind.USE_MODEL: _to_use_model,
    VerdictKind.USE_BASELINE: _to_use_baseline,
    VerdictKind.NO_DIFFERENCE: _to_choose_the_simpler,
    VerdictKind.DO_NOT_TRUST: _to_trust,
    VerdictKind.NOT_EVALUATED: _to_evaluate,
}
_REMEDIES: Mapping[Cause, Sequence[Callable[[_Situation], Iterator[NextStep]]]] = {
    Cause.BELOW_CONFIRMED: (_find_cause_of_fall,),
    Cause.ROWS_SEEN: (_other_start,),
    Cause.SECOND_ACCESS: (_quote_the_first, _other_test_rows),
    Cause.EARLIER_RUN: (_other_test_rows,),
    Cause.OTHER_RUNS: (_other_test_rows,),
    Cause.COLLAPSED: (_learn_more_than_one_class,),
    Cause.FEW_ROWS: (_label_rare_classes,),
}
