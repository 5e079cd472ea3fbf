import json
from pathlib import Path

import pytest

from benchmarks import gpu, steps


def test_a_step_is_compared_with_a_bare_loop(capsys: pytest.CaptureFixture[str]) -> None:
    assert steps.main(["--steps", "6", "--repeats", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["rows"], found["threads"]) == ("tiny", 16, 1)
    assert found["ratio"] == pytest.approx(found["ours"]["ms"] / found["bare"]["ms"], rel=0.5)
    assert 16 < found["pieces"] <= found["padded_pieces"] < 16 * 128


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_gpu_benchmark_runs_on_the_cpu_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "gpu.json"
    small = ["--steps", "5", "--batch-sizes", "16", "--at-once", "2", "--seeds", "1"]
    assert gpu.main([*small, "--output", str(output)]) == 0
    figures = json.loads(output.read_text())
    assert {peer["side"] for peer in figures["peers"]} == {"A", "B"}
    assert figures["steps"][0]["share_of_roofline"] > 0
    assert figures["at_once"][0]["trials"] == 2
    assert figures["faithful"]["largest_loss_difference"] <= 1e-3
    scores = figures["faithful"]["scores"]
    assert scores["captured"] == pytest.approx(scores["plain"], abs=0.05)
    if figures["limits"]["device"] == "cpu":
        assert "no measurement of a GPU" in capsys.readouterr().out
