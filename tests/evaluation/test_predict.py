"""`python -m evaluation.predict` on a real model: every row comes out, whatever it holds."""

import json
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from tests.evaluation.answered import LABELS, NEW, as_csv, is_answered, is_refused
from tests.evaluation.conftest import read_csv

ODD_TEXTS = {
    "emoji alone": "\U0001f621\U0001f621",
    "right to left": "\u202ekowe bodho\u202c \u0627\u0644",
    "very long": "kowe " * 20_000,
    "one long word": "x" * 100_000,
    "NUL": "kowe\x00bodho",
    "markup": "<script>alert(1)</script>",
    "a formula": "=1+1",
    "line breaks": "kowe\r\nbodho\n",
    "quotes": "\"kowe\", 'bodho'",
}


@pytest.fixture
def answer(run_predict, finished_final, tmp_path):
    """Answers of the command for a file of some bytes or text, as rows; `name` gives formats."""

    def run(content, source="rows.csv", target="answers.csv", *options):
        if isinstance(content, str):
            content = content.encode("utf-8")
        (tmp_path / source).write_bytes(content)
        arguments = ["--model", finished_final.model, "--input", tmp_path / source]
        code = run_predict([*arguments, "--output", tmp_path / target, *options])
        assert code == 0
        if target.endswith(".csv"):
            return read_csv(tmp_path / target)
        if target.endswith(".parquet"):
            return pq.read_table(tmp_path / target).to_pylist()
        return [
            json.loads(line) for line in (tmp_path / target).read_text("utf-8").split("\n")[:-1]
        ]

    return run


def test_a_table_comes_out_in_order_with_its_own_columns_first(answer, data_file, capsys):
    table = pd.read_csv(data_file, dtype=str, keep_default_na=False)
    rows = answer(data_file.read_bytes())
    assert list(rows[0]) == [
        *(f"input_{name}" if name == "error" else name for name in table.columns),
        *NEW,
    ]
    assert [row["text"] for row in rows] == table["text"].tolist()
    assert [row["input_error"] for row in rows] == table["error"].tolist()
    for row in rows:
        if row["text"].strip():
            is_answered(row)
        else:
            is_refused(row, "no text")
    num_errors = sum(bool(row["error"]) for row in rows)
    last = rf"{len(table):,} rows, {num_errors} with an error, [\d,]+ rows/s\nNext: read .*\n"
    assert re.fullmatch(last, capsys.readouterr().err)


def test_the_answers_are_those_of_the_final_evaluation(answer, data_file, finished_final):
    rows = answer(data_file.read_bytes())
    predictions = pd.read_csv(finished_final.reports / "predictions.csv")
    told = predictions.sort_values("row")
    assert [rows[row]["label"] for row in told["row"]] == told["prediction"].tolist()


@pytest.mark.parametrize("source", ["rows.csv", "rows.jsonl"])
@pytest.mark.parametrize("target", ["answers.csv", "answers.jsonl"])
def test_odd_texts_are_classified_and_come_out_unchanged(answer, source, target):
    rows = [{"id": name, "text": text} for name, text in ODD_TEXTS.items()]
    content = (
        as_csv(rows) if source.endswith(".csv") else "".join(json.dumps(row) + "\n" for row in rows)
    )
    answers = answer(content, source, target)
    assert [{"id": row["id"], "text": row["text"]} for row in answers] == rows
    for row in answers:
        is_answered(row)


@pytest.mark.parametrize("value", [None, "", "  \n", "\u00a0"])
def test_a_row_without_text_is_answered_in_place(answer, value):
    lines = [{"text": "kowe"}, {"text": value}, {}, {"text": "aku"}]
    first, blank, missing, last = answer(
        "".join(json.dumps(line) + "\n" for line in lines), "a.jsonl", "b.jsonl"
    )
    is_answered(first)
    is_refused(blank, "no text")
    is_refused(missing, "no text")
    is_answered(last)


def test_json_values_that_are_no_text_are_answered_in_place_and_numbers_as_they_were_written(
    answer,
):
    lines = ['["a"]', '{"a": 1}', "NaN", "true", "12", "1e5"]
    *others, truth, number, power = answer(
        "".join(f'{{"text": {line}}}\n' for line in lines), "a.jsonl", "b.jsonl"
    )
    for row, told in zip(
        others, ("must be text, not a JSON list", "not a JSON object", "no text"), strict=True
    ):
        is_refused(row, told)
    texts = answer('{"text": "true"}\n{"text": "12"}\n{"text": "1e5"}\n', "a.jsonl", "b.jsonl")
    for row, text in zip((truth, number, power), texts, strict=True):
        is_answered(row)
        assert [row[name] for name in NEW] == [text[name] for name in NEW]


