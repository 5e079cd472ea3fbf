import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.errors import InputError
from training.table import read_table, sha256_of


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_table(path)
    (line,) = caught.value.problems
    assert "\n" not in line
    assert str(path) in line
    return line


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_csv_is_read_with_and_without_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    table = read_table(written(tmp_path, "a.csv", mark + "text,label\nsugeng énjing,1\n".encode()))
    assert list(table.columns) == ["text", "label"]
    assert table["text"].tolist() == ["sugeng énjing"]


def test_words_that_pandas_takes_for_missing_stay_text_and_only_empty_cells_are_missing(
    tmp_path: Path,
) -> None:
    table = read_table(written(tmp_path, "a.csv", "text,n\nNA,1\nnull,\n,0.70\n"))
    assert table["text"].tolist()[:2] == ["NA", "null"]
    assert table["text"].isna().tolist() == [False, False, True]
    assert table["n"].tolist()[2] == "0.70"


def test_records_are_numbered_as_pandas_numbers_them(tmp_path: Path) -> None:
    content = 'text,label\n\n"two\n\nlines, and ""quotes""",a\n\nb,c\r\n"d\r\ne",f\n\n'
    path = written(tmp_path, "a.csv", content)
    pd.testing.assert_frame_equal(read_table(path), pd.read_csv(path, dtype=str))
    assert read_table(path)["label"].tolist() == ["a", "c", "f"]


def test_a_cell_of_a_million_characters_is_read_whole(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a.csv", f"text,label\n{'x ' * 500_000},a\n"))
    assert len(table["text"][0]) == 1_000_000


def test_json_lines_and_parquet_hold_the_same_cells_as_the_csv(tmp_path: Path) -> None:
    records = [
        {"text": "sepisan", "label": 1, "confidence": 0.7, "error": None},
        {"text": "kaping pindho", "label": None, "confidence": 0.25, "error": ""},
    ]
    lines = "\n\n".join(json.dumps(record) for record in records)
    pd.DataFrame(records).astype({"confidence": "float32", "label": "Int64"}).to_parquet(
        tmp_path / "a.parquet"
    )
    expected = read_table(written(tmp_path, "a.csv", pd.DataFrame(records).to_csv(index=False)))
    expected["label"] = expected["label"].str.removesuffix(".0")
    for path in (written(tmp_path, "a.jsonl", lines), tmp_path / "a.parquet"):
        table = read_table(path)
        assert table.isna().equals(expected.isna()), path
        assert table.astype(object).fillna("").equals(expected.astype(object).fillna(""))


def test_a_float32_of_exactly_the_bound_keeps_its_shortest_digits(tmp_path: Path) -> None:
    pd.DataFrame({"c": np.array([0.7], dtype=np.float32)}).to_parquet(tmp_path / "a.pq")
    assert read_table(tmp_path / "a.pq")["c"].tolist() == ["0.7"]


def test_half_a_surrogate_pair_in_json_becomes_a_character_that_can_be_written(
    tmp_path: Path,
) -> None:
    table = read_table(
        written(tmp_path, "a.jsonl", '{"text": "a\\ud83d", "label": "\\ud83d\\ude00"}')
    )
    assert table["text"].tolist() == ["a\ufffd"]
    assert table["label"].tolist() == ["😀"]


def test_a_missing_file_is_an_error_that_suggests_its_nearest_neighbour(tmp_path: Path) -> None:
    written(tmp_path, "tweets.csv", "text\na\n")
    line = refusal(tmp_path / "twets.csv")
    assert "no such file" in line
    assert "did you mean 'tweets.csv'" in line
    assert "nor is its folder" in refusal(tmp_path / "nowhere" / "tweets.csv")


def test_a_directory_is_an_error(tmp_path: Path) -> None:
    assert "directory" in refusal(tmp_path)


def test_a_name_that_no_file_can_have_is_an_error(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / ("x" * 300))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str, content: bytes) -> None:
    assert "empty" in refusal(written(tmp_path, name, content))


def test_a_header_without_records_is_an_error(tmp_path: Path) -> None:
    assert "no records" in refusal(written(tmp_path, "a.csv", "text,label\n"))


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not a table"),
        (b"PK\x03\x04\xff\xfe\x01\x02", "not a table"),
        (b"text\x00,label\nab,c\n", "byte 4 is NUL"),
        (b"text,label\na,b\nc,d,e\n", "Expected 2 fields in line 3, saw 3"),
        (b"text,label\na,b,c\nd,e,f\n", "more cells than the header"),
        (b'text,label\n"a,b\nc,d\n', "EOF inside string"),
    ],
)
def test_what_is_not_a_table_is_an_error(tmp_path: Path, content: bytes, shown: str) -> None:
    assert shown in refusal(written(tmp_path, "a.csv", content))


def test_a_nul_byte_in_a_text_is_a_character_like_any_other(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a.csv", b'text,label\n"a\x00b",c\n\x00,d\ne,f\n'))
    assert table["text"].tolist() == ["a\0b", "\0", "e"]
    assert table["label"].tolist() == ["c", "d", "f"]


@pytest.mark.parametrize(
    ("encoding", "named", "position"),
    [
        ("cp1252", "cp1252", 12),
        ("utf-16", "utf-16", 0),
        ("utf-16-le", "utf-16le", 1),
        ("utf-16-be", "utf-16be", 0),
        ("utf-32", "utf-32", 0),
    ],
)
def test_a_wrong_encoding_is_an_error_that_names_it_and_the_command_that_mends_it(
    tmp_path: Path, encoding: str, named: str, position: int
) -> None:
    path = written(tmp_path, "a.csv", "text,label\nsé,b\n".encode(encoding))
    line = refusal(path)
    assert f"likely in {named}" in line
    assert f"byte {position} " in line
    assert f"iconv -f {named.upper()} -t UTF-8" in line


@pytest.mark.parametrize(
    ("line", "shown"),
    [('{"text": "a"', "line 2 is not JSON"), ("[1]", "line 2 holds a list")],
)
def test_a_line_that_is_no_json_object_is_an_error(tmp_path: Path, line: str, shown: str) -> None:
    assert shown in refusal(written(tmp_path, "a.jsonl", f'{{"text": "a"}}\n{line}\n'))


def test_a_parquet_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    assert "not a Parquet file" in refusal(written(tmp_path, "a.parquet", "text,label\na,b\n"))


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b"text\r\n")
    assert sha256_of(path) == hashlib.sha256(b"text\r\n").hexdigest()
