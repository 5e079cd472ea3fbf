"""What a search is planned to take: seconds, memory and a sufficient time budget."""

import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import training.device
import tuning.planned
from results.trial_states import SearchStatus, Status
from tests.tuning.builders import NUM_ROWS, completed, configuration, evaluation, policy, trial
from tests.tuning.deciding import confirmation_of
from tests.tuning.simulated_tune import STEP_S, Faults, Script, SimulatedSearch
from tuning.forecast import Progress
from tuning.planned import (
    Plan,
    PlannedAndTaken,
    available_memory,
    budget_warning,
    describe_plan,
    memory_warning,
    plan_search,
)
from tuning.policy import Policy
from tuning.rehearsal import Rehearsal
from tuning.rungs import plan_evaluations
from tuning.trials import Ending, Phase, Trial, TrialStore

A_ROW_S = 0.01
REHEARSAL = Rehearsal(
    steps={16: 16 * A_ROW_S, 32: 32 * A_ROW_S},
    evaluation=0.0,
    checkpoint=0.0,
    between=0.0,
    build=0.0,
    memory=2**30,
    card_memory=None,
    batch_size=32,
    longest_row=128,
    seconds_of_largest=0.5,
    num_parameters=1_000_000,
    at_once=2,
    seconds=3.0,
)
WITHOUT_RUNGS = {"scheduler": "none", "confirm_replicates": 0, "trials": 6}


def planned(
    known: list[Trial] | None = None, *, slots: int = 1, now: float = 0.0, **search: Any
) -> Plan:
    decides = policy(known or [], config=configuration(search=search))
    return plan_of(decides, slots=slots, now=now)


def plan_of(decides: Policy, *, slots: int, now: float = 0.0, rehearsal: Any = REHEARSAL) -> Plan:
    progress = Progress(
        policy=decides, clock=lambda: now, rehearsal=rehearsal, slots=slots, starts_at=now
    )
    found = plan_search(progress, num_final_rows=1250)
    assert found is not None
    return found


def test_a_search_without_rungs_is_planned_as_its_steps_in_its_slots() -> None:
    full = 3_008 * A_ROW_S  # 63 steps of 16, or 32 of 32, an epoch
    one, two = planned(**WITHOUT_RUNGS), planned(**WITHOUT_RUNGS, slots=2)
    assert one.forecast.search == pytest.approx(6 * full, rel=0.05)
    assert two.forecast.search == pytest.approx(3 * full, rel=0.05)
    assert one.by_number[4].seconds == pytest.approx(2 * full + 4, rel=0.1)
    assert one.forecast.confirmation < 5


def test_the_confirmation_is_planned_to_end_when_a_challenger_can_first_win() -> None:
    found = planned(confirm_top=3, confirm_replicates=3, trials=6)
    assert found.forecast.confirmation == pytest.approx(9 * 30 + 4, rel=0.05)


def test_the_rest_of_a_resumed_search_is_planned() -> None:
    other = {"learning_rate": 1e-3, "batch_size": 32}
    known = [completed(0, 0.5), completed(1, 0.6, parameters=other)]
    whole, rest = planned(**WITHOUT_RUNGS), planned(known, **WITHOUT_RUNGS)
    assert rest.forecast.search == pytest.approx(whole.forecast.search * 4 / 6, rel=0.05)


def test_early_rungs_stop_no_trial_of_a_model_from_scratch() -> None:
    # Half of such trials have learnt after 150 steps: 2,400 rows in batches of 16.
    tiny = policy(config=configuration())
    pretrained = policy(config=configuration(data={"path": "sample"}, model={"name": "bert"}))
    seconds = [plan_of(one, slots=1).forecast.search for one in (tiny, pretrained)]
    assert seconds[0] == pytest.approx(6 * 15, rel=0.1)
    assert seconds[1] == pytest.approx(15 + 5 * (5 + 10 / 3), rel=0.1)


def test_without_a_rehearsal_there_is_no_plan_before_evaluations() -> None:
    progress = Progress(policy=policy(), slots=1)
    assert plan_search(progress, num_final_rows=1250) is None


def test_the_lines_of_a_plan_have_times_machines_and_memory() -> None:
    lines = "\n".join(describe_plan(planned(**WITHOUT_RUNGS, slots=2)))
    assert "here with 2 trials at once: search 1 min" in lines
    assert "on 4 such machines, 8 trials at once: about" in lines
    assert "on 8 such machines, 16 trials at once: about" in lines
    assert "1.00 GiB for each of 2 trials at once, 2.00 GiB together" in lines


