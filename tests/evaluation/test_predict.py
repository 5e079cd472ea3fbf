"""`python -m evaluation.predict` on a real model: every row of any input is written."""

import json
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from tests.evaluation.conftest import read_csv
from tests.evaluation.predicted import LABELS, NEW, as_csv, assert_has_error, assert_has_label

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
def predict(run_predict, finished_final, tmp_path):
    """Run the command on a file of bytes or text; return the rows that it wrote."""

    def run(content, source="rows.csv", target="predicted.csv", *options):
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


def test_a_table_keeps_its_order_and_its_columns_come_first(predict, data_file, capsys):
    table = pd.read_csv(data_file, dtype=str, keep_default_na=False)
    rows = predict(data_file.read_bytes())
    assert list(rows[0]) == [
        *(f"input_{name}" if name == "error" else name for name in table.columns),
        *NEW,
    ]
    assert [row["text"] for row in rows] == table["text"].tolist()
    assert [row["input_error"] for row in rows] == table["error"].tolist()
    for row in rows:
        if row["text"].strip():
            assert_has_label(row)
        else:
            assert_has_error(row, "no text")
    num_errors = sum(bool(row["error"]) for row in rows)
    last = rf"{len(table):,} rows, {num_errors} with an error, [\d,]+ rows/s\nNext: read .*\n"
    assert re.fullmatch(last, capsys.readouterr().err)


def test_the_labels_are_those_of_the_final_evaluation(predict, data_file, finished_final):
    rows = predict(data_file.read_bytes())
    predictions = pd.read_csv(finished_final.reports / "predictions.csv")
    in_order = predictions.sort_values("row")
    found = [rows[row]["label"] for row in in_order["row"]]
    assert found == in_order["prediction"].tolist()


@pytest.mark.parametrize("source", ["rows.csv", "rows.jsonl"])
@pytest.mark.parametrize("target", ["predicted.csv", "predicted.jsonl"])
def test_odd_texts_are_classified_and_written_unchanged(predict, source, target):
    rows = [{"id": name, "text": text} for name, text in ODD_TEXTS.items()]
    content = (
        as_csv(rows) if source.endswith(".csv") else "".join(json.dumps(row) + "\n" for row in rows)
    )
    written = predict(content, source, target)
    assert [{"id": row["id"], "text": row["text"]} for row in written] == rows
    for row in written:
        assert_has_label(row)


@pytest.mark.parametrize("value", [None, "", "  \n", "\u00a0"])
def test_a_row_without_text_has_an_error_at_its_position(predict, value):
    lines = [{"text": "kowe"}, {"text": value}, {}, {"text": "aku"}]
    first, blank, missing, last = predict(
        "".join(json.dumps(line) + "\n" for line in lines), "a.jsonl", "b.jsonl"
    )
    assert_has_label(first)
    assert_has_error(blank, "no text")
    assert_has_error(missing, "no text")
    assert_has_label(last)


def test_json_values_that_are_no_text_have_an_error_and_numbers_are_text(
    predict,
):
    lines = ['["a"]', '{"a": 1}', "NaN", "true", "12", "1e5"]
    *others, truth, number, power = predict(
        "".join(f'{{"text": {line}}}\n' for line in lines), "a.jsonl", "b.jsonl"
    )
    for row, words in zip(
        others, ("must be text, not a JSON list", "not a JSON object", "no text"), strict=True
    ):
        assert_has_error(row, words)
    texts = predict('{"text": "true"}\n{"text": "12"}\n{"text": "1e5"}\n', "a.jsonl", "b.jsonl")
    for row, text in zip((truth, number, power), texts, strict=True):
        assert_has_label(row)
        assert [row[name] for name in NEW] == [text[name] for name in NEW]


