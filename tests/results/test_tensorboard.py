from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from results.tensorboard import CurveWriter


def test_points_are_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    writer = CurveWriter(tmp_path / "t0000")
    for step in (100, 200):
        writer.write({"loss/train": 1 / step, "score": step / 1000}, step)
        events = EventAccumulator(str(tmp_path / "t0000"))
        events.Reload()
        assert [point.step for point in events.Scalars("score")][-1] == step
    writer.close()
    assert [round(point.value, 3) for point in events.Scalars("loss/train")] == [0.01, 0.005]
