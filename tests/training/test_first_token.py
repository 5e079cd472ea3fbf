from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from tests.training.models import VOCABULARY, toy_rows, toy_task, toy_training
from training.batches import Padding, pad
from training.finetune import finetune
from training.first_token import first_token_alone, reducible_layer

KINDS = ("bert", "roberta", "xlm-roberta", "camembert", "electra")


def _model(kind: str, *, num_hidden_layers: int = 2, **settings: Any) -> PreTrainedModel:
    torch.manual_seed(5)
    config = AutoConfig.for_model(
        kind,
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=num_hidden_layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        pad_token_id=0,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **settings,
    )
    built: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return built.train()


def _gradients(model: PreTrainedModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    batch = pad(toy_rows(6).tokens, np.arange(6), padding=Padding(token_id=0))
    model.zero_grad()
    logits = model(**batch).logits
    logits.logsumexp(dim=-1).sum().backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), grads


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_gradients_are_those_of_the_whole_layer(kind: str, attention: str) -> None:
    model = _model(kind, attn_implementation=attention)
    logits, gradients = _gradients(model)
    layer = reducible_layer(model)
    assert layer is not None
    widths: list[int] = []
    hook = layer.register_forward_hook(lambda *call: widths.append(call[-1].shape[1]))
    with first_token_alone(layer):
        found, reduced = _gradients(model)
    hook.remove()
    assert widths == [1]
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-5)
    assert reduced.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(reduced[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_after_the_block_the_layer_is_whole_again() -> None:
    model = _model("bert")
    layer = reducible_layer(model)
    with first_token_alone(layer):
        pass
    batch = pad(toy_rows(3).tokens, np.arange(2), padding=Padding(token_id=0))
    states = model.base_model(**batch).last_hidden_state
    assert states.shape[:2] == batch["input_ids"].shape


@pytest.mark.parametrize("kind", ["distilbert", "albert", "deberta-v2", "nomic_bert"])
def test_encoders_of_another_build_are_left_as_they_are(kind: str) -> None:
    config = AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, embedding_size=16, pad_token_id=0,
    )  # fmt: skip
    assert reducible_layer(AutoModelForSequenceClassification.from_config(config)) is None


@pytest.mark.parametrize("num_layers", [1, 4])
def test_a_layer_with_its_norm_first_is_left_as_it_is(num_layers: int) -> None:
    model = _model("roberta-prelayernorm", num_hidden_layers=num_layers)
    assert reducible_layer(model) is None


def test_the_trial_leaves_weights_and_generators_as_they_were_to_the_last_bit() -> None:
    model = _model("roberta")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generators = torch.get_rng_state()
    assert reducible_layer(model) is not None
    assert torch.equal(torch.get_rng_state(), generators)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training


def test_a_classifier_that_reads_more_than_the_first_token_is_left_as_it_is() -> None:
    model = _model("bert")
    pooler = model.base_model.pooler
    pooler.forward = lambda states: pooler.activation(pooler.dense(states.mean(dim=1)))
    assert reducible_layer(model) is None


def test_the_trained_model_is_a_plain_one_that_can_be_saved(tmp_path: Path) -> None:
    task = toy_task()
    tuned = finetune(task, toy_training(epochs=1), evaluate_at=[320])
    batch = pad(task.train.tokens, np.arange(3), padding=Padding(token_id=0))
    assert tuned.model.base_model(**batch).last_hidden_state.shape[1] == batch["input_ids"].shape[1]
    tuned.model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        wanted = tuned.model.eval()(**batch).logits
        torch.testing.assert_close(again(**batch).logits, wanted)
