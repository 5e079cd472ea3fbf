from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import smac_side
from benchmarks.recorded import DATA, RecordedGrid, read_grid
from benchmarks.smac_side import (
    PACKAGE,
    SEEDS_EACH,
    Choice,
    NearestConfiguration,
    check_installed,
    choose_with_smac,
)
from training.errors import InputError
from tuning.space import Domain, Space

SPACE: Space = {
    "learning_rate": Domain(log_uniform=(1e-4, 1e-2)),
    "batch_size": Domain(choice=(8, 16, 32)),
    "warmup_steps": Domain(uniform=(0.0, 0.4)),
}
DEFAULT = {"learning_rate": 1e-3, "batch_size": 16, "warmup_steps": 0.1}

needs_smac = pytest.mark.skipif(
    find_spec(PACKAGE) is None, reason="smac is not installed: pip install '.[decisions]'"
)


def point(learning_rate: float, batch_size: int = 16, warmup_steps: float = 0.1) -> dict[str, Any]:
    return {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "warmup_steps": warmup_steps,
    }


def grid_of(*parameters: Mapping[str, Any], scores: Any = None) -> RecordedGrid:
    """A grid with one evaluation a training on six replicates."""
    given = np.linspace(0.2, 0.9, len(parameters)) if scores is None else np.array(scores)
    return RecordedGrid(
        name="small",
        parameters=parameters,
        scores=np.repeat(given[:, None, None], 6, axis=1),
        points=(100,),
        num_rows=100,
        validation_share=0.25,
        constant_score=None,
    )


@pytest.fixture(scope="module")
def tweets() -> RecordedGrid:
    return read_grid(DATA / "replay-tweets-tiny.csv")


def choose(grid: RecordedGrid, space: Space = SPACE, **changes: Any) -> Choice:
    options = {"num_trainings": 13, "replicates": range(6), "seed": 0, **changes}
    return choose_with_smac(grid, space, grid.parameters[0], **options)


# The nearest configuration


def test_a_recorded_point_is_nearest_to_itself(tweets: RecordedGrid) -> None:
    nearest = NearestConfiguration(tweets.parameters, SPACE)
    found = [nearest.find(parameters) for parameters in tweets.parameters]
    assert found == list(range(len(tweets.parameters)))


@pytest.mark.parametrize(("value", "number"), [(9e-4, 0), (1.1e-3, 1), (1e-5, 0), (1.0, 1)])
def test_distances_are_logarithmic_where_the_range_is(value: float, number: int) -> None:
    nearest = NearestConfiguration([point(1e-4), point(1e-2)], SPACE)
    assert nearest.find(point(value)) == number


def test_a_difference_counts_as_a_share_of_the_range_and_another_choice_as_all_of_it() -> None:
    half = [point(1e-3, warmup_steps=0.3), point(4e-3)]  # 0.2 of 0.4, and 0.3 of two decades
    assert NearestConfiguration(half, SPACE).find(point(1e-3)) == 1
    other = [point(1e-3, 8), point(9e-3, 16, 0.2)]  # one choice, and less than a range
    assert NearestConfiguration(other, SPACE).find(point(1e-3)) == 1
    far = [point(1e-3, 8), point(1e-2, 16, 0.4)]
    assert NearestConfiguration(far, SPACE).find(point(1e-4)) == 0


def test_all_choices_are_equally_far_from_each_other_and_a_tie_is_for_the_lowest_number() -> None:
    nearest = NearestConfiguration([point(1e-3, 8), point(1e-3, 32)], SPACE)
    assert nearest.find(point(1e-3, 16)) == 0
    assert nearest.find(point(1e-3, 32)) == 1


def test_a_range_of_integers_is_measured_like_one_of_numbers() -> None:
    space = {"batch_size": Domain(integer=(8, 32))}
    nearest = NearestConfiguration([{"batch_size": 8}, {"batch_size": 24}], space)
    assert [nearest.find({"batch_size": size}) for size in (15, 17, 32)] == [0, 1, 1]


def test_what_is_not_searched_does_not_count() -> None:
    space = {"warmup_steps": SPACE["warmup_steps"]}
    nearest = NearestConfiguration([point(1e-3, 8, 0.0), point(9e-3, 32, 0.3)], space)
    assert nearest.find({"warmup_steps": 0.2}) == 1


