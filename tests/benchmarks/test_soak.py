import json

import pytest

from benchmarks.soak import as_table, main


@pytest.mark.slow
@pytest.mark.long
def test_many_trials_leave_no_process_and_no_memory_grows_with_them(tmp_path):
    assert main(["--at", "10,40", "--output", str(tmp_path / "soak.json")]) == 0
    figures = json.loads((tmp_path / "soak.json").read_text())
    first, last = figures["looks"]
    assert (first["trials"], last["trials"]) >= (10, 40)
    assert figures["processes_left"] == 0
    assert last["driver_mib"] < first["driver_mib"] + 50
    assert max(last["workers_mib"]) < max(first["workers_mib"]) + 100  # torch's caches fill first
    assert last["processes"] <= first["processes"]
    assert figures["end_mib"] <= figures["peak_mib"] <= figures["promised_mib"]
    a_trial = (last["run_kib"] - first["run_kib"]) / (last["trials"] - first["trials"])
    assert 0 < a_trial < 20  # rows and an event file


def test_the_figures_are_a_table():
    one = {"trials": 50, "seconds": 9.5, "driver_mib": 600.1, "workers_mib": [500.0, 501.5]}
    one |= {"processes": 9, "run_kib": 81.5, "ray_kib": 10.0}
    figures = {"looks": [one], "promised_mib": 61, "peak_mib": 20.5, "end_mib": 1.5}
    lines = as_table(figures | {"seconds_a_trial": 0.5, "processes_left": 0}).splitlines()
    assert lines[2] == "| 50 | 9.5 | 600.1 | 500.0, 501.5 | 9 | 81.5 | 10.0 |"
    assert lines[3].startswith(
        "disk: peak 20.5 MiB, at the end 1.5 MiB; the dry run estimated at most"
    )


def test_marks_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="numbers above 0"):
        main(["--at", "10,x"])
