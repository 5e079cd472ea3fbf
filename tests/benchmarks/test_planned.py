from pathlib import Path

from benchmarks.planned import as_row, cases, compare

PLANNED = {
    "seconds": {"search": 60.0, "confirmation": 40.0, "final": 25.0},
    "memory_of_a_worker": 2**30,
    "taken": {
        "seconds": {"search": 70.0, "confirmation": 41.0},
        "memory_of_a_worker": 2**30 * 1.5,
    },
}


def test_search_and_confirmation_are_compared_as_a_whole():
    found = compare("sample-asha-2", PLANNED, 30.0)
    assert (found["planned_s"], found["taken_s"], found["ratio"]) == (100, 111, 1.11)
    row = "| sample-asha-2 | 100 | 111 | 1.11 | 60 / 70 | 40 / 41 | 25 / 30 | 1.00 / 1.50 |"
    assert as_row(found) == row
    assert "| 25 |" in as_row(compare("grid", PLANNED))


def test_there_are_eleven_cases_with_names_of_their_own():
    found = list(cases(Path("a.csv"), Path("b.csv"), Path("model")))
    assert len({case.name for case in found}) == len(found) == 11
    assert sum(case.is_resumed for case in found) == 1