# Errors


def test_without_the_package_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smac_side, "find_spec", lambda _: None)
    with pytest.raises(InputError) as caught:
        choose(grid_of(DEFAULT))
    assert str(caught.value) == (
        "SMAC3 needs the package smac, which is not installed; run pip install '.[decisions]' from"
        " the checkout"
    )


@pytest.mark.parametrize(
    ("parameters", "changes", "message"),
    [
        (point(2e-2), {}, r"training\.learning_rate is 0\.02, but must be within search\.space\.l"),
        (point(1e-3, 64), {}, r"training\.batch_size is 64, but .* choice \[8, 16, 32\]: SMAC3 st"),
        ({"learning_rate": 1e-3}, {}, r"space\.batch_size is searched, but not recorded .* it has"),
        (DEFAULT, {"num_trainings": 0}, "0 trainings on 6 replicates, but needs at least one of"),
        (DEFAULT, {"replicates": []}, "13 trainings on 0 replicates, but needs at least one of"),
    ],
)
def test_what_smac_cannot_search_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    parameters: dict[str, Any],
    changes: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setattr(smac_side, "find_spec", lambda _: object())
    with pytest.raises(InputError, match=message):
        choose(grid_of(parameters), **changes)


# SMAC3


@needs_smac
def test_the_package_is_found() -> None:
    check_installed()


@needs_smac
def test_it_starts_with_the_default_and_uses_the_trainings_and_replicates_given(
    tweets: RecordedGrid,
) -> None:
    choice = choose(tweets, num_trainings=15, replicates=[7, 3, 11, 2])
    assert choice.num_trainings == len(choice.asked) == 15
    assert choice.asked[0] == (0, 7)
    used = [replicate for _, replicate in choice.asked]
    assert sorted(set(used), key=used.index) == [7, 3, 11][:SEEDS_EACH]
    assert choice.configuration in {number for number, _ in choice.asked}


@needs_smac
def test_a_choice_repeats_and_scores_that_are_held_out_do_not_enter_it(
    tweets: RecordedGrid,
) -> None:
    first = choose(tweets)
    changed = tweets.scores.copy()
    changed[:, 6:] = 0.0
    changed[:, :, :-1] = 0.0
    assert choose(RecordedGrid(**{**vars(tweets), "scores": changed})) == first
    assert choose(tweets, seed=1) != first


@needs_smac
def test_it_finds_the_best_where_scores_have_no_noise() -> None:
    grid = grid_of(DEFAULT, point(2e-4), point(5e-3), point(9e-3), scores=[0.5, 0.2, 0.9, 0.7])
    assert choose(grid, num_trainings=24).configuration == 2


@needs_smac
def test_a_default_that_is_the_best_stays() -> None:
    grid = grid_of(DEFAULT, point(2e-4), point(5e-3), point(9e-3), scores=[0.9, 0.2, 0.8, 0.7])
    assert choose(grid, num_trainings=24).configuration == 0


@needs_smac
def test_with_a_single_replicate_or_training_it_chooses_too() -> None:
    grid = grid_of(DEFAULT, point(5e-3))
    assert {replicate for _, replicate in choose(grid, replicates=[4]).asked} == {4}
    assert choose(grid, num_trainings=1) == Choice(configuration=0, asked=((0, 0),))


@needs_smac
def test_it_ends_early_where_a_space_of_choices_is_exhausted() -> None:
    space = {"batch_size": Domain(choice=(8, 16))}
    choice = choose(grid_of(point(1e-3, 8), point(1e-3, 16)), space, num_trainings=50)
    assert choice.configuration == 1
    assert choice.num_trainings < 2 * SEEDS_EACH + 1


@needs_smac
def test_it_leaves_no_file_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    choose(grid_of(DEFAULT, point(5e-3)))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@needs_smac
def test_the_forest_is_that_of_smac_but_for_memory_and_threads() -> None:
    smac = pytest.importorskip("smac")
    space = pytest.importorskip("ConfigSpace").ConfigurationSpace({"x": (0.0, 1.0)})
    theirs = smac.AlgorithmConfigurationFacade.get_model(smac.Scenario(space, seed=3)).meta
    ours = smac_side._forest(space, 3).meta
    assert {name for name in theirs if ours[name] != theirs[name]} == {"max_leaf_nodes", "n_jobs"}
