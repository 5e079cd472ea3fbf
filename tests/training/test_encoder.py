"""What an encoder is built as, whatever its config.json states for other uses."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    PreTrainedConfig,
)

from tests.training.models import LABELS, NOWHERE, configured, edit, load
from training.encoder import Encoder, read_encoder, settle
from training.model import facts_of, load_tokenizer

FOREIGN: dict[str, Any] = {
    "problem_type": "multi_label_classification",
    "return_dict": False,
    "output_attentions": True,
    "output_hidden_states": True,
    "is_decoder": True,
    "add_cross_attention": True,
    "use_cache": True,
    "pad_token_id": 3,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "task_specific_params": {"text-classification": {"problem_type": "regression"}},
    "auto_map": {"AutoConfig": "own.py--Own"},
}


def _read(directory: Path, **settings: Any) -> Encoder:
    model = configured(directory, **settings)
    facts = facts_of(load_tokenizer(model, tiny=NOWHERE))
    return read_encoder(model, labels=LABELS, tokenizer=facts)


def _settled(kind: str, **settings: Any) -> PreTrainedConfig:
    config = AutoConfig.for_model(kind, **settings)
    settle(config, labels=LABELS, pad_token_id=7, eos_token_id=6)
    return config


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_settings_of_another_use_are_ours_in_what_is_built_and_saved(
    bert: Path, tmp_path: Path, weights: str
) -> None:
    edit(bert, **FOREIGN)
    built = load(bert, weights=weights)
    built.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved["problem_type"] == "single_label_classification"
    assert saved["pad_token_id"] == 0
    assert list(saved["id2label"].values()) == list(LABELS)
    assert not saved["is_decoder"]
    assert not saved["add_cross_attention"]
    assert saved.get("return_dict", True)
    for name in ("output_attentions", "output_hidden_states", "use_cache"):
        assert not saved.get(name), name
    assert "task_specific_params" not in saved
    assert "auto_map" not in saved
    output = built.eval()(input_ids=torch.tensor([[2, 5, 3]]))
    assert list(output) == ["logits"]


def test_attention_of_another_machine_is_chosen_anew_for_this_one(bert: Path) -> None:
    edit(bert, attn_implementation="flash_attention_2")
    assert load(bert).config._attn_implementation == "sdpa"


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_the_padding_of_the_tokenizer_is_that_of_the_embedding(bert: Path, weights: str) -> None:
    edit(bert, pad_token_id=3)
    built = load(bert, weights=weights)
    assert built.base_model.embeddings.word_embeddings.padding_idx == 0


def test_block_sparse_attention_which_short_rows_do_not_have_is_full_for_all() -> None:
    assert _settled("big_bird", attention_type="block_sparse").attention_type == "original_full"
    assert _settled("funnel", attention_type="factorized").attention_type == "factorized"


def test_the_end_of_a_row_is_the_tokenizers() -> None:
    assert _settled("bart", eos_token_id=2).eos_token_id == 6
    without = AutoConfig.for_model("bart", eos_token_id=2)
    settle(without, labels=LABELS, pad_token_id=7)
    assert without.eos_token_id == 2


def test_a_configuration_within_one_is_settled_too() -> None:
    config = _settled("gemma3", text_config={"pad_token_id": 0, "use_cache": True})
    assert config.get_text_config().pad_token_id == 7
    assert not config.get_text_config().use_cache


def test_only_loaded_weights_keep_their_quantisation() -> None:
    for is_random in (True, False):
        config = AutoConfig.for_model("bert", quantization_config={"quant_method": "gptq"})
        settle(config, labels=LABELS, pad_token_id=0, is_random=is_random)
        assert hasattr(config, "quantization_config") != is_random


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "electra", "albert", "mpnet"])
def test_a_head_of_the_same_size_is_initialised_anew_from_the_seed(
    small_bert: Path, tmp_path: Path, kind: str
) -> None:
    tokenizer = load_tokenizer(configured(small_bert), tiny=NOWHERE)
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, embedding_size=16,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=32, pad_token_id=0,
        num_labels=len(LABELS),
    )  # fmt: skip
    old = AutoModelForSequenceClassification.from_config(config)
    old.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = _read(tmp_path)
    one, same, other = (encoder.build(seed).state_dict() for seed in (1, 1, 2))
    for name, weights in old.state_dict().items():
        is_encoder = name.startswith(f"{old.base_model_prefix}.")
        assert torch.equal(one[name], same[name]), name
        if is_encoder:
            assert torch.equal(one[name], weights), name
        elif weights.ndim == 2:
            assert not torch.equal(one[name], weights), name
            assert not torch.equal(one[name], other[name]), name


def test_the_first_loss_is_that_of_a_new_head(bert: Path) -> None:
    trained = BertForSequenceClassification.from_pretrained(
        bert, num_labels=3, ignore_mismatched_sizes=True
    )
    trained.classifier.weight.data *= 1000
    trained.save_pretrained(bert)
    logits = load(bert).eval()(input_ids=torch.tensor([[2, 5, 6, 3]])).logits
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([1]))
    assert float(loss.detach()) == pytest.approx(math.log(3), abs=0.2)


def test_a_head_for_the_same_labels_is_reported_as_unused(bert: Path) -> None:
    assert _read(bert).note == ""
    with_head = BertForSequenceClassification.from_pretrained(
        bert, id2label=dict(enumerate(reversed(LABELS))), ignore_mismatched_sizes=True
    )
    with_head.save_pretrained(bert)
    note = _read(bert).note
    assert "has a head for these labels, which is not used" in note
    assert str(bert) in note
    assert "\n" not in note
    assert _read(bert, weights="random").note == ""


def test_a_tokenizer_that_pads_on_the_left_is_followed(bert: Path) -> None:
    path = bert / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"padding_side": "left"}))
    facts = facts_of(load_tokenizer(configured(bert), tiny=NOWHERE))
    assert facts.padding.is_left
    assert facts.padding.token_id == 0