def test_values_of_json_lines_pass_through_to_the_last_digit(answer, tmp_path):
    own = '"text": "kowe \\u00e9", "id": 1477429012345678901.0, "n": [1e5, 0.10, {"a": 1E400}]'
    answer(f'{{ {own} }}\n{{"text": "b", "label": 0.10}}\n', "a.jsonl", "b.jsonl")
    first, second = (tmp_path / "b.jsonl").read_text("utf-8").splitlines()
    assert first.startswith(f'{{{own}, "input_label"') or first.startswith(f'{{{own}, "label"')
    assert second.startswith('{"text": "b", "input_label": 0.10, "label": ')


def test_broken_rows_of_a_table_are_answered_in_place(answer):
    rows = answer('id,text\n1,kowe\n2\n3,a,b\n4,aku\n5,"a"b\n6,x\n7,"open\n8,c\n')
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5", "6", "7", "8"]
    is_answered(rows[0])
    is_refused(rows[1], "1 cell, but the header has 2")
    is_refused(rows[2], '3 cells, but the header has 2; extra cells: ["b"]')
    is_answered(rows[3])
    is_refused(rows[4], "text follows a closing quote")
    is_answered(rows[5])
    is_refused(rows[6], "a quote is never closed")
    assert rows[6]["text"] == '"open'
    is_answered(rows[7])


def test_a_quoted_cell_that_has_swallowed_rows_costs_one_row_unless_it_is_allowed(answer):
    content = 'id,text\n1,"a\n2,b\n3,c"\n4,d\n'
    swallowed, *others = answer(content)
    is_refused(swallowed, "from line 2 to line 4")
    assert [row["id"] for row in others] == ["2", "3", "4"]
    rows = answer(content, "a.csv", "b.csv", "--multiline")
    assert [row["id"] for row in rows] == ["1", "4"]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_separator_of_the_input_is_found_told_and_kept(answer, tmp_path, capsys, separator):
    answer(f"id{separator}text\n1{separator}kowe, bodho\n", "a.csv", "b.csv")
    assert f"CSV separated by {separator!r}" in capsys.readouterr().err
    kept = "," if separator == "\t" else separator
    (row,) = pd.read_csv(tmp_path / "b.csv", sep=kept).to_dict("records")
    assert (row["id"], row["text"]) == (1, "kowe, bodho")


def test_a_name_that_ends_in_tsv_asks_for_tabs(run_predict, finished_final, tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n1,kowe\n", encoding="utf-8")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.csv"]
    assert run_predict([*arguments, "--output", tmp_path / "b.tsv"]) == 0
    assert (tmp_path / "b.tsv").read_text("utf-8").startswith("id\ttext\tlabel\t")


