import csv

import pytest

from benchmarks.predict import as_table, main, write_rows
from training.errors import InputError


def test_the_rows_are_as_many_as_asked_and_no_two_are_alike(tmp_path):
    path = tmp_path / "rows.csv"
    write_rows(path, 5_000)  # more than the sample has
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [str(number) for number in range(5_000)]
    assert len({row["text"] for row in rows}) == 5_000


def test_the_rows_are_the_same_each_time(tmp_path):
    for name in ("a.csv", "b.csv"):
        write_rows(tmp_path / name, 100)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_the_figures_are_a_table():
    run = {"rows": 10_000, "backend": "onnx", "rows_per_second": 12_345, "seconds": 1.5}
    lines = as_table([run | {"peak_mib": 493.1}]).splitlines()
    assert lines[2] == "| 10,000 | onnx | 12,345 | 1.5 | 493.1 |"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--rows", "10,x", "numbers above 0"),
        ("--rows", "0", "numbers above 0"),
        ("--backend", "torch,jax", "'jax'"),
        ("--model", "nowhere", "no such directory"),
    ],
)
def test_a_wrong_option_is_told(tmp_path, option, value, words):
    options = {"--model": "m", "--rows": "10", "--output": str(tmp_path / "out.json")}
    arguments = [part for pair in (options | {option: value}).items() for part in pair]
    with pytest.raises(InputError, match=words):
        main(arguments)
    assert not (tmp_path / "out.json").exists()
