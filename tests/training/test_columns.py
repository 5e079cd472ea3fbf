import bz2
import datetime
import decimal
import gzip
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.training.reading import (
    as_csv,
    as_json_lines,
    read,
    refusal,
    write_parquet,
    written,
)
from training.columns import sha256_of

TEXT = {"text": "data.text_column"}
ROWS = {"text": ["sugeng énjing", "kowe"], "label": ["1", "2"]}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_csv_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    columns = read(written(tmp_path, "a.csv", mark + "text,label\nsugeng énjing,1\n".encode()))
    assert columns.names == ["text", "label"]
    assert columns.cells["text"] == ["sugeng énjing"]


def test_words_that_pandas_takes_for_missing_stay_text_and_empty_cells_are_nothing(
    tmp_path: Path,
) -> None:
    columns = read(written(tmp_path, "a.csv", "text,label\nNA,1\nnull,\nnan,0.70\n,1\n"))
    assert columns.cells["text"] == ["NA", "null", "nan", ""]
    assert columns.cells["label"] == ["1", "", "0.70", "1"]


def test_records_are_numbered_as_pandas_numbers_them(tmp_path: Path) -> None:
    content = 'text,label\n\n"two\n\nlines, and ""quotes""",a\n\n \nb,c\r\n"d\r\ne",f\n\n'
    path = written(tmp_path, "a.csv", content)
    expected = pd.read_csv(path, dtype=str)
    assert read(path).cells == {name: expected[name].tolist() for name in expected}
    assert read(path).cells["label"] == ["a", "c", "f"]


def test_only_the_requested_columns_are_read_whatever_the_others_hold(tmp_path: Path) -> None:
    spans = pa.array([[{"start": 1}], None])
    path = write_parquet(tmp_path / "a.parquet", {**ROWS, "spans": spans})
    columns = read(path)
    assert columns.cells == ROWS
    assert columns.names == ["text", "label", "spans"]
    lines = as_json_lines({**ROWS, "spans": [[1], {"a": [2]}]})
    assert read(written(tmp_path, "a.jsonl", lines)).cells == ROWS