def test_values_of_json_lines_keep_their_last_digit(predict, tmp_path):
    own = '"text": "kowe \\u00e9", "id": 1477429012345678901.0, "n": [1e5, 0.10, {"a": 1E400}]'
    predict(f'{{ {own} }}\n{{"text": "b", "label": 0.10}}\n', "a.jsonl", "b.jsonl")
    first, second = (tmp_path / "b.jsonl").read_text("utf-8").splitlines()
    assert first.startswith(f'{{{own}, "input_label"') or first.startswith(f'{{{own}, "label"')
    assert second.startswith('{"text": "b", "input_label": 0.10, "label": ')


def test_broken_rows_of_a_table_have_an_error_at_their_position(predict):
    rows = predict('id,text\n1,kowe\n2\n3,a,b\n4,aku\n5,"a"b\n6,x\n7,"open\n8,c\n')
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert_has_label(rows[0])
    assert_has_error(rows[1], "1 cell, but the header has 2")
    assert_has_error(rows[2], '3 cells, but the header has 2; extra cells: ["b"]')
    assert_has_label(rows[3])
    assert_has_error(rows[4], "text follows a closing quote")
    assert_has_label(rows[5])
    assert_has_error(rows[6], "a quote is never closed")
    assert rows[6]["text"] == '"open'
    assert_has_label(rows[7])


def test_a_quoted_cell_over_several_rows_is_one_error_unless_it_is_allowed(predict):
    content = 'id,text\n1,"a\n2,b\n3,c"\n4,d\n'
    swallowed, *others = predict(content)
    assert_has_error(swallowed, "from line 2 to line 4")
    assert [row["id"] for row in others] == ["2", "3", "4"]
    rows = predict(content, "a.csv", "b.csv", "--multiline")
    assert [row["id"] for row in rows] == ["1", "4"]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_separator_of_the_input_is_detected_reported_and_kept(
    predict, tmp_path, capsys, separator
):
    predict(f"id{separator}text\n1{separator}kowe, bodho\n", "a.csv", "b.csv")
    assert f"CSV separated by {separator!r}" in capsys.readouterr().err
    kept = "," if separator == "\t" else separator
    (row,) = pd.read_csv(tmp_path / "b.csv", sep=kept).to_dict("records")
    assert (row["id"], row["text"]) == (1, "kowe, bodho")


def test_a_name_that_ends_in_tsv_gives_tabs(run_predict, finished_final, tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n1,kowe\n", encoding="utf-8")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.csv"]
    assert run_predict([*arguments, "--output", tmp_path / "b.tsv"]) == 0
    assert (tmp_path / "b.tsv").read_text("utf-8").startswith("id\ttext\tlabel\t")


