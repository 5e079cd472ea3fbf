import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import TrainingConfig
from training.schedule import Schedule, num_warmup_steps, schedule_of

SCHEDULES = st.builds(
    Schedule,
    num_rows=st.integers(1, 5000),
    batch_size=st.integers(1, 300),
    epochs=st.integers(1, 9),
)


@given(schedule=SCHEDULES, data=st.data())
def test_the_step_of_the_rows_seen_after_a_step_is_that_step(
    schedule: Schedule, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, schedule.total_steps))
    assert schedule.step_at(schedule.examples_after(step)) == step


@given(schedule=SCHEDULES, data=st.data())
def test_a_step_is_the_first_after_which_so_many_rows_have_been_seen(
    schedule: Schedule, data: st.DataObject
) -> None:
    examples = data.draw(st.integers(1, schedule.budget))
    step = schedule.step_at(examples)
    assert 1 <= step <= schedule.total_steps
    assert schedule.examples_after(step - 1) < examples <= schedule.examples_after(step)


@given(schedule=SCHEDULES)
def test_rows_seen_grow_a_batch_at_a_time_and_end_at_the_budget(schedule: Schedule) -> None:
    assert schedule.examples_after(0) == 0
    assert schedule.examples_after(schedule.total_steps) == schedule.budget
    seen = [schedule.examples_after(step) for step in range(min(schedule.total_steps, 40) + 1)]
    gains = [after - before for before, after in itertools.pairwise(seen)]
    assert all(1 <= gain <= schedule.batch_size for gain in gains)


@pytest.mark.parametrize(
    ("warmup", "steps"), [(0, 0), (0.1, 3), (0.999, 30), (1, 1), (500, 500), (1e-9, 1)]
)
def test_a_warm_up_below_one_is_a_share_of_all_steps_rounded_up(warmup: float, steps: int) -> None:
    training = TrainingConfig(epochs=3, batch_size=10, warmup_steps=warmup)
    schedule = schedule_of(training, num_rows=95)
    assert schedule.total_steps == 30
    assert num_warmup_steps(training, schedule) == steps
