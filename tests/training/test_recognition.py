"""Columns and labels that the configuration leaves open, in tables as people have them."""

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.training.tables import problems_of, table_of
from training.config import STUDY_LABELS, DataConfig
from training.data import PreparedData, prepare

Rows = Sequence[tuple[str, str]]
SYLLABLES = [consonant + vowel for consonant in "bcdghjklmnprstwy" for vowel in "aeiou"]


def texts_of(number: int) -> list[str]:
    """Return texts that differ enough to be split one by one."""
    choose = random.Random(0)
    words = ["".join(choose.sample(SYLLABLES, 3)) for _ in range(2000)]
    return [" ".join(choose.sample(words, 12)) for _ in range(number)]


def rows_of(labels: Sequence[str], each: int = 30) -> list[tuple[str, str]]:
    """Return `each` rows of every label, in turn."""
    return list(zip(texts_of(each * len(labels)), [*labels] * each, strict=True))


def written(
    folder: Path,
    rows: Rows,
    header: Sequence[str] = ("text", "label"),
    *,
    separator: str = ",",
    encoding: str = "utf-8",
) -> DataConfig:
    path = folder / "mine.csv"
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerows([header, *rows])
    return DataConfig(path=str(path))


def with_fields(config: DataConfig, **fields: object) -> DataConfig:
    return DataConfig.model_validate({"path": config.path, **fields})


def labels_of(config: DataConfig) -> tuple[str, ...]:
    return prepare(config).config.label_names


def notes_of(prepared: PreparedData) -> str:
    return "\n".join(prepared.summary.notes)


# --- columns


def test_a_table_with_text_and_label_needs_no_option(tmp_path: Path) -> None:
    prepared = prepare(written(tmp_path, rows_of(["sport", "politics", "economy"])))
    config = prepared.config
    assert (config.text_column, config.label_column) == ("text", "label")
    assert config.labels == ("economy", "politics", "sport")
    assert config.ordered is False
    assert config.confidence_column is None
    assert prepared.summary.kept == 90
    assert "columns: texts are read from 'text', labels from 'label'" in notes_of(prepared)
    assert (
        "3 found in column 'label', with their rows: 'economy' 30, 'politics' 30, 'sport' 30"
        in (notes_of(prepared))
    )


def test_a_table_of_the_study_is_read_as_the_study_s(tmp_path: Path) -> None:
    table = table_of()
    names = dict(zip(("biasa", "entheng", "abot"), STUDY_LABELS, strict=False))
    table["final_label"] = table["final_label"].map(names)
    table.loc[::8, "final_label"] = STUDY_LABELS[3]
    table.loc[0, "confidence_score"] = "0.3"
    path = tmp_path / "study.csv"
    table.to_csv(path, index=False)
    prepared = prepare(DataConfig(path=str(path)))
    assert prepared.config.labels == STUDY_LABELS
    assert prepared.config.ordered is True
    assert prepared.config.confidence_column == "confidence_score"
    assert prepared.summary.dropped["low confidence"] == 1


def test_a_misspelt_label_of_the_study_stays_an_error(tmp_path: Path) -> None:
    rows = [*rows_of(STUDY_LABELS), ("bebas kabeh", "Ujaran Kebencian - Brat")]
    (line,) = problems_of(written(tmp_path, rows, ("text", "final_label")))
    assert "did you mean Ujaran Kebencian - Berat?" in line


def test_of_label_and_final_label_the_one_with_the_study_s_labels_is_read(tmp_path: Path) -> None:
    rows = rows_of(STUDY_LABELS)
    both = [(text, str(at % 2), label) for at, (text, label) in enumerate(rows)]
    config = written(tmp_path, both, ("text", "label", "final_label"))
    assert labels_of(config) == STUDY_LABELS
    others = [(text, str(at % 2), f"x{at % 3}") for at, (text, _) in enumerate(rows)]
    assert labels_of(written(tmp_path, others, ("text", "label", "final_label"))) == ("0", "1")


@pytest.mark.parametrize("header", [("Text", "LABEL"), (" text ", "Label"), ("TEXT", " label")])
def test_names_of_columns_are_recognised_in_any_case(
    tmp_path: Path, header: tuple[str, str]
) -> None:
    config = prepare(written(tmp_path, rows_of(["no", "yes"]), header)).config
    assert (str(config.text_column).lower(), str(config.label_column).lower()) == ("text", "label")
    assert config.labels == ("no", "yes")


