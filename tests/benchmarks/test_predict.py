import csv

import pytest

from benchmarks.predict import MeasuredCommandError, as_table, failure_of, main, rate_in, write_rows
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
def test_a_wrong_option_is_an_error(tmp_path, option, value, words):
    options = {"--model": "m", "--rows": "10", "--output": str(tmp_path / "out.json")}
    arguments = [part for pair in (options | {option: value}).items() for part in pair]
    with pytest.raises(InputError, match=words):
        main(arguments)
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("name", ["file/out.json", "directory"])
def test_the_output_is_opened_before_any_run(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    arguments = ["--model", "nowhere", "--rows", "10", "--output", str(tmp_path / name)]
    with pytest.raises(InputError, match="--output is"):
        main(arguments)


def test_the_rate_is_found_whatever_is_printed_after_it():
    output = "1,024 rows, 0 with an error, 9 rows/s\n20,000 rows, 1 with an error, 1,234 rows/s\n"
    assert rate_in(output) == 1234
    assert rate_in(output + "Exception ignored in: <function>\n") == 1234
    with pytest.raises(MeasuredCommandError, match="printed 'words"):
        rate_in("words\n")


def test_a_command_that_fails_is_an_error_of_its_kind_with_all_lines():
    refused = failure_of(2, "error: one\nerror: two\n")
    assert isinstance(refused, InputError)
    assert refused.problems == ("one", "two")
    broken = failure_of(-9, "Traceback\n  lines\nMemoryError\n")
    assert isinstance(broken, MeasuredCommandError)
    assert str(broken).splitlines() == [
        *("evaluation.predict ended with -9:", "Traceback", "  lines", "MemoryError")
    ]
