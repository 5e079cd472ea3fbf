"""Several searches on one cluster: none waits until another has ended."""

from pathlib import Path

import pytest

from cluster import resources
from cluster.resources import Resources, Share
from tests.cluster.heads import ray_head
from tests.faults.breaking import SHORT, wait_until
from tests.tuning.searching import Run, Started, command

LONG = [*SHORT, "--training.epochs", "30", "--trials", "6", "--search.scheduler", "none"]


@pytest.mark.parametrize(
    ("is_joined", "limit", "slots", "searches", "share"),
    [
        (False, None, 4, 1, 4),
        (False, 2, 4, 1, 4),  # the pool has the limit itself
        (True, None, 4, 1, 4),
        (True, 8, 4, 1, 8),  # what waits makes an autoscaled cluster grow
        (True, 100, 4, 1, 8),
        (True, 100, 32, 1, 64),
        (True, 8, 0, 1, 4),
        (True, 2, 0, 1, 2),
        (True, None, 0, 1, 0),  # the pool starts one all the same
        (True, None, 6, 2, 3),
        (True, 8, 6, 2, 3),
        (True, None, 2, 5, 1),
    ],
)
def test_a_search_takes_what_it_may_and_leaves_the_others_theirs(
    is_joined: bool,
    limit: int | None,
    slots: int,
    searches: int,
    share: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "num_slots", lambda _: slots)
    names = [f"search {number}" for number in range(searches)]
    monkeypatch.setattr(resources, "searches", lambda: names)
    each = Resources(cpus=1.0, gpus=0.0)
    mine = Share(name="search 0", resources=each, limit=limit, is_joined=is_joined)
    assert mine() == share


@pytest.mark.parametrize(("slots", "shares"), [(7, [3, 2, 2]), (5, [2, 2, 1]), (2, [1, 1, 1])])
def test_what_does_not_divide_goes_to_some_searches_and_is_not_idle(
    slots: int, shares: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["search a", "search b", "search c"]
    monkeypatch.setattr(resources, "num_slots", lambda _: slots)
    monkeypatch.setattr(resources, "searches", lambda: names)
    each = Resources(cpus=1.0, gpus=0.0)
    found = [Share(name=n, resources=each, limit=None, is_joined=True)() for n in names]
    assert found == shares


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_second_search_gets_its_share_while_the_first_runs(tmp_path: Path) -> None:
    runs = [Run(directory=tmp_path / name) for name in ("first", "second")]
    with ray_head("--num-cpus", "2") as head:
        both = ["--search.max_concurrent", "2", "--address", head.address]

        def search(name: str) -> Started:
            module, *rest = command(tmp_path, name, *LONG, *both)[2:]
            return Started(head.python(module, *rest))

        def running(run: Run) -> int:
            is_there = (run.directory / "trials.csv").exists()
            return int((run.trials["status"] == "running").sum()) if is_there else 0

        first = search("first")
        wait_until(lambda: running(runs[0]) == 2, first)
        second = search("second")
        wait_until(lambda: (running(runs[0]), running(runs[1])) == (1, 1), first)
        wait_until(lambda: (runs[1].directory / "curves.csv").exists(), first)
        assert runs[0].record["status"] == "running"
        for started in (first, second):
            code, out, err = started.ended()
            assert code == 0, out + err
    for run in runs:
        assert len(run.trials) == 6
        assert set(run.trials["status"]) <= {"completed", "stopped"}