@pytest.mark.parametrize("packing", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_every_format_is_read_plain_and_packed(tmp_path: Path, ending: str, packing: str) -> None:
    if ending == ".parquet":
        raw = write_parquet(tmp_path / "plain.parquet", ROWS).read_bytes()
    else:
        raw = (as_csv(ROWS) if ending == ".csv" else as_json_lines(ROWS)).encode()
    pack = {
        "": bytes,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    }[packing]
    path = written(tmp_path, f"a{ending}{packing}", pack(raw))
    assert read(path).cells == ROWS


def test_concatenated_compressed_files_are_read_to_the_end(tmp_path: Path) -> None:
    parts = gzip.compress(b"text,label\na,1\n") + gzip.compress(b"b,2\n")
    assert read(written(tmp_path, "a.csv.gz", parts)).cells["text"] == ["a", "b"]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.parquet.gz"])
def test_a_compressed_file_that_is_cut_off_is_refused_whole(tmp_path: Path, name: str) -> None:
    many = {"text": [f"kowe {n}" for n in range(30_000)], "label": ["1"] * 30_000}
    raw = (
        as_csv(many).encode()
        if name == "a.csv.gz"
        else write_parquet(tmp_path / "p.parquet", many).read_bytes()
    )
    packed = gzip.compress(raw)
    assert "damaged or cut off" in refusal(written(tmp_path, name, packed[: len(packed) // 2]))
    assert "damaged or cut off" in refusal(written(tmp_path, name, packed[:-1]))


def test_numbers_and_truth_values_of_json_are_kept_as_they_were_written(tmp_path: Path) -> None:
    values = ["1e5", "0.10", "12345678901234567890123", "-0", "true", "1477429012345678901.0"]
    lines = "".join(f'{{"label": "x", "text": {value}}}\n' for value in values)
    assert read(written(tmp_path, "a.jsonl", lines)).cells["text"] == values


def test_null_nan_and_a_missing_key_of_json_are_nothing(tmp_path: Path) -> None:
    lines = '{"text": null, "label": 1}\n{"text": NaN, "label": 1}\n{"label": 1}\n'
    assert read(written(tmp_path, "a.jsonl", lines)).cells["text"] == ["", "", ""]


@pytest.mark.parametrize(("value", "kind"), [('["a"]', "a JSON list"), ('{"a": 1}', "an object")])
def test_lists_and_objects_of_json_are_no_text(tmp_path: Path, value: str, kind: str) -> None:
    lines = f'{{"text": "a", "label": 1}}\n{{"text": {value}, "label": 1}}\n'
    line = refusal(written(tmp_path, "a.jsonl", lines))
    assert f"column 'text' holds a JSON {kind.split()[-1]} in 1 row (row 1)" in line
    assert "data.text_column" in line


def test_parquet_values_are_written_with_shortest_digits_iso_8601_and_lower_case(
    tmp_path: Path,
) -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    arrays = {
        "float": pa.array([0.7, 1e22, np.nan], pa.float64()),
        "narrow": pa.array(np.array([0.7, 0.1, 3], dtype=np.float32)),
        "half": pa.array(np.array([0.7, 0.1, 3], dtype=np.float16)),
        "whole": pa.array([2**62 + 1, None, -3]),
        "truth": pa.array([True, False, None]),
        "digits": pa.array([decimal.Decimal("12345678901234567890.120")] * 3),
        "moment": pa.array([moment, None, None]),
        "day": pa.array([moment.date(), None, None]),
        "code": pa.array(["a", "b", "a"]).dictionary_encode(),
        "bytes": pa.array([b"kow\xc3\xa9", None, b""]),
        "view": pa.array(["a", None, "é"], pa.string_view()),
        "nothing": pa.nulls(3),
    }
    path = write_parquet(tmp_path / "a.parquet", arrays)
    assert read(path, dict.fromkeys(arrays, "data.text_column")).cells == {
        "float": ["0.7", "1e+22", ""],
        "narrow": ["0.7", "0.1", "3.0"],
        "half": ["0.7", "0.1", "3.0"],
        "whole": ["4611686018427387905", "", "-3"],
        "truth": ["true", "false", ""],
        "digits": ["12345678901234567890.120"] * 3,
        "moment": ["2026-01-02T03:04:05+00:00", "", ""],
        "day": ["2026-01-02", "", ""],
        "code": ["a", "b", "a"],
        "bytes": ["kowé", "", ""],
        "view": ["a", "", "é"],
        "nothing": ["", "", ""],
    }


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([b"a", b"\xff\xfe"]), "bytes that are not UTF-8 in 1 row (row 1)"),
        (pa.array([["a"], ["b"]]), "a list<"),
        (pa.array([{"a": 1}, None]), "a struct<"),
        (pa.array([1, 2], pa.duration("s")), "a duration"),
    ],
)
def test_a_parquet_value_that_is_no_text_is_refused_by_the_name_of_its_column(
    tmp_path: Path, values: pa.Array, kind: str
) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": values, "label": ["1", "2"]})
    line = refusal(path)
    assert f"column 'text' holds {kind}" in line


def test_half_a_surrogate_pair_becomes_a_character_that_can_be_written(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"text": "a\\ud83d", "label": "\\ud83d\\ude00"}')
    assert read(path).cells == {"text": ["a\ufffd"], "label": ["😀"]}


def test_white_space_around_names_of_columns_does_not_count(tmp_path: Path) -> None:
    columns = read(written(tmp_path, "a.csv", "text , label\na,1\n"))
    assert columns.cells == {"text": ["a"], "label": ["1"]}
    assert columns.names == ["text ", " label"]
    lines = '{" text": "a", "label": 1}\n'
    assert read(written(tmp_path, "a.jsonl", lines)).cells["text"] == ["a"]


def test_a_json_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"text": "a", "label": 1, "text": "b"}\n')
    assert "line 1: the key 'text' is there twice" in refusal(path)
    many = '{"text": "a", "label": 1}\n' * 1100
    path = written(tmp_path, "b.jsonl", many + '{"text": "a", " text": "b"}\n')
    assert "column 'text' holds two values in 1 row (row 1100)" in refusal(path)
    path = written(tmp_path, "c.jsonl", '{"text": "a", " text": "b", "label": 1}\n')
    assert "2 columns are named 'text'" in refusal(path)


def test_a_missing_file_is_an_error_that_suggests_its_nearest_neighbour(tmp_path: Path) -> None:
    written(tmp_path, "tweets.csv", "text\na\n")
    line = refusal(tmp_path / "twets.csv")
    assert "no such file" in line
    assert "did you mean tweets.csv?" in line
    assert "nor is its folder" in refusal(tmp_path / "nowhere" / "tweets.csv")


def test_a_directory_and_a_name_that_no_file_can_have_are_errors(tmp_path: Path) -> None:
    assert "directory" in refusal(tmp_path)
    assert "cannot be read" in refusal(tmp_path / ("x" * 300))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz"])