def test_of_two_columns_that_differ_in_case_the_exact_one_is_read(tmp_path: Path) -> None:
    rows = [(text, label, "x") for text, label in rows_of(["no", "yes"])]
    assert labels_of(written(tmp_path, rows, ("text", "label", "Label"))) == ("no", "yes")


def test_a_byte_order_mark_and_semicolons_are_no_obstacle(tmp_path: Path) -> None:
    rows = rows_of(["bagus", "jelek, sekali"])
    config = written(tmp_path, rows, separator=";", encoding="utf-8-sig")
    assert labels_of(config) == ("bagus", "jelek, sekali")


def test_other_columns_are_listed_with_the_very_options_to_type(tmp_path: Path) -> None:
    rows = rows_of(["1", "2", "3"])
    table = [(str(at), "", text, stars, "en", "train") for at, (text, stars) in enumerate(rows)]
    header = ("id", "note", "the review", "stars", "lang", "part")
    (line,) = problems_of(written(tmp_path, table, header))
    assert "data.text_column and data.label_column must be given" in line
    assert "stars (3 values: 1, 2, 3)" in line
    assert "note (empty)" in line
    assert "lang (1 value: en)" in line
    assert line.endswith("add --data.text_column 'the review' --data.label_column stars")


def test_the_column_of_the_label_alone_is_asked_for_where_the_text_is_found(tmp_path: Path) -> None:
    (line,) = problems_of(written(tmp_path, rows_of(["a", "b"]), ("text", "mood")))
    assert line.endswith("add --data.label_column mood")
    assert "text_column" not in line


def test_without_a_likely_column_the_options_ask_for_a_name(tmp_path: Path) -> None:
    (line,) = problems_of(written(tmp_path, [("a", "b"), ("c", "d")], ("x", "y2")))
    assert line.endswith("add --data.text_column NAME --data.label_column NAME")


def test_a_given_column_always_wins(tmp_path: Path) -> None:
    rows = [(text, "x", label) for text, label in rows_of(["no", "yes"])]
    config = written(tmp_path, rows, ("text", "label", "mood"))
    assert labels_of(with_fields(config, label_column="mood")) == ("no", "yes")


def test_two_columns_of_the_label_s_name_are_an_error(tmp_path: Path) -> None:
    rows = [(text, label, label) for text, label in rows_of(["no", "yes"])]
    (line,) = problems_of(written(tmp_path, rows, ("text", "label", "label")))
    assert "2 columns are named 'label' (data.label_column)" in line


def test_a_confidence_column_that_nobody_asked_for_may_be_missing(tmp_path: Path) -> None:
    config = written(tmp_path, rows_of(["no", "yes"]))
    prepared = prepare(config)
    assert prepared.config.confidence_column is None
    assert "rows are not filtered by it, since the table has no column 'confidence_score'" in (
        notes_of(prepared)
    )
    (line,) = problems_of(with_fields(config, confidence_column="confidence_score"))
    assert "no column 'confidence_score' (data.confidence_column)" in line


def test_all_problems_of_a_table_are_reported_at_once(tmp_path: Path) -> None:
    config = written(tmp_path, [*rows_of(["no"])], ("text", "mood"))
    lines = problems_of(with_fields(config, group_column="author", confidence_column="sure"))
    assert len(lines) == 3
    assert "--data.label_column NAME" in lines[0]
    assert "'sure'" in lines[1]
    assert "'author'" in lines[2]


def test_what_was_recognised_is_recognised_no_more(tmp_path: Path) -> None:
    first = prepare(written(tmp_path, rows_of(["no", "yes"])))
    again = prepare(DataConfig.model_validate(first.config.model_dump()))
    assert again.config == first.config
    assert again.assignment.equals(first.assignment)
    assert again.summary.notes == []


# --- labels


def test_whole_numbers_are_sorted_by_value(tmp_path: Path) -> None:
    labels = ["10", "9", "1", "-1"]
    assert labels_of(written(tmp_path, rows_of(labels))) == ("-1", "1", "9", "10")


def test_spellings_of_a_number_and_blanks_around_a_label_are_one_label(tmp_path: Path) -> None:
    rows = [
        (text, {"a": "1", "b": " 1", "c": "1.0", "d": "2.0"}[label])
        for text, label in rows_of(["a", "b", "c", "d"])
    ]
    assert labels_of(written(tmp_path, rows)) == ("1", "2")
    words = [(text, f" {label}\t") for text, label in rows_of(["no", "yes"])]
    assert labels_of(written(tmp_path, words)) == ("no", "yes")
    assert labels_of(written(tmp_path, rows_of(["01", "02"]))) == ("01", "02")


