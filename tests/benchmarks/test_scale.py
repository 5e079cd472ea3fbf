import json
from pathlib import Path

import pytest

from benchmarks.scale import as_table, main


@pytest.mark.slow
@pytest.mark.long
def test_fake_trials_are_counted_and_their_files_measured(tmp_path: Path) -> None:
    output = tmp_path / "scale.json"
    assert main(["--at", "10,40", "--output", str(output)]) == 0
    figures = json.loads(output.read_text())
    first, last = figures["looks"]
    assert (first["trials"], last["trials"]) >= (10, 40)
    assert last["run_kib"] > first["run_kib"] > 0
    assert figures["seconds_a_trial"] > 0


def test_the_pace_is_that_since_the_line_before() -> None:
    first = {"trials": 200, "seconds": 30.0, "driver_mib": 600.4, "run_kib": 3000.0}
    later = {"trials": 2000, "seconds": 84.0, "driver_mib": 650.0, "run_kib": 30000.0}
    lines = as_table({"looks": [first, later]}).splitlines()
    assert lines[2] == "| 200 | 30.0 |  | 600 | 3,000 | 15.0 |"
    assert lines[3] == "| 2,000 | 84.0 | 0.030 | 650 | 30,000 | 15.0 |"
