import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sides, throughput


def _turn(side: str, repeat: int, seconds: float, scores: list[float]) -> dict[str, Any]:
    trials = [
        {
            "process": str(number % 2),
            "began": 10.0 * number,
            "ended": 10.0 * number + 8 + number,
            "score": score,
            "rows": 100,
            "learning_rate": 1e-3 * number,
            "batch_size": 16,
        }
        for number, score in enumerate(scores)
    ]
    figures = {"seconds": seconds, "trials_s": seconds / 2, "overhead_s": 0.1}
    return {"side": side, "repeat": repeat, **figures, "trials": trials}


TURNS = [
    *[_turn("A", repeat, 50.0 + repeat, [0.5, 0.6, 0.7]) for repeat in range(2)],
    *[_turn("B", repeat, 15.0, [0.5, 0.6, 0.7]) for repeat in range(2)],
    *[_turn("C", repeat, 10.0, [0.6, 0.5, 0.72]) for repeat in range(2)],
]


def test_ratios_are_taken_repeat_by_repeat() -> None:
    ratios = throughput._ratios(TURNS)
    assert ratios["ratio_to_a"]["mean"] == pytest.approx(5.05)
    assert ratios["ratio_to_a"]["sd"] == pytest.approx(0.0707, abs=1e-3)
    assert ratios["trials_ratio_to_b"] == {"mean": 1.5, "sd": 0.0}


def test_scores_are_compared_trial_by_trial() -> None:
    compared = throughput._compare_scores(TURNS)
    assert compared["c_less_a"]["mean"] == pytest.approx(0.02 / 3)
    assert compared["c_less_a"]["within_two"]
    better = [turn | {"trials": [t | {"score": 0.9} for t in turn["trials"]]} for turn in TURNS[4:]]
    assert not throughput._compare_scores(TURNS[:4] + better)["c_less_b"]["within_two"]


def test_start_and_end_of_a_trial_are_read_from_the_log_of_its_worker(tmp_path: Path) -> None:
    lines = [
        "t0003 2026-01-01 10:00:00,000 INFO started: {'seed': 42}",
        "t0003 2026-01-01 10:00:01,500 INFO macro-F1 0.5",
        "t0003 2026-01-01 10:00:02,250 INFO ended: completed",
    ]
    (tmp_path / "worker-1.out").write_text("\n".join(lines))
    (process, started, ended) = sides._spans(tmp_path)["t0003"]
    assert (process, ended - started) == ("worker-1", 2.25)


def test_overhead_is_the_time_between_two_trainings_of_a_process() -> None:
    # Process 0 ran trials 0 (0 to 8 s) and 2 (20 to 30 s), process 1 trial 1 alone.
    assert throughput._overhead(TURNS[0]["trials"]) == 12.0
    assert throughput._overhead(TURNS[0]["trials"][:2]) is None


def test_the_figures_are_tables() -> None:
    step = {"model": "tiny", "rows": 16, "ratio": 0.5, "ratio_spread": 0.01}
    step |= {name: {"ms": 4.0, "spread": 0.1} for name in ("ours", "bare")}
    sides = {side: throughput._summary([t for t in TURNS if t["side"] == side]) for side in "ABC"}
    figures = {
        **{"sides": sides, "ratios": throughput._ratios(TURNS), "steps": [step]},
        **{"scores": throughput._compare_scores(TURNS), "asha": {}, "asha_ratio_to_b": None},
    }
    lines = throughput.as_table(figures).splitlines()
    assert lines[2].startswith("| A: Trainer as the study used it | 50.5 ± 0.7 |  | 0.10 ± 0.00 |")
    assert "A takes 5.05 ± 0.07 times as long as C, whole command" in lines
    assert lines[-1] == "| tiny | 16 | 4.00 ± 0.10 | 4.00 ± 0.10 | 0.500 ± 0.010 |"


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_all_sides_train_the_same_rows_of_the_sample(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    assert throughput.main(["--repeats", "2", "--epochs", "1", "--output", str(output)]) == 0
    figures = json.loads(output.read_text())
    for repeat in range(2):
        turns = {t["side"]: t for t in figures["runs"][: 2 * 3] if t["repeat"] == repeat}
        rows = {side: sum(t["rows"] for t in turn["trials"]) for side, turn in turns.items()}
        assert len(set(rows.values())) == 1, rows
        assert all(len(turn["trials"]) == 6 for turn in turns.values())
    assert figures["ratios"]["trials_ratio_to_a"]["mean"] > 1
    assert figures["sides"]["C"]["padded_pieces_per_second"]["mean"] > 0
    assert [step["model"] for step in figures["steps"]] == ["tiny", "tiny"]