def test_labels_that_differ_in_case_or_unicode_form_are_two_with_a_warning(tmp_path: Path) -> None:
    rows = rows_of(["caf\u00e9", "cafe\u0301", "Sport", "sport"])
    prepared = prepare(written(tmp_path, rows))
    assert len(prepared.config.label_names) == 4
    assert "'Sport' and 'sport' count as 2 labels" in notes_of(prepared)
    assert "'cafe\u0301' and 'caf\u00e9' count as 2 labels" in notes_of(prepared)


def test_empty_cells_of_the_label_are_dropped(tmp_path: Path) -> None:
    rows = [*rows_of(["no", "yes"]), ("satu teks tanpa label", "  "), ("loro teks maneh", "")]
    summary = prepare(written(tmp_path, rows)).summary
    assert summary.dropped["no text or label"] == 2


def test_an_empty_column_of_labels_is_an_error(tmp_path: Path) -> None:
    (line,) = problems_of(written(tmp_path, [(text, "") for text in texts_of(30)]))
    assert "no row is left of 30" in line


def test_one_label_is_an_error_that_names_a_likelier_column(tmp_path: Path) -> None:
    rows = [(text, "x", label) for text, label in rows_of(["no", "yes"])]
    (line,) = problems_of(written(tmp_path, rows, ("text", "label", "mood")))
    assert "column 'label' holds one label only ('x' in 60 rows)" in line
    assert "more likely is mood (2 values: no, yes): --data.label_column mood" in line


@pytest.mark.parametrize(("number", "is_refused"), [(50, False), (51, True)])
def test_more_than_50_values_are_probably_no_labels(
    tmp_path: Path, number: int, is_refused: bool
) -> None:
    rows = rows_of([f"v{n}" for n in range(number)], each=12)
    table = [(text, label, str(at % 2)) for at, (text, label) in enumerate(rows)]
    config = written(tmp_path, table, ("text", "label", "stars"))
    if not is_refused:
        assert len(labels_of(config)) == number
        return
    (line,) = problems_of(config)
    assert "column 'label' holds 51 different values" in line
    assert "--data.label_column stars" in line


def test_a_rare_label_is_named_with_its_count_and_its_rows_can_be_dropped(tmp_path: Path) -> None:
    rows = [*rows_of(["no", "yes"]), ("mung siji wae iki", "so, so"), ("lan siji maneh", "so, so")]
    config = written(tmp_path, rows)
    (line,) = problems_of(config)
    assert "class 'so, so' has no row in" in line
    assert """--data.drop_labels '["so, so"]'""" in line
    prepared = prepare(with_fields(config, drop_labels=("so, so",)))
    assert prepared.config.labels == ("no", "yes")
    assert prepared.summary.dropped["dropped label"] == 2
    assert prepared.assignment["reason"].tolist().count("dropped label") == 2


def test_a_label_to_drop_that_no_row_has_is_an_error(tmp_path: Path) -> None:
    config = written(tmp_path, rows_of(["no", "yes", "maybe"]))
    (line,) = problems_of(with_fields(config, drop_labels=("maybee",)))
    assert "no row has this label; did you mean maybe?" in line


def test_only_the_labels_of_usable_rows_are_found(tmp_path: Path) -> None:
    rows = [(text, label, "0.9") for text, label in rows_of(["no", "yes"])]
    rows.append(("rahayu sak dangune", "unsure", "0.1"))
    config = written(tmp_path, rows, ("text", "label", "confidence_score"))
    prepared = prepare(config)
    assert prepared.config.labels == ("no", "yes")
    assert prepared.summary.dropped["low confidence"] == 1


