import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.encoders import BAD, GOOD, as_row, figures_of, is_right, make_encoder, summary_of
from training.config import ModelConfig
from training.model import load_tokenizer
from training.tokens import describe_tokens

LEAD = {"replaces_default": True, "distinguishable": True}
FOUND = {
    "number": 0,
    "default": BAD,
    "winner": GOOD,
    "comparison": LEAD,
    "candidates": [{"model": BAD, "mean": 0.38}, {"model": GOOD, "mean": 0.501}],
    "seconds": 100.4,
}


def test_of_two_vocabularies_one_splits_words_and_none_leaves_them_unknown(tmp_path: Path) -> None:
    texts = ["pasar sawah kali gunung", "gunung kali pasar", "sawah pasar"] * 3
    shares = []
    for name, size in ((GOOD, 8000), (BAD, 24)):
        path = make_encoder(tmp_path / name, texts, size)
        tokenizer = load_tokenizer(ModelConfig(name=str(path)), tiny=path)
        shares.append(describe_tokens(tokenizer, texts, max_length=32))
    assert [one.unknown_share for one in shares] == [0, 0]
    assert shares[0].tokens_per_word == 1
    assert shares[1].tokens_per_word > 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"winner": BAD}, False),
        ({"comparison": LEAD | {"distinguishable": False}}, False),
        ({"comparison": {}, "default": GOOD}, True),
        ({"default": GOOD, "candidates": []}, False),
    ],
)
def test_only_a_confirmed_verdict_for_the_better_encoder_is_right(
    changes: dict[str, object], expected: bool
) -> None:
    assert is_right(FOUND | changes) is expected


def test_a_row_has_the_confirmed_mean_of_each_encoder_and_the_summary_compares_times() -> None:
    assert as_row(FOUND) == (
        "| 0 | characters | words | words 0.501, characters 0.380 | yes | 100 |"
    )
    separate = {GOOD: {"seconds": 60.0}, BAD: {"seconds": 70.0}}
    lines = summary_of({"searches": [FOUND, FOUND | {"winner": BAD}], "separate": separate})
    assert lines[0] == "1 of 2 name the better encoder"
    assert "100 s for both encoders" in lines[1]
    assert "130 s" in lines[1]


def test_figures_are_read_from_the_files_of_a_run_and_name_no_directory(tmp_path: Path) -> None:
    parameters = {"model": "/somewhere/words", "learning_rate": 1e-3}
    candidate = {"parameters": parameters, "mean": 0.5, "standard_error": 0.1, "f1_macro": [0.5]}
    record = {
        "confirmation": {
            "candidates": [candidate],
            "winner_beats_default": {"leader": parameters, **LEAD},
        },
        "examples_trained": {"search": 10, "confirmation": 20},
    }
    (tmp_path / "search.json").write_text(json.dumps(record), encoding="utf-8")
    for name, model in (("best", "/somewhere/words"), ("config", "/somewhere/characters")):
        values = {"model": {"name": model}, "training": {"learning_rate": 1e-3}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    pd.DataFrame({"trial_id": ["t0000", "t0001"]}).to_csv(tmp_path / "trials.csv")
    found = figures_of(tmp_path, 12.5)
    assert "somewhere" not in json.dumps(found)
    assert is_right(found)
    assert (found["trials"], found["seconds"]) == (2, 12.5)
