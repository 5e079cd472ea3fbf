import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, TrainerCallback
from transformers import set_seed as set_all_seeds

from tests.training.toys import LABELS, VOCABULARY, toy_rows, toy_training
from training.batches import Batch, order_batches, pad
from training.schedule import schedule_of
from training.tokens import LabelledTokens
from training.trainer import WeightedTrainer, training_arguments

WEIGHTS = torch.tensor([0.05, 3.0, 40.0])  # very unequal on purpose


class _Gradients(TrainerCallback):
    """Keeps the gradients of each optimizer step."""

    def __init__(self) -> None:
        self.steps: list[list[torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        parameters = kwargs["model"].parameters()
        self.steps.append([p.grad.clone() for p in parameters if p.grad is not None])


class _Recording(WeightedTrainer):
    """Keeps the first two ids of each row it is given, which tell rows apart."""

    seen: list[list[int]]

    def compute_loss(self, model: torch.nn.Module, inputs: Batch, **kwargs: Any) -> Any:
        self.seen.append(inputs["input_ids"][:, 0].tolist())
        return super().compute_loss(model, inputs, **kwargs)


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


def _trainer(
    data: LabelledTokens,
    folder: Path,
    *,
    rows_at_once: int | None = None,
    kind: type[WeightedTrainer] = WeightedTrainer,
    **settings: Any,
) -> WeightedTrainer:
    training = toy_training(**({"max_grad_norm": 1e9, "warmup_steps": 0} | settings))
    trainer = kind(
        model=_model(),
        args=training_arguments(training, schedule_of(training, len(data)), output_dir=str(folder)),
        data=data,
        class_weights=WEIGHTS,
        pad_token_id=0,
        rows_at_once=rows_at_once,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _one_step(folder: Path, *, rows_at_once: int) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of one step over eight rows, in passes of fewer."""
    trainer = _trainer(toy_rows(8), folder, rows_at_once=rows_at_once, epochs=1, batch_size=8)
    kept = _Gradients()
    trainer.add_callback(kept)
    trainer.train()
    assert len(kept.steps) == trainer.state.global_step == 1
    return trainer.take_interval_loss(), kept.steps[0]


def _by_torch() -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of the same eight rows by torch's own weighted loss."""
    model, data = _model().train(), toy_rows(8)
    batch = pad(data.tokens, np.arange(8), pad_token_id=0)
    loss = torch.nn.CrossEntropyLoss(weight=WEIGHTS)(
        model(**batch).logits, torch.from_numpy(data.labels)
    )
    loss.backward()
    return loss.item(), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 7, 8, 100])
def test_loss_and_gradients_are_those_of_the_whole_batch_however_it_is_cut(
    tmp_path: Path, rows_at_once: int
) -> None:
    expected_loss, expected = _by_torch()
    loss, gradients = _one_step(tmp_path, rows_at_once=rows_at_once)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert len(gradients) == len(expected)
    assert max(float(gradient.abs().max()) for gradient in expected) > 1e-3
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_an_incomplete_last_step_weighs_its_own_rows_alone(tmp_path: Path) -> None:
    data = toy_rows(6)
    trainer = _trainer(data, tmp_path, rows_at_once=4, epochs=1, batch_size=8)
    untrained = copy.deepcopy(trainer.model)
    trainer.train()
    batch = pad(data.tokens, np.arange(6), pad_token_id=0)
    assert isinstance(untrained, torch.nn.Module)
    logits = untrained(**batch).logits
    expected = torch.nn.CrossEntropyLoss(weight=WEIGHTS)(logits, torch.from_numpy(data.labels))
    assert trainer.take_interval_loss() == pytest.approx(expected.item(), rel=1e-5)


def test_without_a_step_a_batch_is_weighed_by_itself(tmp_path: Path) -> None:
    data = toy_rows(8)
    trainer = _trainer(data, tmp_path, epochs=1, batch_size=8)
    assert isinstance(trainer.model, torch.nn.Module)
    batch = pad(data.tokens, np.arange(8), pad_token_id=0)
    labels = {"labels": torch.from_numpy(data.labels)}
    found = trainer.compute_loss(trainer.model, batch | labels, return_outputs=True)
    assert isinstance(found, tuple)
    loss, outputs = found
    expected = torch.nn.CrossEntropyLoss(weight=WEIGHTS)(outputs.logits, labels["labels"])
    torch.testing.assert_close(loss, expected)


def test_the_interval_loss_is_the_mean_over_steps_and_starts_anew(tmp_path: Path) -> None:
    # A rate so small that nothing is learnt: every epoch's one step has the loss of the first.
    trainer = _trainer(toy_rows(8), tmp_path, epochs=3, batch_size=8, learning_rate=1e-12)
    trainer.train()
    assert trainer.take_interval_loss() == pytest.approx(_by_torch()[0], rel=1e-4)
    assert np.isnan(trainer.take_interval_loss())


def test_each_epoch_sees_its_own_order_of_rows(tmp_path: Path) -> None:
    data = toy_rows(20)
    starts = data.tokens.offsets
    data.tokens.ids[starts] = np.arange(20)  # the first id of each row is its number
    trainer = _trainer(data, tmp_path, kind=_Recording, epochs=3, batch_size=8, seed=11)
    assert isinstance(trainer, _Recording)
    trainer.seen = []
    trainer.train()
    expected = [
        rows.tolist()
        for epoch in range(3)
        for rows in order_batches(data.tokens.lengths, batch_size=8, seed=11, epoch=epoch)
    ]
    assert trainer.seen == expected
    assert expected[:3] != expected[3:6]


def test_gradients_are_clipped_to_the_configured_norm(tmp_path: Path) -> None:
    def norm(limit: float) -> float:
        trainer = _trainer(toy_rows(8), tmp_path, epochs=1, batch_size=8, max_grad_norm=limit)
        kept = _Gradients()
        trainer.add_callback(kept)
        trainer.train()
        return float(torch.cat([gradient.flatten() for gradient in kept.steps[0]]).norm())

    assert norm(1e9) > 0.1
    assert norm(0.1) == pytest.approx(0.1, rel=1e-3)


def test_biases_and_layer_norms_have_no_weight_decay(tmp_path: Path) -> None:
    trainer = _trainer(toy_rows(8), tmp_path, epochs=1, batch_size=8, weight_decay=0.3)
    optimizer = trainer.create_optimizer()
    named = {id(p): name for name, p in trainer.model.named_parameters()}  # type: ignore[union-attr]
    decay = {
        named[id(p)]: group["weight_decay"]
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert len(decay) == len(named)
    for name, value in decay.items():
        assert value == (0 if name.endswith("bias") or "LayerNorm" in name else 0.3), name


def test_nothing_is_saved_or_reported_by_the_trainer_itself(tmp_path: Path) -> None:
    _trainer(toy_rows(8), tmp_path, epochs=1, batch_size=8).train()
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("rows_at_once", "step"), [(None, 2), (None, 3), (None, 8), (4, 1), (3, 4)]
)
def test_a_training_goes_on_from_a_snapshot_with_the_rows_that_were_left(
    tmp_path: Path, rows_at_once: int | None, step: int
) -> None:
    data = toy_rows(20)
    data.tokens.ids[data.tokens.offsets] = np.arange(20)  # the first id of each row is its number
    settings: dict[str, Any] = {"kind": _Recording, "epochs": 3, "batch_size": 8}

    def fresh() -> _Recording:
        trainer = _trainer(data, tmp_path, rows_at_once=rows_at_once, **settings)
        assert isinstance(trainer, _Recording)
        trainer.seen = []
        return trainer

    whole, kept = fresh(), _Snapshots(step)
    kept.trainer = whole
    whole.add_callback(kept)
    whole.train()
    assert whole.state.global_step == 9
    rest = fresh()
    rest.go_on(kept.found)
    assert kept.found == {}  # its memory is free
    assert rest.state.global_step == 9
    assert rest.seen == whole.seen[kept.batches :]
    assert rest.take_interval_loss() == whole.take_interval_loss()
    for ours, theirs in zip(rest.model.parameters(), whole.model.parameters(), strict=True):  # type: ignore[union-attr]
        assert ours.equal(theirs)


class _Snapshots(TrainerCallback):
    """Keeps a copy of the snapshot of one step."""

    trainer: _Recording
    found: dict[str, Any]
    batches: int

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.found = copy.deepcopy(self.trainer.snapshot())
            self.batches = len(self.trainer.seen)