def test_labels_are_found_where_splits_and_groups_are_columns(tmp_path: Path) -> None:
    parts = ["train", "train", "train", "validation", "test", "test"]
    rows = [
        (text, label, parts[at // 3 % 6], f"author {at // 2}")
        for at, (text, label) in enumerate(rows_of(["no", "yes", "so"]))
    ]
    config = written(tmp_path, rows, ("text", "label", "part", "author"))
    fixed = prepare(with_fields(config, split_column="part"))
    assert fixed.config.labels == ("no", "so", "yes")
    grouped = prepare(with_fields(config, group_column="author"))
    assert grouped.config.labels == ("no", "so", "yes")


def test_a_quote_that_swallows_rows_is_found_without_given_labels(tmp_path: Path) -> None:
    lines = ["text,label", *(f"{text},{label}" for text, label in rows_of(["no", "yes"]))]
    lines[5] = '"' + lines[5]
    lines[9] = lines[9].replace(",", '",')
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    line = problems_of(DataConfig(path=str(path)))[0]
    assert "rows by themselves" in line


# --- other formats


def parquet(folder: Path, label: pa.Array, features: object = None) -> DataConfig:
    table = pa.table({"text": texts_of(len(label)), "label": label})
    if features is not None:
        described = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": described})
    path = folder / "mine.parquet"
    pq.write_table(table, path)
    return DataConfig(path=str(path))


def class_label(names: object) -> dict[str, object]:
    text = {"dtype": "string", "_type": "Value"}
    return {"text": text, "label": {"names": names, "_type": "ClassLabel"}}


def test_integers_booleans_and_floats_of_a_parquet_are_labels(tmp_path: Path) -> None:
    assert labels_of(parquet(tmp_path, pa.array([0, 1] * 30))) == ("0", "1")
    assert labels_of(parquet(tmp_path, pa.array([1.0, 2.0, 10.0] * 20))) == ("1", "2", "10")
    assert labels_of(parquet(tmp_path, pa.array([True, False] * 30))) == ("false", "true")
    assert labels_of(parquet(tmp_path, pa.array([0, 1, None] * 30))) == ("0", "1")


def test_labels_of_json_lines_are_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    lines = [
        json.dumps({"text": text, "label": at % 2 == 0}) for at, text in enumerate(texts_of(60))
    ]
    path.write_text("\n".join(lines))
    assert labels_of(DataConfig(path=str(path))) == ("false", "true")


def test_a_dictionary_of_arrow_gives_its_names(tmp_path: Path) -> None:
    codes = pa.array([0, 1, 2] * 20, pa.int8())
    names = pa.array(["zebra", "ayam", "kucing"])
    config = parquet(tmp_path, pa.DictionaryArray.from_arrays(codes, names))
    assert labels_of(config) == ("ayam", "kucing", "zebra")


def test_codes_of_a_class_label_become_their_names_in_the_order_of_the_codes(
    tmp_path: Path,
) -> None:
    names = ["world", "sport", "business"]
    config = parquet(tmp_path, pa.array([0, 1, 2, -1] * 20), class_label(names))
    prepared = prepare(config)
    assert prepared.config.labels == tuple(names)
    assert prepared.summary.dropped["no text or label"] == 20
    assert "named in the file for column 'label'" in notes_of(prepared)
    again = prepare(prepared.config)
    assert again.assignment.equals(prepared.assignment)


def test_names_that_are_numbers_are_not_mistaken_for_the_codes(tmp_path: Path) -> None:
    config = parquet(tmp_path, pa.array([0, 1, 2] * 20), class_label(["1", "2", "3"]))
    prepared = prepare(config)
    assert prepared.config.labels == ("1", "2", "3")
    again = prepare(prepared.config)
    assert again.summary.class_counts == prepared.summary.class_counts
    assert again.train.labels.tolist() == prepared.train.labels.tolist()


def test_codes_that_are_given_as_labels_stay_the_labels(tmp_path: Path) -> None:
    config = parquet(tmp_path, pa.array([0, 1] * 30), class_label(["neg", "pos"]))
    assert labels_of(with_fields(config, labels=("0", "1"))) == ("0", "1")
    assert labels_of(with_fields(config, labels=("pos", "neg"))) == ("pos", "neg")


def test_a_code_without_a_name_is_an_error(tmp_path: Path) -> None:
    config = parquet(tmp_path, pa.array([0, 1, 7] * 20), class_label(["neg", "pos"]))
    (line,) = problems_of(config)
    assert "'7' in 20 rows" in line
    assert "must be one of data.labels ('neg', 'pos')" in line
    config = parquet(tmp_path, pa.array([2, 3] * 20), class_label(["neg", "pos"]))
    (line,) = problems_of(config)
    assert "none of them is in data.labels" in line


def test_77_classes_that_the_file_names_are_accepted(tmp_path: Path) -> None:
    names = [f"intent {n}" for n in range(77)]
    config = parquet(tmp_path, pa.array(list(range(77)) * 12), class_label(names))
    assert labels_of(config) == tuple(names)


@pytest.mark.parametrize(
    "features", ["text", [], {"label": 3}, class_label(["a", "a"]), class_label([1, 2]), {"x": {}}]
)
def test_a_damaged_description_of_classes_leaves_the_codes(
    tmp_path: Path, features: object
) -> None:
    assert labels_of(parquet(tmp_path, pa.array([0, 1] * 30), features)) == ("0", "1")
