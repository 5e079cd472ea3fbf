"""Encoders that answer alike whatever stands beside a text, and those that do not."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tests.training.models import LABELS, NOWHERE, configured, edit, toy_rows
from training.batches import Padding
from training.encoder import perturb, read_encoder, settle
from training.encoder_checks import check_encoder, check_forward, probe_rows
from training.errors import InputError
from training.model import facts_of, load_tokenizer
from training.tokens import encode, from_rows

TEXTS = ["aku kowe", "pasar sawah kali gunung", "bodho", "kowe pinter kali " * 3]
RIGHT, LEFT = Padding(token_id=1), Padding(token_id=1, is_left=True)


def _model(kind: str, **settings: Any) -> PreTrainedModel:
    sizes: dict[str, Any] = {"vocab_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "xlnet":
        sizes = {"vocab_size": 40, "n_layer": 2, "n_head": 2, "d_inner": 64, "d_model": 32}
    elif kind == "funnel":
        sizes |= {"block_sizes": [1, 1], "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64}
        del sizes["num_hidden_layers"]
    elif kind == "bart":
        sizes |= {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}
        sizes |= {"decoder_attention_heads": 2, "decoder_ffn_dim": 64}
        sizes |= {"encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    else:
        sizes |= {"hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 40}
    config = AutoConfig.for_model(kind, **(sizes | settings))
    settle(config, labels=LABELS, pad_token_id=1, eos_token_id=3)
    torch.manual_seed(0)
    built: PreTrainedModel = AutoModelForSequenceClassification.from_config(config).eval()
    rows = probe_rows(toy_rows(40).tokens, max_length=32)
    perturb(built, rows=torch.from_numpy(rows.ids).long())
    return built


def _check(kind: str, padding: Padding = RIGHT, **settings: Any) -> None:
    rows = probe_rows(toy_rows(40).tokens, max_length=32)
    check_forward(_model(kind, **settings), rows, padding=padding, name="own/model")


@pytest.mark.parametrize(
    ("kind", "padding"),
    [
        *((kind, RIGHT) for kind in ("bert", "roberta", "roberta-prelayernorm", "electra")),
        *((kind, RIGHT) for kind in ("gpt2", "bart", "deberta-v2", "big_bird", "modernbert")),
        *((kind, LEFT) for kind in ("xlnet", "llama")),
    ],
)
def test_an_encoder_that_leaves_padding_out_passes(kind: str, padding: Padding) -> None:
    _check(kind, padding)


@pytest.mark.parametrize("kind", ["fnet", "convbert", "nystromformer"])
def test_an_encoder_that_does_not_leave_padding_out_is_refused_in_one_line(kind: str) -> None:
    with pytest.raises(InputError, match="does not ignore padding") as caught:
        _check(kind)
    (line,) = caught.value.problems
    assert line.startswith("model.name: 'own/model' classifies a text of ")
    assert "than alone (probability 0." in line


@pytest.mark.parametrize(
    ("kind", "padding", "side"), [("xlnet", RIGHT, "left"), ("gpt2", LEFT, "right")]
)
def test_padding_on_the_wrong_side_names_the_right_one(
    kind: str, padding: Padding, side: str
) -> None:
    with pytest.raises(InputError, match=f'set "padding_side": "{side}"'):
        _check(kind, padding)


def test_an_encoder_that_stumbles_over_a_text_without_words_is_refused() -> None:
    with pytest.raises(InputError, match="cannot classify a text of 2 tokens"):
        _check("funnel")


def test_a_row_of_exactly_the_longest_length_is_tried() -> None:
    with pytest.raises(InputError, match=r"of 32 tokens .*set model\.max_length below 32"):
        _check("bert", max_position_embeddings=31)


def test_probabilities_that_are_not_finite_are_refused() -> None:
    model = _model("bert")
    model.classifier.bias.data.fill_(float("inf"))
    rows = probe_rows(toy_rows(40).tokens, max_length=32)
    with pytest.raises(InputError, match="not finite"):
        check_forward(model, rows, padding=RIGHT, name="own")


@pytest.mark.parametrize("lengths", [[2], [3], [1, 1], [2, 30], [9, 4, 7], [32, 32]])
def test_probe_rows_come_from_any_rows(lengths: list[int]) -> None:
    ids = [np.arange(5, 5 + length, dtype=np.int32) for length in lengths]
    rows = probe_rows(from_rows(ids), max_length=32)
    assert rows.lengths[0] == 2
    assert rows.lengths[1] == 3
    assert rows.lengths[2] < 32
    assert rows.lengths[3] == 32
    assert set(rows.ids) <= set(np.concatenate(ids))


def _checked(directory: Path, **settings: Any) -> None:
    model = configured(directory, **settings)
    tokenizer: PreTrainedTokenizerBase = load_tokenizer(model, tiny=NOWHERE)
    facts = facts_of(tokenizer)
    encoder = read_encoder(model, labels=LABELS, tokenizer=facts)
    tokens = encode(tokenizer, TEXTS, max_length=model.max_length)
    check_encoder(encoder, model=model, tokenizer=facts, tokens=tokens)


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_the_check_uses_no_generator_and_leaves_the_encoder(bert: Path, weights: str) -> None:
    model = configured(bert, weights=weights)
    tokenizer = load_tokenizer(model, tiny=NOWHERE)
    facts = facts_of(tokenizer)
    encoder = read_encoder(model, labels=LABELS, tokenizer=facts)
    before = {name: array.copy() for name, array in (encoder.weights or {}).items()}
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    tokens = encode(tokenizer, TEXTS, max_length=model.max_length)
    check_encoder(encoder, model=model, tokenizer=facts, tokens=tokens)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert all(np.array_equal(array, before[n]) for n, array in (encoder.weights or {}).items())


def test_a_directory_whose_tokenizer_pads_on_the_other_side_is_refused(bert: Path) -> None:
    _checked(bert)
    path = bert / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"padding_side": "left"}))
    with pytest.raises(InputError, match='set "padding_side": "right"'):
        _checked(bert)


def test_a_padding_id_that_the_old_configuration_had_otherwise_does_no_harm(bert: Path) -> None:
    edit(bert, pad_token_id=9)
    _checked(bert)
    gpt = bert.parent / "gpt"
    shutil.copytree(bert, gpt)
    edit(gpt, model_type="gpt2", pad_token_id=5, n_positions=32)
    _checked(gpt, weights="random")
