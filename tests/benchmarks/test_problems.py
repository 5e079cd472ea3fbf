import numpy as np
import pytest

from benchmarks.problems import (
    BIAS,
    CELLS,
    POINTS,
    SEED_DEVIATION,
    Cell,
    recorded_problem,
    simulated_problem,
)
from benchmarks.recorded import DATA, RecordedGrid, read_grid
from training.errors import InputError

WIDE = Cell(spread=1.6, quantile=0.7, deviation=0.0, validation_share=1 / 4)


@pytest.fixture(scope="module")
def grid() -> RecordedGrid:
    return read_grid(DATA / "replay-tweets-tiny.csv")


def test_there_are_36_cells_and_each_has_its_own_problems() -> None:
    assert len(set(CELLS)) == 36
    first = [simulated_problem(cell, 6, repeat=0).scores[1, 0, 0] for cell in CELLS]
    assert len(set(first)) == 36


def test_a_problem_repeats_and_another_repeat_is_another_problem() -> None:
    one, again, other = (simulated_problem(WIDE, 12, repeat=k) for k in (3, 3, 4))
    np.testing.assert_array_equal(one.scores, again.scores)
    np.testing.assert_array_equal(one.truths, again.truths)
    assert not (one.scores == other.scores).any()


def test_a_small_simulated_problem_is_the_beginning_of_the_large_one() -> None:
    small, large = (simulated_problem(WIDE, num, repeat=3) for num in (6, 72))
    np.testing.assert_array_equal(small.scores, large.scores[:6])
    assert small.parameters == large.parameters[:6]


def test_the_default_is_at_its_quantile_and_final_scores_differ_from_the_truth_by_luck() -> None:
    problem = simulated_problem(WIDE, 72, repeat=0)
    assert POINTS * (problem.truth(0) - 0.7) == pytest.approx(1.6 * 0.5244, abs=1e-3)
    luck = POINTS * (problem.scores[:, :, -1] - problem.truths[:, None])
    assert luck.std() == pytest.approx(SEED_DEVIATION, rel=0.1)


def test_the_bias_at_a_rung_is_the_same_on_every_replicate_and_both_evaluations() -> None:
    problems = [simulated_problem(WIDE, 72, repeat=repeat) for repeat in range(20)]
    deviations = np.array([p.scores - p.truths[:, None, None] for p in problems]) * POINTS
    by_configuration = deviations.mean(axis=2).std(axis=(0, 1))
    expected = [np.hypot(1.6 * bias, SEED_DEVIATION / 3) for bias in BIAS]
    np.testing.assert_allclose(by_configuration[[0, 1, 3]], expected, rtol=0.1)
    np.testing.assert_array_equal(deviations[..., 1], deviations[..., 2])


def test_the_score_at_a_rung_is_the_mean_of_the_last_two_and_at_the_end_the_last() -> None:
    problem = simulated_problem(WIDE, 6, repeat=0)
    first, second = problem.plan.rungs
    scores = problem.scores[3, 0]
    assert problem.score_at(3, first) == scores[0]
    assert problem.score_at(3, second) == pytest.approx(scores[1:3].mean())
    assert problem.score_at(3, problem.plan.budget) == scores[3]


def test_gain_and_regret_are_points_from_the_default_and_from_the_best() -> None:
    problem = simulated_problem(WIDE, 6, repeat=0)
    every = simulated_problem(WIDE, 72, repeat=0)
    best = int(every.truths.argmax())
    assert problem.gain(0) == 0
    assert every.regret(best) == 0
    assert every.gain(best) == pytest.approx(every.regret(0)) == pytest.approx(problem.regret(0))


def test_a_recorded_problem_holds_the_default_others_once_and_scores_of_the_file(
    grid: RecordedGrid,
) -> None:
    problem = recorded_problem(grid, 12, repeat=5)
    assert problem.parameters[0] == problem.configuration.default_point
    assert len({tuple(one.values()) for one in problem.parameters}) == 12
    recorded = {one.tobytes() for one in grid.scores.reshape(-1, len(grid.points))}
    assert {one.tobytes() for one in problem.scores.reshape(-1, len(grid.points))} <= recorded
    assert problem.plan.points == grid.points
    assert problem.plan.rungs == (grid.num_rows, 3 * grid.num_rows)


def test_the_truth_of_a_recorded_problem_is_of_replicates_that_no_policy_has_seen(
    grid: RecordedGrid,
) -> None:
    problem = recorded_problem(grid, 6, repeat=5)
    everything = grid.scores[0, :, -1].sum()
    seen, held_out = problem.scores[0, :, -1], grid.scores.shape[1] - 6
    assert len(seen) == 6
    assert problem.truth(0) == pytest.approx((everything - seen.sum()) / held_out)


def test_recorded_problems_repeat_and_share_their_configurations_over_sizes(
    grid: RecordedGrid,
) -> None:
    one, again, other = (recorded_problem(grid, 12, repeat=k) for k in (0, 0, 1))
    np.testing.assert_array_equal(one.scores, again.scores)
    assert one.parameters != other.parameters
    assert recorded_problem(grid, 6, repeat=0).parameters == one.parameters[:6]


def test_a_grid_that_is_too_small_is_an_error(grid: RecordedGrid) -> None:
    with pytest.raises(InputError, match="40 configurations, but must have at least 72"):
        recorded_problem(grid, 72, repeat=0)


def test_final_scores_that_count_as_collapsed_are_those_of_a_constant_predictor(
    grid: RecordedGrid,
) -> None:
    problem = recorded_problem(grid, 40, repeat=0)
    final = grid.scores[:, :, -1]
    assert set(final[final <= problem.constant_score]) == {0.18358}
