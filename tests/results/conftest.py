"""A fixture that starts other processes and ends them with the test."""

from collections.abc import Iterator

import pytest

from tests.results.starters import Start, Starter, start_one


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Starter] = []

    def start(*, host: str = "", interval_s: float = 5.0) -> Starter:
        started.append(start_one(host, interval_s))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()
