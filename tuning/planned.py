"""What a search is planned to take before it starts, and what it took: seconds and memory.

The plan is the forecast (`tuning.forecast`) with the costs of a rehearsal. The start-up below was
measured on a machine with 2 cores without a GPU, on searches of the sample; the constants of the
final evaluation are estimates. `benchmarks.planned` measures how far plans are off.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from results.status_text import compare_with_plan, format_duration
from results.trial_states import SearchStatus
from training.config import TINY
from training.device import available_memory
from tuning.forecast import Candidate, Forecast, Progress, RemainingWork, forecast
from tuning.observers import Observer
from tuning.policy import Policy
from tuning.rehearsal import Rehearsal
from tuning.time_budget import SLACK_SHARE
from tuning.trials import Phase, TrialStore

logger = logging.getLogger(__name__)

_START_UP_S, _START_UP_OF_WORKERS_S = 3.6, 5.2
"""Seconds until the first training starts: with a worker on every second core 6.2, on every core
8.8. Workers load libraries, while the model to ship is checked and the baseline fitted."""
_FINAL_S = 20.0
"""Seconds of `evaluation.final` without its training: libraries, export, reports (an estimate)."""
_FASTER_BY_A_CORE = 0.6
"""Share of a core by which each further one makes the final training faster (estimate)."""
_NUMBERS = (1, 4, 8)
"""Of GPUs or machines for which a search is planned."""
_MARGIN = 1.25
"""The recommended budget over the one that is expected to do: plans are off by a quarter."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one start of a search is expected to take, from the moment of the plan on."""

    forecast: Forecast
    final: float
    """Seconds of `evaluation.final`."""
    by_number: Mapping[int, Forecast]
    """On this many GPUs like this one; without a GPU, machines."""
    slots: int
    """Trials at once."""
    rehearsal: Rehearsal
    sufficient_budget: float | None
    """`search.time_budget_s` that is enough for a verdict, where the one that is set is not."""

    def as_record(self) -> dict[str, Any]:
        """Return `planned` of the record."""
        found, measured = self.forecast, self.rehearsal
        return {
            "seconds": {
                "search": round(found.search, 1),
                "confirmation": round(found.confirmation, 1),
                "final": round(self.final, 1),
            },
            "memory_of_a_worker": measured.memory,
            "sufficient_time_budget_s": self.sufficient_budget,
            "assumptions": {
                "slots": self.slots,
                **_described(measured),
                "encoders": {name: _described(one) for name, one in measured.others.items()},
                "start_up_s": start_up_seconds(self.slots),
                "rehearsal_s": round(measured.seconds, 1),
                "confirmation": "it ends at the first replicate at which a challenger can win",
            },
        }


def _described(measured: Rehearsal) -> dict[str, Any]:
    return {
        "seconds_a_step": {str(size): s for size, s in measured.steps.items()},
        "seconds_an_evaluation": measured.evaluation,
        "seconds_to_build": measured.build,
    }


def plan_search(progress: Progress, *, num_final_rows: int) -> Plan | None:
    """Plan a search, or the rest of one that is resumed; None: nothing was timed.

    Args:
        progress: of the search, before its first trial.
        num_final_rows: rows that `evaluation.final` trains on.
    """
    work = progress.remaining_work()
    found = forecast(work)
    if found is None or work.rehearsal is None:
        return None
    has_gpu = work.rehearsal.card_memory is not None
    slots = work.rehearsal.sharers if has_gpu else work.slots
    return Plan(
        forecast=found,
        final=_seconds_of_final(work, progress.policy, num_final_rows),
        by_number={num: forecast(replace(work, slots=num * slots)) or found for num in _NUMBERS},
        slots=work.slots,
        rehearsal=work.rehearsal,
        sufficient_budget=_sufficient_budget(work, elapsed=progress.clock()),
    )


def _sufficient_budget(work: RemainingWork, *, elapsed: float) -> float | None:
    """Return a time budget that is enough for a verdict; None: the one that is set is enough.

    A verdict needs a few trials that end the search, and the replicates of the default and one
    challenger. It is planned for a search from its start.
    """
    search, budget = work.search, work.search.time_budget_s
    if budget is None or not search.confirm_replicates or work.trials:
        return None
    few = min(work.requested, 1 + search.confirm_top)
    least = replace(
        work,
        search=search.model_copy(update={"confirm_top": 1, "scheduler": "none"}),
        requested=few,
        coming=work.coming[:few],
        limit=None,
    )
    found = forecast(least)
    assert found is not None, "there is a rehearsal"
    needed = (elapsed + found.seconds) * _MARGIN / (1 - SLACK_SHARE)
    return None if budget >= needed else _round_up(needed)


