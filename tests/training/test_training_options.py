"""Label smoothing, class weights, schedules, dropout and learning rates by layer.

Gradients and updates are compared with plain PyTorch in float64.
"""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    BertForSequenceClassification,
    CanineConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    PreTrainedConfig,
    RobertaConfig,
    XLNetConfig,
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)
from transformers import set_seed as set_all_seeds

from tests.training.interrupted import assert_same, interrupt, saved_model, tuned_with
from tests.training.models import LABELS, VOCABULARY, toy_rows, toy_task, toy_training
from training.batches import Batch, Padding, training_batches
from training.config import ModelConfig
from training.dropout import ModelDropout, check_has_dropout
from training.encoder import Encoder
from training.errors import InputError
from training.finetune import finetune
from training.metrics import class_weights
from training.model_cache import ModelCache
from training.optimizer import levels_of
from training.optimizer_step import OptimizerStep
from training.schedule import learning_rate_after, schedule_of

WEIGHTS = np.array([0.05, 3.0, 40.0])  # very unequal on purpose
NUM_STEPS = 6
VALUES: list[dict[str, Any]] = [
    {"label_smoothing": 0.2},
    {"layer_decay": 0.6, "weight_decay": 0.3},
    {"head_learning_rate": 7.0},
    {"layer_decay": 0.8, "head_learning_rate": 0.2, "label_smoothing": 0.1},
    {"schedule": "cosine"},
    {"schedule": "constant", "max_grad_norm": 0.3},
    {"class_weights": "sqrt"},
    {"dropout": 0.0},
]
OF_VALUES = pytest.mark.parametrize("values", VALUES, ids=lambda values: "-".join(values))


def _model() -> BertForSequenceClassification:
    """BERT of two layers without dropout, float64."""
    set_all_seeds(7)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=len(LABELS),
    )
    return BertForSequenceClassification(config).double()


def _batches(training: Any) -> list[Batch]:
    data = toy_rows(16 * NUM_STEPS)
    batches = training_batches(
        data, schedule=schedule_of(training, len(data)), seed=1, padding=Padding(token_id=0)
    )
    return [batch for batch, _ in zip(batches, range(NUM_STEPS), strict=False)]


def _multiplier(name: str, training: Any) -> float:
    """Of BERT with two layers: the pooler trains like the top, embeddings are below layer 0."""
    if name.startswith("classifier"):
        return float(training.head_learning_rate)
    for part, layers_above in (("layer.1.", 1), ("layer.0.", 2), ("embeddings", 3)):
        if part in name:
            return float(training.layer_decay**layers_above)
    return 1.0


