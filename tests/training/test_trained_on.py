"""The file of hashes beside a model, and the rows of a search that are among them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tables import configured, fixed_table, table_of
from training.config import ModelConfig
from training.data import prepare, read_test_rows
from training.errors import InputError
from training.folding import drop_key
from training.trained_on import (
    TRAINED_ON,
    are_among,
    check_not_seen,
    hashes_of,
    known_to,
    read_trained_on,
    write_trained_on,
)

TEXTS = ["Sugeng énjing", "apik 5/5", "apik 1/5", "😂", "@budi", "SUGENG  ÉNJING @siti"]


def test_the_file_holds_8_bytes_a_text_sorted_and_no_text(tmp_path: Path) -> None:
    write_trained_on(tmp_path, hashes_of(TEXTS))
    content = (tmp_path / TRAINED_ON).read_bytes()
    assert len(content) == 16 + 8 * 5  # two texts have one drop key
    assert b"apik" not in content.lower()
    hashes = np.frombuffer(content[16:], dtype="<u8")
    assert (np.diff(hashes.astype(object)) > 0).all()
    found = read_trained_on(tmp_path)
    assert found is not None
    assert found.tolist() == hashes.tolist()
    assert hashes_of([]).tolist() == []


def test_the_file_is_kept_from_being_published(tmp_path: Path) -> None:
    write_trained_on(tmp_path, hashes_of(TEXTS))
    assert (tmp_path / ".gitignore").read_text("utf-8").split() == [TRAINED_ON]


@given(st.lists(st.text(max_size=4)), st.lists(st.text(max_size=4)))
def test_a_text_is_found_among_others_by_its_drop_key(known: list[str], asked: list[str]) -> None:
    keys = {drop_key(text) for text in known}
    expected = [drop_key(text) in keys for text in asked]
    assert are_among(asked, hashes_of(known)).tolist() == expected


@pytest.mark.parametrize("at", [0, 8, 16, -1])
@pytest.mark.parametrize("how", ["changed", "cut", "longer"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, at: int, how: str) -> None:
    write_trained_on(tmp_path, hashes_of(TEXTS))
    path = tmp_path / TRAINED_ON
    content = bytearray(path.read_bytes())
    if how == "changed":
        content[at] ^= 1
    path.write_bytes(content[:at] if how == "cut" else content + b"x" * (how == "longer"))
    with pytest.raises(InputError) as caught:
        read_trained_on(tmp_path)
    (line,) = caught.value.problems
    assert line.startswith(f"model.name: {path} is damaged (")
    assert line.endswith("restore it from the source of the model")


def test_a_directory_of_that_name_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / TRAINED_ON).mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_trained_on(tmp_path)


def test_models_without_the_file_and_random_weights_have_no_known_texts(
    tmp_path: Path,
) -> None:
    for name in ("tiny", "indobenchmark/indobert-base-p1", str(tmp_path), "no\x00file"):
        assert known_to(ModelConfig(name=name)) is None
    write_trained_on(tmp_path, hashes_of(TEXTS))
    assert known_to(ModelConfig(name=str(tmp_path), weights="random")) is None
    known = known_to(ModelConfig(name=str(tmp_path)))
    assert known is not None
    assert len(known) == 5


def test_rows_that_the_starting_model_has_seen_are_counted_in_every_split(tmp_path: Path) -> None:
    config = configured(tmp_path, table_of())
    plain = prepare(config)
    assert plain.summary.rows_seen is None
    test = read_test_rows(config, sha256=plain.summary.sha256).test
    known = hashes_of(
        [
            *(f"@budi {text.upper()}" for text in plain.train.texts[:5]),
            *plain.validation.texts[:3],
            *(f"{text} 5" for text in plain.validation.texts[3:6]),  # another text
            *test.texts[:2],
            "not in the table",
        ]
    )
    summary = prepare(config, seen=known).summary
    assert summary.rows_seen == {"train": 5, "validation": 3, "test": 2}
    assert summary.as_record()["rows_seen"] == summary.rows_seen
    nothing = prepare(config, seen=hashes_of(["liya"])).summary.rows_seen
    assert nothing == {"train": 0, "validation": 0, "test": 0}


def test_low_confidence_rows_that_it_has_seen_are_not_evaluated(tmp_path: Path) -> None:
    table = table_of(240)
    table.loc[120:, "confidence_score"] = "0.3"
    config = configured(tmp_path, table)
    sha256 = prepare(config).summary.sha256
    low = read_test_rows(config, sha256=sha256).low_confidence.texts
    assert len(low) > 4
    left = read_test_rows(config, sha256=sha256, seen=hashes_of(low[:4])).low_confidence.texts
    assert not set(low[:4]) & set(left)


ROWS = {"train": 800, "validation": 200, "test": 1250}
HINT = "assign other rows to validation and test in data.split_column"


def refused(*, is_resplit: bool, **seen: int) -> str:
    with pytest.raises(InputError) as caught:
        check_not_seen(
            {"train": 0, "validation": 0, "test": 0, **seen},
            ROWS,
            model="runs/a/final/model",
            path="rows.csv",
            is_resplit=is_resplit,
        )
    (line,) = caught.value.problems
    return line


@pytest.mark.parametrize("is_resplit", [True, False])
def test_one_held_out_row_that_it_has_seen_is_enough_and_counted(is_resplit: bool) -> None:
    assert "'runs/a/final/model' was trained on 1 of 1,250 test rows of rows.csv, as" in refused(
        test=1, is_resplit=is_resplit
    )
    line = refused(validation=7, test=1250, is_resplit=is_resplit)
    assert "on 7 of 200 validation rows and 1,250 of 1,250 test rows of rows.csv" in line
    assert f"{HINT}, use other rows, or start from another model" in line


def test_train_rows_that_it_has_seen_count_where_a_replicate_may_hold_them_out() -> None:
    line = refused(train=8, validation=2, test=1, is_resplit=True)
    assert "8 of 800 train rows (which confirmation may hold out), 2 of 200 validation rows" in line
    assert f"{HINT} and set search.confirm_replicates to 0, use" in line
    assert "train rows" not in refused(train=8, test=1, is_resplit=False)


def test_continued_training_on_rows_that_it_has_seen_is_no_error(tmp_path: Path) -> None:
    config = configured(tmp_path, fixed_table(), split_column="part")
    train = prepare(config).train.texts
    summary = prepare(config, seen=hashes_of(train)).summary
    assert summary.rows_seen == {"train": len(train), "validation": 0, "test": 0}
    facts = {"model": "dir", "path": config.path}
    check_not_seen(summary.rows_seen, summary.num_rows, is_resplit=False, **facts)
    check_not_seen(None, summary.num_rows, is_resplit=True, **facts)
    with pytest.raises(InputError, match=f"{len(train)} of {len(train)} train rows"):
        check_not_seen(summary.rows_seen, summary.num_rows, is_resplit=True, **facts)
