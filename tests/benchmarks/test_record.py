import csv
import json
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import recording
from benchmarks.record import find_recorded, main
from benchmarks.recorded import read_grid
from benchmarks.recording import Options, choose_rows
from training.errors import InputError
from training.finetune import FineTuned, finetune
from tuning.space import sample
from tuning.start import build

OPTIONS = {
    "--max-rows": "300",
    "--configurations": "2",
    "--replicates": "2",
    "--evaluations-per-epoch": "1",
    "--space-seed": "5",
}
ROWS_EACH = 6
TRAININGS = [(0, 1), (1, 1), (0, 2), (1, 2)]


def arguments(output: Path, **changes: str) -> list[str]:
    given = OPTIONS | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return ["--output", str(output), *(part for pair in given.items() for part in pair)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an uninterrupted recording."""
    output = tmp_path_factory.mktemp("recorded") / "grid.csv"
    assert main(arguments(output)) == 0
    return output


@pytest.fixture
def part(recorded: Path, tmp_path: Path) -> Path:
    """A copy of the recording, to be changed."""
    for path in recorded.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / recorded.name


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_configurations_are_recorded_replicate_by_replicate(recorded: Path) -> None:
    rows = rows_of(recorded)
    order = [(int(row["configuration"]), int(row["replicate"])) for row in rows]
    assert order == [training for training in TRAININGS for _ in range(ROWS_EACH)]


def test_configuration_0_is_the_default_and_the_others_are_those_of_a_search(
    recorded: Path,
) -> None:
    default, other = read_grid(recorded).parameters
    assert default == {"learning_rate": 5e-4, "batch_size": 32, "warmup_steps": 0.1}
    expected = sample(build({}).search.space, seed=5, number=1)
    assert other == {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()}


def test_replicates_have_splits_and_scores_of_their_own(recorded: Path) -> None:
    grid = read_grid(recorded)
    assert grid.scores.shape == (2, 2, ROWS_EACH)
    assert grid.epochs == 6
    assert (grid.scores[:, 0] != grid.scores[:, 1]).any()
    assert grid.validation_share == pytest.approx(0.25, abs=0.01)
    assert grid.constant_score is not None
    assert 0.1 < grid.constant_score < 0.25  # 4 classes


def test_the_file_holds_numbers_alone(recorded: Path) -> None:
    assert all(float(cell) >= 0 for row in rows_of(recorded) for cell in row.values())


def test_a_complete_recording_is_left_as_it_is(part: Path, recorded: Path) -> None:
    assert main(arguments(part)) == 0
    assert part.read_bytes() == recorded.read_bytes()


@pytest.mark.parametrize("num_lines", [0, 1 + ROWS_EACH, 3 + 3 * ROWS_EACH])
def test_a_training_that_was_written_in_part_is_dropped_and_repeated(
    part: Path, recorded: Path, num_lines: int
) -> None:
    lines = recorded.read_text("utf-8").splitlines(keepends=True)
    part.write_text("".join(lines[:num_lines]) + lines[num_lines][:5], encoding="utf-8")
    assert main(arguments(part)) == 0
    assert part.read_bytes() == recorded.read_bytes()


def test_a_killed_recording_continues(recorded: Path, tmp_path: Path) -> None:
    output = tmp_path / "grid.csv"
    command = [sys.executable, "-m", "benchmarks.record", *arguments(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in waiting():
        if output.exists() and output.read_bytes().count(b"\n") > ROWS_EACH:
            break
    process.kill()
    process.wait()
    assert main(arguments(output)) == 0
    assert output.read_bytes() == recorded.read_bytes()


def waiting() -> Iterator[None]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)
    pytest.fail("nothing was recorded")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("configurations", "3"),
        ("replicates", "3"),
        ("evaluations_per_epoch", "2"),
        ("space_seed", "6"),
        ("max_rows", "301"),
        ("rows_seed", "12"),
    ],
)
def test_an_output_that_was_made_with_other_options_is_refused(
    part: Path, recorded: Path, name: str, value: str
) -> None:
    with pytest.raises(InputError, match=f"recorded with {name}.* but it is {value} now"):
        main(arguments(part, **{name: value}))
    assert part.read_bytes() == recorded.read_bytes()


def test_an_output_of_other_rows_is_refused(part: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("text,final_label\n", encoding="utf-8")
    with pytest.raises(InputError, match="recorded with data 'SHA-256 "):
        main(arguments(part, data=str(tmp_path / "data.csv")))


def test_a_file_that_something_else_wrote_is_refused(part: Path) -> None:
    part.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="not those of its options"):
        main(arguments(part))
    part.with_suffix(".options.json").unlink()
    with pytest.raises(InputError, match="does not hold its options"):
        main(arguments(part))
    assert part.read_text("utf-8") == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("output", "grid.json", "must end with .csv"),
        ("data", "nowhere.csv", "no such file"),
        ("replicates", "101", "confirm_max_replicates"),
        ("evaluations_per_epoch", "7", "must be at most 6, the steps of an epoch"),
    ],
)
def test_a_wrong_option_is_an_error_and_leaves_no_file(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    given = {"output": str(tmp_path / "grid.csv"), name: value}
    with pytest.raises(InputError, match=words):
        main(arguments(**{**given, "output": Path(given["output"])}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["0", "x", "1.5", "-1"])
def test_a_number_that_is_not_whole_is_an_error(
    tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments(tmp_path / "grid.csv", workers=value))
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--workers: is '{value}', but must be a whole number of at least 1" in line


def test_the_chosen_rows_are_of_the_table_in_an_order_of_the_seed(tmp_path: Path) -> None:
    options = options_of(max_rows=50)
    for name in ("a.csv", "b.csv"):
        choose_rows(options, tmp_path / name)
    rows = rows_of(tmp_path / "a.csv")
    known = {row["text"] for row in rows_of(Path("training/sample/sample.csv").absolute())}
    assert len(rows) == 50
    assert {row["text"] for row in rows} <= known
    assert rows == rows_of(tmp_path / "b.csv")
    choose_rows(options_of(max_rows=50, rows_seed=1), tmp_path / "c.csv")
    assert rows != rows_of(tmp_path / "c.csv")


def options_of(**changes: int) -> Options:
    fields = {"configurations": 1, "replicates": 1, "evaluations_per_epoch": 1, "space_seed": 5}
    return Options(**{"data": "sample", "max_rows": 300, "rows_seed": 11, **fields, **changes})


def test_a_training_is_the_same_in_another_process() -> None:
    grid = recording.prepare_grid(options_of())
    again = pickle.loads(pickle.dumps(grid))
    assert recording.record_training(again, (0, 1)) == recording.record_training(grid, (0, 1))


def test_the_last_evaluation_of_a_diverged_training_stands_for_the_later_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def diverges(*given: object, **options: object) -> FineTuned:
        found = finetune(*given, **options)
        return FineTuned(**{**vars(found), "evaluations": found.evaluations[:2]})

    grid = recording.prepare_grid(options_of())
    whole = recording.record_training(grid, (0, 1))
    monkeypatch.setattr(recording, "finetune", diverges)
    rows = recording.record_training(grid, (0, 1))
    assert [row["examples"] for row in rows] == [row["examples"] for row in whole]
    assert rows[:2] == whole[:2]
    assert {row["f1_macro"] for row in rows[2:]} == {whole[1]["f1_macro"]}


def test_the_options_beside_the_file_name_what_decides_the_numbers(recorded: Path) -> None:
    record = json.loads(recorded.with_suffix(".options.json").read_text("utf-8"))
    assert record["training"]["epochs"] == 6
    assert record["space"]["learning_rate"] == {"log_uniform": [2e-4, 5e-3]}
    assert len(find_recorded(recorded, options_of(configurations=2, replicates=2))) == 25