def test_on_a_gpu_memory_and_time_are_those_of_cards() -> None:
    rehearsal = replace(REHEARSAL, card_memory=2**31).sharing(0.5)
    decides = policy(config=configuration(search=WITHOUT_RUNGS))
    found = plan_of(decides, slots=2, rehearsal=rehearsal)
    lines = "\n".join(describe_plan(found))
    assert "on 1 such" not in lines
    assert "on 4 such GPUs, 8 trials at once: about" in lines
    assert "1.00 GiB for each trial on a GPU of 2.00 GiB, which 2 share" in lines
    assert "does not fit" not in lines
    assert memory_warning(replace(found, rehearsal=replace(rehearsal, memory=2**30 + 1)))


def test_the_limit_of_a_container_counts_as_the_memory_that_is_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"max": str(2**30), "current": str(2**29), "stat": f"anon 5\ninactive_file {2**28}"}
    for name, content in files.items():
        (tmp_path / f"memory.{name}").write_text(content)
    layout = (tmp_path, "memory.max", "memory.current", "inactive_file")
    monkeypatch.setattr(training.device, "_CGROUP_FILES", (layout,))
    assert available_memory() == 2**30 - 2**29 + 2**28
    (tmp_path / "memory.max").write_text("max")
    free = available_memory()
    assert free is not None
    assert free > 2**30


@pytest.mark.parametrize(("free", "fits"), [(2**31, True), (2**31 - 1, False), (None, True)])
def test_trials_that_do_not_fit_in_memory_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, free: int | None, fits: bool
) -> None:
    monkeypatch.setattr(tuning.planned, "available_memory", lambda: free)
    warning = memory_warning(planned(**WITHOUT_RUNGS, slots=2))
    assert ("lower --search.max_concurrent" in warning) is not fits


def test_a_budget_that_is_too_small_for_a_verdict_is_a_warning_with_one_that_is_not() -> None:
    small = planned(time_budget_s=60, trials=100, slots=2)
    enough = small.sufficient_budget
    assert enough is not None
    assert f"--search.time_budget_s {enough:.0f} would do" in budget_warning(small)
    large = planned(time_budget_s=enough, trials=100, slots=2)
    assert budget_warning(large) == ""
    assert large.forecast.seconds <= enough + 5
    assert budget_warning(planned(trials=100)) == ""


def learning(trial: Trial) -> Script:
    points = plan_evaluations(NUM_ROWS, 3, configuration().search, batch_size=1).points
    best = 0.5 + 0.1 * (trial.parameters["batch_size"] == 32)
    curve = tuple(evaluation(point, best) for point in points)
    return Script(curve, Ending(status=Status.COMPLETED, seconds=1.0))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_the_budget_that_would_do_ends_in_a_verdict(num_workers: int, seed: int) -> None:
    a_row_s = STEP_S / 0.6 / 250  # of the simulated workers, which make 0.6 evaluations a step
    rehearsal = replace(REHEARSAL, steps={16: 16 * a_row_s, 32: 32 * a_row_s}, between=STEP_S)
    search = {"trials": 200, "seed": seed, "time_budget_s": 5.0}
    small = plan_of(
        policy(config=configuration(search=search)), slots=num_workers, rehearsal=rehearsal
    )
    config = configuration(search=search | {"time_budget_s": small.sufficient_budget})
    ran = SimulatedSearch(
        configuration=config,
        plan=plan_evaluations(NUM_ROWS, config.training.epochs, config.search, batch_size=1),
        num_rows=NUM_ROWS,
        num_workers=num_workers,
        script=learning,
        faults=Faults(),
        chance=random.Random(f"{seed} {num_workers}"),
    )
    ended = ran.run()
    confirmation = confirmation_of(ended)
    found = confirmation.standing().compare()
    assert found is not None
    assert found.paired.required is not None or not confirmation.ended_by_time
    assert config.search.time_budget_s is not None
    assert ran.seconds <= config.search.time_budget_s + 5


def test_planned_and_taken_seconds_of_each_phase_are_recorded_and_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("tuning"), "propagate", True)
    now, one = [10.0], trial(0)
    one.occupy(3 * 2**30)
    watches = PlannedAndTaken(
        plan=planned(**WITHOUT_RUNGS),
        store=TrialStore([one]),
        clock=lambda: now[0],
        started_at=10.0,
    )
    with caplog.at_level(logging.INFO):
        watches.phase_changed(Phase.SEARCH)
        assert "planned: about 3 min" in caplog.text
        before = watches.record()
        for phase, at in ((Phase.CONFIRMATION, 110.0), (Phase.FINISHED, 190.0)):
            now[0] = at
            watches.phase_changed(phase)
        now[0] = 200.0
        watches.closed(SearchStatus.COMPLETED)
    assert before is not None
    assert before["taken"] is None
    assert set(before["seconds"]) == {"search", "confirmation", "final"}
    assert f"planned {sum(list(before['seconds'].values())[:2]):.0f} s, took 190 s (" in caplog.text
    record = watches.record()
    assert record is not None
    assert record["taken"] == {
        "seconds": {"search": 100.0, "confirmation": 90.0},
        "memory_of_a_worker": 3 * 2**30,
    }