def test_typed_columns_of_parquet_are_unchanged(predict, tmp_path):
    table = pa.table(
        {
            "text": ["kowe", None],
            "spans": [[{"start": 1}], []],
            "when": pa.array([1, 2], pa.timestamp("ns", tz="Asia/Jakarta")),
            "label": pa.array(["a", "b"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "own.parquet")
    first, second = predict(
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
def test_the_output_is_compressed_according_to_its_name(
    run_predict, finished_final, tmp_path, target
):
    (tmp_path / "a.csv").write_text("text\nkowe\n", encoding="utf-8")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.csv"]
    assert run_predict([*arguments, "--output", tmp_path / target]) == 0
    kind = {"gz": "gzip", "zst": "zstd", "bz2": "bz2"}[target.rpartition(".")[2]]
    with pa.input_stream(str(tmp_path / target), compression=kind) as stream:
        text = stream.read().decode()
    if ".csv" in target:
        assert text.startswith("text,label,")
    else:
        assert_has_label(json.loads(text))
    assert not (tmp_path / f"{target}.part").exists()


@pytest.mark.parametrize("source", ["a.csv", "a.jsonl"])
def test_rows_of_any_format_can_be_written_as_parquet(predict, source):
    content = "id,text\n0.10,kowe\n" if source == "a.csv" else '{"id": 0.10, "text": "kowe"}\n'
    (row,) = predict(content, source, "b.parquet")
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


def test_the_error_for_a_workbook_names_its_format(
    run_predict, one_error, finished_final, tmp_path
):
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04" + b"\0" * 60)
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.xlsx"]
    assert run_predict([*arguments, "--output", tmp_path / "b.csv"]) == 2
    assert "Excel" in one_error()


def test_a_column_name_may_repeat_in_a_csv_and_is_refused_for_other_formats(
    predict, run_predict, one_error, finished_final, tmp_path, capsys
):
    predict("text,n,n\nkowe,1,2\n", "a.csv", "b.csv")
    capsys.readouterr()
    header, row = (tmp_path / "b.csv").read_text("utf-8").splitlines()
    assert header.startswith("text,n,n,label,")
    assert row.startswith("kowe,1,2,")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.csv"]
    assert run_predict([*arguments, "--output", tmp_path / "b.jsonl"]) == 2
    assert "two columns have the name 'n'" in one_error()


@pytest.mark.parametrize("target", ["predicted.csv", "predicted.jsonl"])
def test_broken_lines_of_json_have_an_error_also_as_the_first_line(predict, target):
    content = '{"text": \n[1]\n{"text": "kowe", "id": 7}\n"x"\n'
    rows = predict(content, "rows.jsonl", target)
    assert [row.get("line", "") for row in rows] == ['{"text": ', "[1]", "", '"x"']
    assert_has_error(rows[0], "not JSON")
    assert_has_error(rows[1], "must be a JSON object, not a list")
    assert (rows[2]["text"], str(rows[2]["id"])) == ("kowe", "7")
    assert_has_label(rows[2])
    assert_has_error(rows[3], "not a string")


def test_no_value_is_lost_if_later_rows_have_more_columns(predict):
    content = '{"text": "kowe"}\n' * 1024 + '{"text": "aku", "note": ["a"]}\n{"text": torn\n'
    *_, grown, torn = predict(content, "rows.jsonl", "predicted.csv")
    assert grown["error"] == 'no column for {"note": ["a"]}'
    assert grown["label"] in LABELS
    assert_has_error(torn, "not JSON")
    assert torn["error"].endswith('; no column for {"line": "{\\"text\\": torn"}')


@pytest.mark.parametrize("target", ["predicted.csv", "predicted.jsonl"])
def test_values_that_are_nested_too_deep_are_an_error_of_their_row(predict, target):
    line = '{"text": "kowe", "deep": ' + "[" * 5000 + "]" * 5000 + "}"
    deep, good = predict(line + '\n{"text": "kowe"}\n', "rows.jsonl", target)
    assert deep["line"] == line
    assert_has_error(deep, "nested too deep")
    assert_has_label(good)


def test_half_of_a_surrogate_pair_in_json_is_unchanged(predict):
    (row,) = predict('{"text": "kowe \\ud83d bodho", "\\udc00": 1}\n', "a.jsonl", "b.jsonl")
    assert_has_label(row)
    assert row["text"] == "kowe \ud83d bodho"
    assert row["\udc00"] == 1
    (row,) = predict('{"text": "kowe \\ud83d bodho"}\n', "a.jsonl", "b.csv")
    assert row["text"] == "kowe \\ud83d bodho"


def test_bytes_that_are_not_utf8_are_an_error_of_their_row(predict):
    rows = predict(b"text\nkow\xe9\naku\n")
    assert [row["text"] for row in rows] == ["kow\\udce9", "aku"]
    assert rows[0]["label"] == ""
    assert rows[0]["error"].startswith("not UTF-8 (byte 0xNN comes out as \\udcNN)")
    assert_has_label(rows[1])


def test_a_byte_order_mark_is_no_part_of_the_first_column(predict):
    (row,) = predict(b"\xef\xbb\xbftext\nkowe\n")
    assert_has_label(row)


def test_columns_of_the_input_with_the_name_of_a_new_column_are_renamed(predict):
    row = {"text": "kowe", "label": "a", "input_label": "b", f"p_{LABELS[0]}": "c", "error": "d"}
    (written,) = predict(as_csv([row | {" label": "e"}]))
    assert written["input_ label"] == "e"
    assert_has_label(written)
    assert written["input_input_label"] == "a"
    assert written["input_label"] == "b"
    assert written[f"input_p_{LABELS[0]}"] == "c"
    assert written["input_error"] == "d"


def test_an_output_that_is_classified_again_keeps_its_first_labels(predict, tmp_path):
    first = predict("text\nkowe\n")
    (second,) = predict((tmp_path / "predicted.csv").read_bytes(), "b.csv", "c.csv")
    assert second["input_label"] == second["label"] == first[0]["label"]


def test_another_text_column_can_be_named(predict):
    (row,) = predict("tweet\nkowe\n", "a.csv", "b.csv", "--text-column", "tweet")
    assert_has_label(row)


@pytest.mark.parametrize("target", ["predicted.csv", "predicted.jsonl"])
def test_a_table_without_rows_is_written_with_its_header(predict, tmp_path, target):
    assert predict("id,text,label\n", "rows.csv", target) == []
    header = ",".join(["id", "text", "input_label", *NEW]) + "\n"
    expected = header if target.endswith(".csv") else ""
    assert (tmp_path / target).read_text("utf-8") == expected


def test_a_json_file_without_rows_is_written_with_the_new_columns(predict, tmp_path):
    assert predict("", "rows.jsonl", "predicted.csv") == []
    assert (tmp_path / "predicted.csv").read_text("utf-8") == ",".join(NEW) + "\n"


def test_a_missing_text_column_is_an_error_without_any_row_too(
    run_predict, one_error, finished_final, tmp_path
):
    (tmp_path / "a.csv").write_text("id,tekst\n", encoding="utf-8")
    arguments = ["--model", finished_final.model, "--input", tmp_path / "a.csv"]
    assert run_predict([*arguments, "--output", tmp_path / "b.csv"]) == 2
    assert "did you mean tekst?" in one_error()


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_text_on_which_the_model_fails_has_an_error_and_the_others_have_labels(
    run_predict, model_directory, tmp_path, capsys, backend
):
    path = model_directory / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    # A token for which the model has no embedding, like a token of another model.
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
            assert_has_error(row, "the model cannot classify this text")
        else:
            assert_has_label(row)
    assert "43 rows, 2 with an error" in capsys.readouterr().err


def test_probabilities_that_are_not_finite_are_an_error(run_predict, model_directory, tmp_path):
    path = model_directory / "model.safetensors"
    weights = load_file(path)
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_text("text\nkowe\n", encoding="utf-8")
    arguments = ["--model", model_directory, "--input", source, "--output", target]
    assert run_predict(arguments) == 0
    (row,) = read_csv(target)
    assert_has_error(row, "no finite number")


def test_both_backends_give_the_same_probabilities(predict, data_file):
    by_torch = predict(data_file.read_bytes(), "a.csv", "b.csv", "--backend", "torch")
    by_onnx = predict(data_file.read_bytes(), "a.csv", "c.csv", "--backend", "onnx")
    assert [row["error"] for row in by_onnx] == [row["error"] for row in by_torch]
    for left, right in zip(by_torch, by_onnx, strict=True):
        for name in NEW[1:-1]:
            if left[name]:
                assert float(left[name]) == pytest.approx(float(right[name]), abs=1e-5)


def test_another_backend_is_refused(run_predict, capsys):
    arguments = ["--model", "a", "--input", "-", "--output", "-", "--backend", "tensorflow"]
    assert run_predict(arguments) == 2
    assert "is 'tensorflow', but must be one of torch, onnx" in capsys.readouterr().err


def test_json_lines_are_detected_in_a_file_without_an_ending(predict):
    (row,) = predict(" " * 200_000 + '\n{"text": "kowe"}\n', "rows", "b.jsonl")
    assert_has_label(row)
