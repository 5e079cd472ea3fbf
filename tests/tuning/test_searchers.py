"""Random suggestions, those of a grid, and which searcher an algorithm names."""

from tests.tuning.builders import configuration
from tuning.searchers import FixedSearcher, make_searcher, num_requested
from tuning.space import Domain, sample
from tuning.tpe import TpeSearcher


def test_a_random_suggestion_depends_on_seed_and_number_alone() -> None:
    config = configuration()
    first, second = (FixedSearcher(config) for _ in range(2))
    first.suggest("t0009", 9)
    assert first.suggest("t0001", 1) == second.suggest("t0001", 1)
    assert first.suggest("t0001", 1) != first.suggest("t0002", 2)


def test_a_grid_suggests_every_point_but_the_one_that_trial_0_is() -> None:
    config = configuration(
        search={"algorithm": "grid", "space": {"batch_size": {"choice": ["8", "16", "32"]}}}
    )
    searcher = make_searcher(config)
    suggested = [searcher.suggest(f"t000{n}", n)["batch_size"] for n in (1, 2)]
    assert suggested == [8, 32]
    assert config.default_point == {"batch_size": 16}


def test_a_grid_of_words_leaves_out_the_point_of_trial_0() -> None:
    config = configuration(
        data={"path": "sample"},
        search={
            "algorithm": "grid",
            "space": {
                "model": {"choice": ["org/a", "org/b"]},
                "dropout": {"choice": [None, "0"]},
            },
        },
    )
    searcher = make_searcher(config)
    assert config.default_point == {"model": "org/a", "dropout": None}
    suggested = [tuple(searcher.suggest("", n).values()) for n in range(1, num_requested(config))]
    assert suggested == [("org/a", 0), ("org/b", None), ("org/b", 0)]


def test_the_algorithm_names_the_searcher() -> None:
    for algorithm, kind in (("random", FixedSearcher), ("tpe", TpeSearcher)):
        config = configuration(search={"algorithm": algorithm})
        assert isinstance(make_searcher(config), kind)


def test_encoders_take_turns_in_a_random_search() -> None:
    names = ("tiny", "a/one", "a/two")
    space = {"model": Domain(choice=names), "learning_rate": Domain(log_uniform=(1e-5, 1e-3))}
    for seed in range(20):
        found = [sample(space, seed=seed, number=number)["model"] for number in range(1, 10)]
        turns = [found[start : start + 3] for start in (0, 3, 6)]
        assert all(sorted(map(str, turn)) == sorted(names) for turn in turns)
    orders = {
        tuple(sample(space, seed=seed, number=number)["model"] for number in (1, 2, 3))
        for seed in range(60)
    }
    assert len(orders) == 6