def test_typed_columns_of_parquet_pass_through_as_they_are(answer, tmp_path):
    table = pa.table(
        {
            "text": ["kowe", None],
            "spans": [[{"start": 1}], []],
            "when": pa.array([1, 2], pa.timestamp("ns", tz="Asia/Jakarta")),
            "label": pa.array(["a", "b"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "own.parquet")
    first, second = answer(
        (tmp_path / "own.parquet").read_bytes(), "a.parquet", "b.parquet", "--text-column", "text"
    )
    written = pq.read_table(tmp_path / "b.parquet")
    for name, new in (("text", "text"), ("spans", "spans"), ("when", "when")):
        assert written.column(new).equals(table.column(name))
    assert written.column("input_label").combine_chunks().dictionary_decode().to_pylist() == [
        "a",
        "b",
    ]
    assert first["label"] in LABELS
    assert (second["label"], second[NEW[1]], second["error"]) == (None, None, "no text")


@pytest.mark.parametrize("target", ["b.csv.gz", "b.jsonl.zst", "b.csv.bz2"])
def test_the_output_is_packed_where_its_name_says_so(run_predict, finished_final, tmp_path, target):
    (tmp_path / "a.csv").write_text("text\nkowe\n", encoding="utf-8")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.csv"]
    assert run_predict([*arguments, "--output", tmp_path / target]) == 0
    kind = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}[target.rpartition(".")[2]]
    with pa.input_stream(str(tmp_path / target), compression=kind) as stream:
        text = stream.read().decode()
    if ".csv" in target:
        assert text.startswith("text,label,")
    else:
        is_answered(json.loads(text))
    assert not (tmp_path / f"{target}.part").exists()


@pytest.mark.parametrize("source", ["a.csv", "a.jsonl"])
def test_rows_of_any_format_come_out_as_parquet(answer, source):
    content = "id,text\n0.10,kowe\n" if source == "a.csv" else '{"id": 0.10, "text": "kowe"}\n'
    (row,) = answer(content, source, "b.parquet")
    assert (row["id"], row["text"], row["error"]) == ("0.10", "kowe", "")
    assert sum(row[name] for name in NEW[1:-1]) == pytest.approx(1)


def test_a_column_of_parquet_that_holds_lists_is_refused_before_anything_is_written(
    run_predict, one_error, finished_final, tmp_path
):
    pq.write_table(pa.table({"text": [["a"], ["b"]]}), tmp_path / "a.parquet")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.parquet"]
    assert run_predict([*arguments, "--output", tmp_path / "b.csv"]) == 2
    assert "column 'text' holds a list<" in one_error()
    assert not list(tmp_path.glob("b.csv*"))


def test_a_workbook_is_named_for_what_it_is(run_predict, one_error, finished_final, tmp_path):
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04" + b"\0" * 60)
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.xlsx"]
    assert run_predict([*arguments, "--output", tmp_path / "b.csv"]) == 2
    assert "Excel" in one_error()


def test_a_column_that_stands_twice_passes_through_a_csv_and_is_refused_for_other_formats(
    answer, run_predict, one_error, finished_final, tmp_path, capsys
):
    answer("text,n,n\nkowe,1,2\n", "a.csv", "b.csv")
    capsys.readouterr()
    header, row = (tmp_path / "b.csv").read_text("utf-8").splitlines()
    assert header.startswith("text,n,n,label,")
    assert row.startswith("kowe,1,2,")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.csv"]
    assert run_predict([*arguments, "--output", tmp_path / "b.jsonl"]) == 2
    assert "'n' stands twice" in one_error()


@pytest.mark.parametrize("target", ["answers.csv", "answers.jsonl"])
def test_broken_lines_of_json_are_answered_in_place_also_as_the_first(answer, target):
    content = '{"text": \n[1]\n{"text": "kowe", "id": 7}\n"x"\n'
    rows = answer(content, "rows.jsonl", target)
    assert [row.get("line", "") for row in rows] == ['{"text": ', "[1]", "", '"x"']
    is_refused(rows[0], "not JSON")
    is_refused(rows[1], "must be a JSON object, not a list")
    assert (rows[2]["text"], str(rows[2]["id"])) == ("kowe", "7")
    is_answered(rows[2])
    is_refused(rows[3], "not a string")


def test_no_value_is_lost_where_rows_have_more_columns_than_the_first_ones(answer):
    content = '{"text": "kowe"}\n' * 1024 + '{"text": "aku", "note": ["a"]}\n{"text": torn\n'
    *_, grown, torn = answer(content, "rows.jsonl", "answers.csv")
    assert grown["error"] == 'no column for {"note": ["a"]}'
    assert grown["label"] in LABELS
    is_refused(torn, "not JSON")
    assert torn["error"].endswith('; no column for {"line": "{\\"text\\": torn"}')


@pytest.mark.parametrize("target", ["answers.csv", "answers.jsonl"])
def test_values_that_are_nested_too_deep_are_an_error_of_their_row(answer, target):
    line = '{"text": "kowe", "deep": ' + "[" * 5000 + "]" * 5000 + "}"
    deep, good = answer(line + '\n{"text": "kowe"}\n', "rows.jsonl", target)
    assert deep["line"] == line
    is_refused(deep, "nested too deep")
    is_answered(good)


def test_half_a_surrogate_pair_comes_out_of_json_as_it_came(answer):
    (row,) = answer('{"text": "kowe \\ud83d bodho", "\\udc00": 1}\n', "a.jsonl", "b.jsonl")
    is_answered(row)
    assert row["text"] == "kowe \ud83d bodho"
    assert row["\udc00"] == 1
    (row,) = answer('{"text": "kowe \\ud83d bodho"}\n', "a.jsonl", "b.csv")
    assert row["text"] == "kowe \\ud83d bodho"


def test_bytes_that_are_no_utf8_are_told_in_place_and_lose_no_row(answer):
    rows = answer(b"text\nkow\xe9\naku\n")
    assert [row["text"] for row in rows] == ["kow\\udce9", "aku"]
    assert rows[0]["label"] == ""
    assert rows[0]["error"].startswith("not UTF-8 (byte 0xNN comes out as \\udcNN)")
    is_answered(rows[1])


def test_a_byte_order_mark_is_no_part_of_the_first_column(answer):
    (row,) = answer(b"\xef\xbb\xbftext\nkowe\n")
    is_answered(row)


def test_own_columns_named_like_ours_are_renamed_and_none_is_lost(answer):
    row = {"text": "kowe", "label": "a", "input_label": "b", f"p_{LABELS[0]}": "c", "error": "d"}
    (told,) = answer(as_csv([row | {" label": "e"}]))
    assert told["input_ label"] == "e"
    is_answered(told)
    assert told["input_input_label"] == "a"
    assert told["input_label"] == "b"
    assert told[f"input_p_{LABELS[0]}"] == "c"
    assert told["input_error"] == "d"


def test_answers_classified_again_keep_the_first_answers(answer, tmp_path):
    first = answer("text\nkowe\n")
    (second,) = answer((tmp_path / "answers.csv").read_bytes(), "b.csv", "c.csv")
    assert second["input_label"] == second["label"] == first[0]["label"]


def test_another_text_column_can_be_named(answer):
    (row,) = answer("tweet\nkowe\n", "a.csv", "b.csv", "--text-column", "tweet")
    is_answered(row)


@pytest.mark.parametrize("target", ["answers.csv", "answers.jsonl"])
def test_a_table_without_rows_is_no_error_and_comes_out_with_its_header(answer, tmp_path, target):
    assert answer("id,text,label\n", "rows.csv", target) == []
    header = ",".join(["id", "text", "input_label", *NEW]) + "\n"
    expected = header if target.endswith(".csv") else ""
    assert (tmp_path / target).read_text("utf-8") == expected


def test_a_json_file_without_rows_comes_out_with_the_header_that_is_known(answer, tmp_path):
    assert answer("", "rows.jsonl", "answers.csv") == []
    assert (tmp_path / "answers.csv").read_text("utf-8") == ",".join(NEW) + "\n"


def test_a_missing_text_column_is_told_without_any_row_too(
    run_predict, one_error, finished_final, tmp_path
):
    (tmp_path / "a.csv").write_text("id,tekst\n", encoding="utf-8")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.csv"]
    assert run_predict([*arguments, "--output", tmp_path / "b.csv"]) == 2
    assert "did you mean tekst?" in one_error()


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_text_that_alone_breaks_the_model_has_its_error_and_the_others_their_answers(
    run_predict, model_directory, tmp_path, capsys, backend
):
    path = model_directory / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    # A piece for which the model has no embedding, as a tokenizer of another model would give.
    breaks = {**tokenizer["added_tokens"][0], "id": 10**6, "content": "[BREAKS]"}
    tokenizer["added_tokens"].append(breaks)
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    texts = ["kowe", "a [BREAKS]", *["aku seneng"] * 40, "[BREAKS]"]
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_text(as_csv([{"text": text} for text in texts]), encoding="utf-8")
    arguments = ["--model", model_directory, "--input", source, "--output", target]
    assert run_predict([*arguments, "--backend", backend]) == 0
    rows = read_csv(target)
    assert [row["text"] for row in rows] == texts
    for row in rows:
        if "[BREAKS]" in row["text"]:
            is_refused(row, "the model cannot classify this text")
        else:
            is_answered(row)
    assert "43 rows, 2 with an error" in capsys.readouterr().err


def test_numbers_that_are_none_are_no_answer(run_predict, model_directory, tmp_path):
    path = model_directory / "model.safetensors"
    weights = load_file(path)
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_text("text\nkowe\n", encoding="utf-8")
    arguments = ["--model", model_directory, "--input", source, "--output", target]
    assert run_predict(arguments) == 0
    (row,) = read_csv(target)
    is_refused(row, "no finite number")


def test_both_backends_give_the_same_answers(answer, data_file):
    by_torch = answer(data_file.read_bytes(), "a.csv", "b.csv", "--backend", "torch")
    by_onnx = answer(data_file.read_bytes(), "a.csv", "c.csv", "--backend", "onnx")
    assert [row["error"] for row in by_onnx] == [row["error"] for row in by_torch]
    for left, right in zip(by_torch, by_onnx, strict=True):
        for name in NEW[1:-1]:
            if left[name]:
                assert float(left[name]) == pytest.approx(float(right[name]), abs=1e-5)


def test_another_backend_is_refused(run_predict, capsys):
    arguments = ["--model", "a", "--input", "-", "--output", "-", "--backend", "tensorflow"]
    assert run_predict(arguments) == 2
    assert "is 'tensorflow', but must be one of torch, onnx" in capsys.readouterr().err


def test_json_lines_are_known_in_a_file_whose_name_says_nothing(answer):
    (row,) = answer(" " * 200_000 + '\n{"text": "kowe"}\n', "rows", "b.jsonl")
    is_answered(row)
