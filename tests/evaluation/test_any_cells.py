"""Property tests: `evaluation.predict` writes every row and every cell of its input unchanged."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation import predict
from training.classifier import load
from training.columns import read_columns

ODD = ['"', '""', "\r", "\n", "\r\n", ",", ";", "\t", "|", "\\", "NA", "1e5", "0.10", " ", "a"]
CELLS = st.one_of(st.text(max_size=12), st.lists(st.sampled_from(ODD), max_size=5).map("".join))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | CELLS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CELLS, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.lists(
    st.sampled_from(["id", "label", "error", "input_label", "Nötè", "a b"]), unique=True, max_size=4
)
RELAXED = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def predict_table(finished_final, tmp_path, monkeypatch):
    """Run the command on the bytes of a table; the model is loaded once."""
    model = load(finished_final.model)
    monkeypatch.setattr(predict, "load", lambda *_: model)

    def run(content, source, target):
        (tmp_path / source).write_bytes(content)
        options = ["--model", "-", "--multiline", "--input", str(tmp_path / source)]
        assert predict.main([*options, "--output", str(tmp_path / target)]) == 0
        return (tmp_path / target).read_bytes()

    return run


@pytest.mark.parametrize("separator", [",", ";", "|"])
@RELAXED
@given(data=st.data())
def test_cells_of_a_csv_are_unchanged_to_the_code_point(predict_table, data, separator):
    names = ["text", "n", *data.draw(NAMES)]  # a table of one column has no separator
    row = st.lists(CELLS, min_size=len(names), max_size=len(names))
    rows = data.draw(st.lists(row, min_size=1, max_size=8))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    written = predict_table(text.getvalue().encode(), "a.csv", "b.csv").decode()
    header, *predicted = csv.reader(
        io.StringIO(written, newline=""), delimiter=separator, strict=True
    )
    assert [row[: len(names)] for row in predicted] == rows
    assert [len(row) for row in predicted] == [len(header)] * len(rows)
    assert [bool(row[-1]) for row in predicted] == [not row[0].strip() for row in rows]


@RELAXED
@given(data=st.data())
def test_values_of_json_lines_are_unchanged(predict_table, data):
    names = data.draw(NAMES)
    rows = data.draw(
        st.lists(
            st.fixed_dictionaries({"text": CELLS, **dict.fromkeys(names, VALUES)}),
            min_size=1,
            max_size=8,
        )
    )
    ascii_only = data.draw(st.booleans())
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    written = predict_table("".join(f"{line}\n" for line in lines).encode(), "a.jsonl", "b.jsonl")
    predicted = [json.loads(line) for line in written.decode().split("\n")[:-1]]
    assert len(predicted) == len(rows)
    for line, found, row in zip(written.decode().split("\n"), predicted, rows, strict=False):
        own = list(found.values())[: len(row)]
        assert json.dumps(own) == json.dumps(list(row.values()))
        for name, value in row.items():
            assert json.dumps(value, ensure_ascii=ascii_only) in line, name


@RELAXED
@given(data=st.data())
def test_columns_of_parquet_keep_their_types(predict_table, tmp_path, data):
    num_rows = data.draw(st.integers(1, 8))

    def column(values, kind):
        cells = data.draw(st.lists(st.none() | values, min_size=num_rows, max_size=num_rows))
        return pa.array(cells, kind)

    table = pa.table(
        {
            "text": column(CELLS, pa.string()),
            "n": column(st.integers(-(2**63), 2**63 - 1), pa.int64()),
            "x": column(st.floats(width=32), pa.float32()),
            "label": column(st.binary(max_size=4), pa.binary()),
            "spans": column(st.lists(st.integers(0, 9), max_size=3), pa.list_(pa.int8())),
            "t": column(st.datetimes(), pa.timestamp("us")),
        }
    )
    pq.write_table(table, tmp_path / "own.parquet")
    predict_table((tmp_path / "own.parquet").read_bytes(), "a.parquet", "b.parquet")
    written = pq.read_table(tmp_path / "b.parquet")
    for index, name in enumerate(table.column_names):
        before, after = table.column(name), written.column(index)
        assert before.type == after.type
        # As Python values, because NaN is not equal to itself.
        assert repr(before.to_pylist()) == repr(after.to_pylist())


TEXT_COLUMNS = st.one_of(
    st.lists(st.none() | CELLS, min_size=1, max_size=8),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8),
    st.lists(st.none() | st.floats(), min_size=1, max_size=8),
    st.lists(st.none() | st.booleans(), min_size=1, max_size=8),
    st.lists(st.none() | st.datetimes(), min_size=1, max_size=8),
)


def write_table(path, texts):
    """Write a table of texts in the format of the file name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts, "n": ["1"] * len(texts)}), path)
        return
    lines = "".join(json.dumps({"text": text, "n": "1"}, default=str) + "\n" for text in texts)
    path.write_text(lines, encoding="utf-8")


@pytest.mark.parametrize("source", ["a.jsonl", "a.parquet"])
@pytest.mark.parametrize("target", ["b.csv", "b.jsonl", "b.parquet"])
@RELAXED
@given(texts=TEXT_COLUMNS)
def test_training_reads_the_same_text_from_the_input_and_the_output_of_predict(
    predict_table, tmp_path, source, target, texts
):
    write_table(tmp_path / source, texts)
    predict_table((tmp_path / source).read_bytes(), source, target)
    wanted = {"text": "data.text_column", "error": "data.error_column"}
    trained = read_columns(tmp_path / source, {"text": "data.text_column"}).cells["text"]
    written = read_columns(tmp_path / target, wanted, multiline=True).cells
    assert written["text"] == trained
    assert [error == "no text" for error in written["error"]] == [not t.strip() for t in trained]
