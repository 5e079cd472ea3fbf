import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification
from transformers import set_seed as set_all_seeds

from tests.training.models import LABELS, VOCABULARY, toy_rows, toy_training
from training.batches import Batch, Padding, training_batches
from training.optimizer_step import OptimizerStep
from training.schedule import schedule_of
from training.tokens import LabelledTokens

WEIGHTS = np.array([0.05, 3.0, 40.0])  # very unequal on purpose


class _Watched(OptimizerStep):
    """Keeps the gradients of each step as they are before and after clipping."""

    def __init__(self, model: BertForSequenceClassification) -> None:
        super().__init__(model)
        self.before: list[torch.Tensor] = []
        self.after: list[torch.Tensor] = []
        self._optimizer.adamw.register_step_pre_hook(lambda *_: self._note(self.after))

    def _update(self, loss: torch.Tensor) -> None:
        self._note(self.before)
        super()._update(loss)

    def _note(self, kept: list[torch.Tensor]) -> None:
        scale = (
            1.0 if kept is self.before else float(getattr(self._optimizer.adamw, "grad_scale", 1.0))
        )
        kept[:] = [p.grad.clone() / scale for p in self._parameters if p.grad is not None]


def _model() -> BertForSequenceClassification:
    set_all_seeds(7)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=len(LABELS),
    )
    return BertForSequenceClassification(config)


def _started(*, micro_batch_size: int | None = None, **settings: Any) -> _Watched:
    optimizer_step = _Watched(_model())
    training = toy_training(**({"max_grad_norm": 1e9} | settings))
    optimizer_step.start(training, WEIGHTS, bfloat16=False, micro_batch_size=micro_batch_size)
    return optimizer_step


def _batch(data: LabelledTokens) -> Batch:
    """One forward pass of the whole batch."""
    training = toy_training(epochs=1, batch_size=len(data))
    (batch,) = training_batches(
        data, schedule=schedule_of(training, len(data)), seed=1, padding=Padding(token_id=0)
    )
    return batch


def _by_torch(batch: Batch) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of the same rows by torch's own weighted loss."""
    model = _model().train()
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    weights = torch.tensor(WEIGHTS, dtype=torch.float32)
    loss = torch.nn.CrossEntropyLoss(weight=weights)(model(**inputs).logits, batch["labels"])
    loss.backward()
    return loss.item(), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 7, 8, 100])