def _round_up(seconds: float) -> float:
    step = 10 if seconds < 600 else 60
    return float(-(-seconds // step) * step)


def _seconds_of_final(work: RemainingWork, policy: Policy, num_rows: int) -> float:
    """Return the seconds in which the winner is retrained and evaluated."""
    found, configuration = work.rehearsal, policy.configuration
    assert found is not None, "there is a rehearsal"
    default = Candidate(training=configuration.training, model=None)
    paces = [work.rehearsed_pace(candidate) for candidate in work.coming or [default]]
    pace = sum(paces) / len(paces)
    cores = (os.cpu_count() or 1) if configuration.model.name != TINY else 1
    faster = 1 + _FASTER_BY_A_CORE * (cores - 1)
    epochs = configuration.training.epochs
    return _FINAL_S + epochs * num_rows * pace * work.correction / faster


def start_up_seconds(slots: int) -> float:
    """Return the seconds until the first training starts in this many workers on this machine."""
    return _START_UP_S + _START_UP_OF_WORKERS_S * min(slots / (os.cpu_count() or 1), 1.0)


def describe_plan(plan: Plan) -> Iterator[str]:
    """Describe the plan for the dry run: time on 1, 4 and 8 machines, memory, budget."""
    yield f"time        {describe_times(plan)}"
    each = plan.slots if plan.rehearsal.card_memory is None else plan.rehearsal.sharers
    unit = "machine" if plan.rehearsal.card_memory is None else "GPU"
    for num, found in plan.by_number.items():
        if num * each != plan.slots:
            yield (
                f"            on {num} such {unit}{'s' * (num > 1)}, {num * each} trials at once:"
                f" about {format_duration(found.seconds)} for search and confirmation"
            )
    yield f"memory      {describe_memory(plan)}"
    if warning := memory_warning(plan):
        yield f"            {warning}"
    if warning := budget_warning(plan):
        yield f"            {warning}"


def describe_times(plan: Plan) -> str:
    """Describe the seconds of each phase, and of evaluation.final."""
    found = plan.forecast
    return (
        f"about {format_duration(found.seconds)} here with {plan.slots} trials at once: search"
        f" {format_duration(found.search)}, confirmation {format_duration(found.confirmation)};"
        f" then {format_duration(plan.final)} for evaluation.final"
    )


def describe_memory(plan: Plan) -> str:
    """Describe the memory of a worker and of all of them."""
    each, of_card = plan.rehearsal.memory, plan.rehearsal.card_memory
    if of_card is not None:
        share = "" if plan.rehearsal.sharers == 1 else f", which {plan.rehearsal.sharers} share"
        return f"{_gib(each)} for each trial on a GPU of {_gib(of_card)}{share}"
    return (
        f"{_gib(each)} for each of {plan.slots} trials at once, {_gib(each * plan.slots)} together"
    )


def memory_warning(plan: Plan) -> str:
    """Return a warning if the trials do not fit in the memory of this machine; empty: they do."""
    found = plan.rehearsal
    free, num = available_memory(), plan.slots
    if found.card_memory is not None:
        free, num = found.card_memory, found.sharers
    if free is None or num * found.memory <= free:
        return ""
    return (
        f"this does not fit in the {_gib(free)} that are free: lower --search.max_concurrent,"
        " batch sizes or model.max_length"
    )


def budget_warning(plan: Plan) -> str:
    """Return a warning if the time budget is too small for a verdict; empty: it is not."""
    if plan.sufficient_budget is None:
        return ""
    return (
        f"search.time_budget_s is too small for a verdict; --search.time_budget_s"
        f" {plan.sufficient_budget:.0f} would do"
    )


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.2f} GiB"


@dataclass(kw_only=True)
class PlannedAndTaken(Observer):
    """Measures the phases of one start of a search, and compares them with the plan."""

    plan: Plan | None
    store: TrialStore
    clock: Callable[[], float]
    started_at: float
    """When the plan was made, on the clock."""
    _is_logged: bool = field(default=False, init=False)
    _confirmed_from: float | None = field(default=None, init=False)
    _ended_at: float | None = field(default=None, init=False)

    def phase_changed(self, phase: Phase) -> None:
        """Write the plan to the log at the first phase; note when the search has ended."""
        if self.plan is not None and not self._is_logged:
            self._is_logged = True
            _log(self.plan)
        if phase != Phase.SEARCH and self._confirmed_from is None:
            self._confirmed_from = self.clock()

    def closed(self, status: SearchStatus) -> None:
        """Write planned and taken seconds to the log."""
        self._ended_at = self.clock()
        if self.plan is not None and status == SearchStatus.COMPLETED:
            taken = self._ended_at - self.started_at
            logger.info("%s", compare_with_plan(self.plan.forecast.seconds, taken))

    def record(self) -> dict[str, Any] | None:
        """Return `planned` of the record, with what was taken once the search has ended."""
        if self.plan is None:
            return None
        return {**self.plan.as_record(), "taken": self._taken()}

    def _taken(self) -> dict[str, Any] | None:
        if self._ended_at is None:
            return None
        between = self._ended_at if self._confirmed_from is None else self._confirmed_from
        return {
            "seconds": {
                "search": round(between - self.started_at, 1),
                "confirmation": round(self._ended_at - between, 1),
            },
            "memory_of_a_worker": max((t.memory for t in self.store), default=0) or None,
        }


def _log(plan: Plan) -> None:
    """Write how long the search will take and how much memory its workers need."""
    logger.info("planned: %s (timed in %.1f s)", describe_times(plan), plan.rehearsal.seconds)
    logger.info("memory: %s", describe_memory(plan))
    for warning in filter(None, (memory_warning(plan), budget_warning(plan))):
        logger.warning("%s", warning)