def _loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Mean of torch's loss of each row, weighted by the weight of the row's label."""
    losses = torch.nn.functional.cross_entropy(
        logits, labels, reduction="none", label_smoothing=smoothing
    )
    weights = torch.tensor(WEIGHTS)[labels]
    return (weights * losses).sum() / weights.sum()


def _by_torch(training: Any, batches: list[Batch]) -> BertForSequenceClassification:
    """Train with one group of AdamW for each parameter."""
    model = _model().train()
    groups = [
        {
            "params": [parameter],
            "weight_decay": 0.0
            if name.endswith("bias") or "LayerNorm" in name
            else training.weight_decay,
            "multiplier": _multiplier(name, training),
        }
        for name, parameter in model.named_parameters()
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.0, foreach=False, fused=False)
    schedule = schedule_of(training, 16 * NUM_STEPS)
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            rate = learning_rate_after(step, training, schedule)
            group["lr"] = rate * group["multiplier"]
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        _loss(model(**inputs).logits, batch["labels"], training.label_smoothing).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    return model


@OF_VALUES
@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_updates_are_those_of_plain_torch_in_float64(
    values: dict[str, Any], micro_batch_size: int | None
) -> None:
    training = toy_training(**({"epochs": 1, "max_grad_norm": 1e9} | values))
    batches = _batches(training)
    schedule = schedule_of(training, 16 * NUM_STEPS)
    step = OptimizerStep(_model())
    step.start(training, WEIGHTS, bfloat16=False, micro_batch_size=micro_batch_size)
    for number, batch in enumerate(batches):
        step.step(batch, learning_rate=learning_rate_after(number, training, schedule))
    expected = _by_torch(training, batches).state_dict()
    start = _model().state_dict()
    moved = {name: float((expected[name] - start[name]).abs().max()) for name in expected}
    assert max(moved.values()) > 1e-3
    for name, found in step.model.state_dict().items():
        torch.testing.assert_close(found, expected[name], rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("micro_batch_size", [1, 5, 100])
def test_loss_and_gradients_with_label_smoothing_are_those_of_torch_row_by_row(
    smoothing: float, micro_batch_size: int
) -> None:
    training = toy_training(label_smoothing=smoothing, max_grad_norm=1e9, learning_rate=1e-3)
    batch, gradients = _batches(training)[0], dict[str, torch.Tensor]()
    model = _model()
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda p, name=name: gradients.update({name: p.grad.clone()})
        )
    step = OptimizerStep(model)
    step.start(training, WEIGHTS, bfloat16=False, micro_batch_size=micro_batch_size)
    step.step(batch, learning_rate=1e-3)
    plain = _model().train()
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    loss = _loss(plain(**inputs).logits, batch["labels"], smoothing)
    loss.backward()
    assert step.take_interval_loss() == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in plain.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-6, atol=1e-9, msg=name)


@OF_VALUES
def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    values: dict[str, Any], tmp_path: Any
) -> None:
    settings = {"task": toy_task(96), "evaluate_at": [32, 96, 192], "epochs": 2, **values}
    interrupt(tmp_path / "checkpoint", at_evaluation=2, **settings)
    assert_same(tuned_with(tmp_path / "checkpoint", **settings), tuned_with(None, **settings))


def test_a_checkpoint_is_resumed_whatever_groups_an_earlier_training_left(tmp_path: Any) -> None:
    cache, task = ModelCache(), toy_task(96)
    checkpoint, settings = tmp_path / "checkpoint", {"evaluate_at": [32, 96, 192], "epochs": 2}
    interrupt(checkpoint, at_evaluation=2, task=task, **settings)
    finetune(task, toy_training(layer_decay=0.5), evaluate_at=[96], model_cache=cache)
    found = finetune(
        task,
        toy_training(epochs=2),
        evaluate_at=[32, 96, 192],
        checkpoint=checkpoint,
        checkpoint_share=1.0,
        model_cache=cache,
    )
    assert_same(found, tuned_with(None, task, **settings))


@OF_VALUES
def test_a_training_after_one_with_other_options_is_the_one_alone(values: dict[str, Any]) -> None:
    cache, task = ModelCache(), toy_task(96)
    others = {"layer_decay": 0.5, "dropout": 0.5, "label_smoothing": 0.3, "weight_decay": 0.2}
    finetune(task, toy_training(**others), evaluate_at=[96], model_cache=cache)
    training = toy_training(epochs=2, **values)
    found = finetune(task, training, evaluate_at=[96, 192], model_cache=cache)
    assert_same(found, finetune(task, training, evaluate_at=[96, 192]))


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("linear", get_linear_schedule_with_warmup),
        ("cosine", get_cosine_schedule_with_warmup),
        ("constant", get_constant_schedule_with_warmup),
    ],
)
@pytest.mark.parametrize("warmup", [0, 7, 0.25])
def test_learning_rates_are_those_of_transformers(kind: str, theirs: Any, warmup: float) -> None:
    training = toy_training(schedule=kind, warmup_steps=warmup, learning_rate=3e-4)
    schedule = schedule_of(training, 160)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    num_warmup = warmup if warmup >= 1 or not warmup else 8
    lengths = [num_warmup] if kind == "constant" else [num_warmup, schedule.total_steps]
    expected = theirs(optimizer, *lengths)
    for step in range(schedule.total_steps):
        found = learning_rate_after(step, training, schedule)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15), step
        optimizer.step()
        expected.step()


def test_square_roots_of_balanced_weights_have_the_same_mean_over_rows() -> None:
    labels = np.array([0] * 50 + [1] * 20 + [2] * 3)
    balanced, found = (class_weights(labels, 3, kind) for kind in ("balanced", "sqrt"))
    np.testing.assert_allclose(found / found[0], np.sqrt(balanced / balanced[0]))
    assert found[labels].mean() == pytest.approx(1)
    assert balanced[labels].mean() == pytest.approx(1)


_SIZES: dict[str, Any] = {"vocab_size": 40, "num_labels": 3}
_BERT_SIZES = {
    **_SIZES,
    **{"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2},
    "intermediate_size": 16,
}
ARCHITECTURES: dict[str, tuple[PreTrainedConfig, int]] = {
    "bert": (BertConfig(**_BERT_SIZES), 3),
    "roberta": (RobertaConfig(**_BERT_SIZES), 3),
    "electra": (ElectraConfig(**_BERT_SIZES, embedding_size=8), 3),
    "deberta": (DebertaV2Config(**_BERT_SIZES), 3),
    "modernbert": (ModernBertConfig(**_BERT_SIZES, pad_token_id=0), 3),
    "albert": (AlbertConfig(**_BERT_SIZES, embedding_size=8), 1),
    "distilbert": (DistilBertConfig(**_SIZES, dim=16, n_layers=3, n_heads=2, hidden_dim=16), 3),
    "xlnet": (XLNetConfig(**_SIZES, d_model=16, n_layer=3, n_head=2, d_inner=16), 3),
    "canine": (CanineConfig(**{**_BERT_SIZES, "num_hidden_layers": 1}), 3),
    "bart": (
        BartConfig(
            **{**_SIZES, "d_model": 16, "encoder_layers": 2, "decoder_layers": 1},
            **{"encoder_attention_heads": 2, "decoder_attention_heads": 2},
            **{"encoder_ffn_dim": 16, "decoder_ffn_dim": 16},
        ),
        3,
    ),
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_parameter_is_an_embedding_in_a_layer_above_them_or_in_the_head(kind: str) -> None:
    config, num_layers = ARCHITECTURES[kind]
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    levels = levels_of(model)
    names = [name for name, _ in model.named_parameters()]
    assert list(levels) == names
    assert set(levels.values()) - {num_layers + 1} == {*range(num_layers + 1), num_layers + 2}
    base = f"{model.base_model_prefix}."
    for name, level in levels.items():
        assert (level == num_layers + 2) == (not name.startswith(base)), name
        if "word_embed" in name or "shared" in name:
            assert level == 0, name
        if name.startswith(f"{base}pooler"):
            assert level == num_layers + 1, name


def test_layers_are_groups_of_their_own_only_where_their_rates_differ() -> None:
    step = OptimizerStep(_model())
    groups = step._optimizer.adamw.param_groups
    counts = []
    for values in ({}, {"head_learning_rate": 2.0}, {"layer_decay": 0.9}, {}):
        step.start(toy_training(**values), WEIGHTS, bfloat16=False)
        counts.append(len(groups))
    # With and without weight decay: all; head and the rest; embeddings, two layers, pooler, head.
    assert counts == [2, 4, 10, 10]


def test_dropout_is_changed_everywhere_and_the_model_s_own_comes_back() -> None:
    config = BertConfig(**_BERT_SIZES, hidden_dropout_prob=0.2, classifier_dropout=None)
    model = BertForSequenceClassification(config)
    dropout = ModelDropout(model)
    own = {name: m.p for name, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert set(own.values()) == {0.2, 0.1}
    dropout.set(0.45)
    changed = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert changed == {0.45}
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.45
    assert model.config.classifier_dropout is None
    assert config.hidden_dropout_prob == 0.2  # which other models are built from
    dropout.set(None)
    assert own == {n: m.p for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert model.config.hidden_dropout_prob == 0.2


def test_dropout_that_a_model_left_out_as_an_identity_is_changed_too() -> None:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(ARCHITECTURES["modernbert"][0])
    dropout = ModelDropout(model)
    dropout.set(0.3)
    named = {name: part for name, part in model.named_modules() if name.endswith("drop")}
    assert named
    assert {part.p for part in named.values()} == {0.3}
    dropout.set(None)
    assert {part.p for part in named.values()} == {0.0}


def test_the_retrained_model_s_configuration_has_its_dropout() -> None:
    tuned = finetune(toy_task(96), toy_training(epochs=1, dropout=0.15), evaluate_at=[96])
    assert tuned.model.config.hidden_dropout_prob == 0.15


def test_a_model_without_dropout_is_refused_where_dropout_would_change_nothing(
    tmp_path: Any,
) -> None:
    encoder = toy_task(96, model=saved_model(tmp_path, "bert")).read_encoder()
    check_has_dropout(encoder, "bert")

    class Bare(BertForSequenceClassification):
        def __init__(self, config: PreTrainedConfig) -> None:
            super().__init__(config)
            self.bert = torch.nn.Linear(2, 2)
            self.dropout = torch.nn.Identity()

    bare = Encoder(
        kind=Bare, config=copy.deepcopy(encoder.config), weights=None, digest="", num_parameters=1
    )
    with pytest.raises(InputError, match=r"training.dropout: 'bare' has no dropout"):
        check_has_dropout(bare, ModelConfig(name="bare").name)