@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str, content: bytes) -> None:
    assert "empty" in refusal(written(tmp_path, name, content))


def test_a_header_without_records_is_an_error(tmp_path: Path) -> None:
    assert "no records" in refusal(written(tmp_path, "a.csv", "text,label\n"))
    nothing = {"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}
    assert "no records" in refusal(write_parquet(tmp_path / "a.parquet", nothing))


def _workbook(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "w.zip", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return (folder / "w.zip").read_bytes()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (_workbook, "Excel or OpenDocument"),
        (b"PK\x03\x04\x14\0\0\0\x08\0aaaa", "a ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "old Excel"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (b"{\\rtf1\\ansi text}", "rich text"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"<?xml version='1.0'?>", "XML"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"\x80\x04\x95\x10\0", "pickle"),
        (b"\x89PNG\r\n\x1a\n\0", "a picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"a" * 257 + b"ustar", "tar archive"),
        (b"text\x00,label\nab,c\n", "byte 4 is NUL"),
        (b'[{"text": "a"}]', "one JSON list"),
        (b"text,label\ra,1\rb,2\r", "bare carriage return"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_the_name_of_its_format(
    tmp_path: Path, content: bytes | object, kind: str
) -> None:
    raw = content(tmp_path) if callable(content) else content
    name = "a.json" if kind == "one JSON list" else "a.csv"
    assert kind in refusal(written(tmp_path, name, raw))


def test_a_header_that_starts_like_another_format_is_a_header(tmp_path: Path) -> None:
    for name in ("ORC", "BZh", "PK", "FEA1", "%PDF", "ARROW1"):
        path = written(tmp_path, "a.csv", f"{name},text,label\n1,a,b\n")
        assert read(path).cells["text"] == ["a"]


def test_the_content_of_a_file_has_priority_over_its_name(tmp_path: Path) -> None:
    parquet = write_parquet(tmp_path / "a.csv", ROWS)
    assert read(parquet).format == "Parquet"
    assert read(written(tmp_path, "b", as_json_lines(ROWS))).format == "JSON Lines"
    assert read(written(tmp_path, "c.csv", gzip.compress(as_csv(ROWS).encode()))).cells == ROWS
    assert "not a Parquet file" in refusal(written(tmp_path, "d.parquet", "text,label\na,b\n"))


def test_a_parquet_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a Parquet file that can be read" in refusal(path)


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("cp1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16le"),
        ("utf-16-be", "utf-16be"),
        ("utf-32", "utf-32"),
    ],
)
@pytest.mark.parametrize("header", ["text,label", "téxt,label"])
def test_a_wrong_encoding_is_an_error_that_names_it_and_the_command_that_converts_it(
    tmp_path: Path, encoding: str, named: str, header: str
) -> None:
    path = written(tmp_path, "a.csv", f"{header}\nsé,b\n".encode(encoding))
    line = refusal(path)
    assert f"likely in {named}" in line
    assert f"iconv -f {named.upper()} -t UTF-8" in line


def test_binary_data_after_a_header_are_not_a_wrong_encoding(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"text,label\n\x00\x01\xff\xfe,1\n")
    assert "line 2 holds binary data" in refusal(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "a"', "not JSON"),
        ('{"text": "a",}', "not JSON"),
        ('{"text": "a"} {"text": "b"}', "text follows the object"),
        ('{"text" "a"}', "a colon is missing"),
        ("{text: 1}", "a key in double quotes"),
        ("[1]", "not a list"),
        ('"text"', "not a string"),
        ("[" * 100_000, "too deep"),
    ],
)
def test_a_line_that_is_no_json_object_is_an_error(tmp_path: Path, line: str, reason: str) -> None:
    path = written(tmp_path, "a.jsonl", f'{{"text": "a"}}\n{line}\n')
    problem = refusal(path, TEXT)
    assert "line 2: " in problem
    assert reason in problem


def test_a_number_of_five_thousand_digits_is_text_like_any_other(tmp_path: Path) -> None:
    digits = "1" + "0" * 5000
    assert read(written(tmp_path, "a.jsonl", f'{{"text": {digits}}}'), TEXT).cells["text"] == [
        digits
    ]


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"text\r\n")
    assert sha256_of(path) == hashlib.sha256(b"text\r\n").hexdigest()


def test_json_escapes_are_decoded(tmp_path: Path) -> None:
    text = 'a "b" \\ \u2028 \x85 \t \U0001f621'
    path = written(tmp_path, "a.jsonl", json.dumps({"text": text}) + "\n")
    assert read(path, TEXT).cells["text"] == [text]