def test_loss_and_gradients_are_those_of_the_whole_batch_however_it_is_cut(
    micro_batch_size: int,
) -> None:
    batch = _batch(toy_rows(8))
    expected_loss, expected = _by_torch(batch)
    optimizer_step = _started(micro_batch_size=micro_batch_size)
    optimizer_step.step(batch, learning_rate=1e-3)
    assert optimizer_step.take_interval_loss() == pytest.approx(expected_loss, rel=1e-5)
    assert len(optimizer_step.before) == len(expected)
    assert max(float(gradient.abs().max()) for gradient in expected) > 1e-3
    for found, wanted in zip(optimizer_step.before, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_the_interval_loss_is_the_mean_over_steps_and_starts_anew() -> None:
    few, many = _batch(toy_rows(4)), _batch(toy_rows(8))
    optimizer_step = _started()
    for batch in (few, many, many):
        optimizer_step.step(batch, learning_rate=0.0)  # nothing is learnt
    expected = (_by_torch(few)[0] + 2 * _by_torch(many)[0]) / 3
    assert optimizer_step.take_interval_loss() == pytest.approx(expected, rel=1e-5)
    assert np.isnan(optimizer_step.take_interval_loss())


def test_gradients_are_clipped_to_the_configured_norm() -> None:
    def norm(limit: float) -> float:
        optimizer_step = _started(max_grad_norm=limit)
        optimizer_step.step(_batch(toy_rows(8)), learning_rate=1e-3)
        return float(torch.cat([gradient.flatten() for gradient in optimizer_step.after]).norm())

    assert norm(1e9) > 0.1
    assert norm(0.1) == pytest.approx(0.1, rel=1e-3)


def _one_step(gradients: str, **settings: Any) -> dict[str, torch.Tensor]:
    """Weights after a step of rate 0.1 whose gradients are as they are, or 0."""
    optimizer_step = _started(**settings)
    if gradients == "none":
        for parameter in optimizer_step.model.parameters():
            parameter.register_hook(torch.zeros_like)
    optimizer_step.step(_batch(toy_rows(8)), learning_rate=0.1)
    return {name: p.detach() for name, p in optimizer_step.model.named_parameters()}


def test_biases_and_layer_norms_have_no_weight_decay() -> None:
    before = dict(_model().named_parameters())
    after = _one_step("none", weight_decay=0.3)
    for name, weights in after.items():
        kept = 1.0 if name.endswith("bias") or "LayerNorm" in name else 1 - 0.1 * 0.3
        torch.testing.assert_close(weights, before[name].detach() * kept, msg=name)


def test_a_step_is_adamw_s_with_clipped_gradients() -> None:
    batch, model = _batch(toy_rows(8)), _model()
    weights = torch.tensor(WEIGHTS, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    optimizer_step = _started(weight_decay=0.0, max_grad_norm=0.5)
    for _ in range(3):
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        logits = model(**inputs).logits
        torch.nn.CrossEntropyLoss(weight=weights)(logits, batch["labels"]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        optimizer_step.step(batch, learning_rate=1e-2)
    # Not the weights: where a gradient is 0 but for rounding, Adam makes a step of that.
    with torch.no_grad():
        found, wanted = optimizer_step.model(**inputs).logits, model(**inputs).logits
        assert float((wanted - _model()(**inputs).logits).abs().max()) > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_a_second_training_starts_like_a_new_optimizer_step() -> None:
    batches = [_batch(toy_rows(8, seed=seed)) for seed in range(3)]
    start = copy.deepcopy(_model().state_dict())

    def train(optimizer_step: OptimizerStep) -> tuple[float, dict[str, torch.Tensor]]:
        for batch in batches:
            optimizer_step.step(batch, learning_rate=1e-2)
        return optimizer_step.take_interval_loss(), copy.deepcopy(optimizer_step.model.state_dict())

    loss, weights = train(_started(weight_decay=0.1))
    used = _started(max_grad_norm=0.3, weight_decay=0.5)
    used.step(batches[2], learning_rate=0.5)
    used.model.load_state_dict(start)
    used.start(toy_training(max_grad_norm=1e9, weight_decay=0.1), WEIGHTS, bfloat16=False)
    again, found = train(used)
    assert again == loss
    assert all(found[name].equal(weights[name]) for name in weights)


def test_after_a_snapshot_the_next_training_has_its_own_weight_decay() -> None:
    used = _started(weight_decay=0.5)
    used.step(_batch(toy_rows(8)), learning_rate=1e-2)
    used.restore(copy.deepcopy(used.snapshot()))
    used.start(toy_training(weight_decay=0.0), WEIGHTS, bfloat16=False)
    for parameter in used.model.parameters():
        parameter.register_hook(torch.zeros_like)
    before = {name: p.detach().clone() for name, p in used.model.named_parameters()}
    used.step(_batch(toy_rows(8)), learning_rate=0.1)
    assert all(p.equal(before[name]) for name, p in used.model.named_parameters())


@pytest.mark.parametrize(("micro_batch_size", "step"), [(None, 1), (None, 3), (3, 4)])
def test_a_training_goes_on_from_a_snapshot_as_if_there_had_been_no_break(
    micro_batch_size: int | None, step: int
) -> None:
    batches = [_batch(toy_rows(8, seed=seed)) for seed in range(6)]
    whole = _started(micro_batch_size=micro_batch_size)
    for batch in batches[:step]:
        whole.step(batch, learning_rate=1e-2)
    kept = copy.deepcopy(whole.snapshot())
    rest = _started(micro_batch_size=micro_batch_size)
    rest.restore(kept)
    for optimizer_step in (whole, rest):
        for batch in batches[step:]:
            optimizer_step.step(batch, learning_rate=1e-2)
    assert rest.take_interval_loss() == whole.take_interval_loss()
    for ours, theirs in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
        assert ours.equal(theirs)
