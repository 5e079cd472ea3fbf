"""Work that does not fit into the memory of a (fake) device is repeated in micro-batches."""

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pynvml
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from tests.faults.fakes import Moment, card, device_memory_for
from tests.training.models import VOCABULARY, toy_rows, toy_task, toy_training
from training.batches import Batch, Padding
from training.config import ModelConfig
from training.device import cap_memory, context_memory, kind_of_device, most_reserved_memory
from training.errors import InputError, TrainingStoppedError
from training.finetune import FineTuned, Task, finetune
from training.inference import Inference, log_probabilities
from training.metrics import Evaluation
from training.micro_batches import halve_on_out_of_memory
from training.optimizer_step import OptimizerStep

ROWS = 70  # 4 batches of 16 and one of 6
EVALUATE_AT = (32, 70, 140)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Without dropout, whose random numbers depend on the micro-batches."""
    directory = tmp_path_factory.mktemp("bert")
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    task = toy_task(ROWS, model=ModelConfig(name=str(directory), max_length=16))
    return replace(task, encoder=task.read_encoder())  # where memory does not run out


def _tuned(task: Task, **settings: Any) -> FineTuned:
    # A low rate: at a high one rounding grows from step to step.
    training = toy_training(epochs=2, learning_rate=1e-3)
    return finetune(task, training, **({"evaluate_at": EVALUATE_AT} | settings))


@pytest.fixture(scope="module")
def whole(task: Task) -> FineTuned:
    return _tuned(task)


def _assert_nearly_the_same(found: FineTuned, whole: FineTuned) -> None:
    for one, other in zip(found.evaluations, whole.evaluations, strict=True):
        assert one.examples == other.examples
        assert one.learning_rate == other.learning_rate
        assert one.f1_macro == other.f1_macro
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.eval_loss == pytest.approx(other.eval_loss, rel=1e-4)
    theirs = whole.model.state_dict()
    for name, tensor in found.model.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4)


def _is_equal(one: FineTuned, other: FineTuned) -> bool:
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return all(ours[name].equal(theirs[name]) for name in ours)


def _untimed(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    return [replace(evaluation, seconds=0.0) for evaluation in evaluations]


@pytest.mark.parametrize("at", ["forward", "backward"])
@pytest.mark.parametrize(("fit", "sizes"), [(15, [8]), (5, [8, 4]), (2, [8, 4, 2])])
def test_a_training_that_does_not_fit_is_the_same_in_micro_batches(
    whole: FineTuned, task: Task, at: Moment, fit: int, sizes: list[int]
) -> None:
    reported: list[int] = []
    with device_memory_for(fit, at=at) as failed:
        found = _tuned(task, on_micro_batch_size=reported.append)
    assert reported == sizes
    assert len(failed) == len(sizes)  # the lower number holds for the rest of the training
    _assert_nearly_the_same(found, whole)
    # Nothing of the failed attempts is left: neither gradients nor loss.
    small = _tuned(task, micro_batch_size=sizes[-1])
    assert _is_equal(found, small)
    assert _untimed(found.evaluations) == _untimed(small.evaluations)


def test_odd_sizes_are_halved_upwards_from_the_rows_of_the_batch(task: Task) -> None:
    reported: list[int] = []
    with device_memory_for(1) as failed:
        _tuned(task, micro_batch_size=7, on_micro_batch_size=reported.append)
    assert failed == [7, 4, 2]
    assert reported == [4, 2, 1]
    reported.clear()
    with device_memory_for(3) as failed:  # fewer rows than the limit of before
        _tuned(
            replace(task, train=toy_rows(5)), evaluate_at=[5], on_micro_batch_size=reported.append
        )
    assert failed == [5]
    assert reported == [3]


def test_only_one_row_that_does_not_fit_is_an_error(task: Task) -> None:
    reported: list[int] = []
    with device_memory_for(0), pytest.raises(torch.OutOfMemoryError, match="fake: 1 rows"):
        _tuned(task, on_micro_batch_size=reported.append)
    assert reported == [8, 4, 2, 1]


def test_each_lowering_is_a_warning(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    with device_memory_for(4):
        _tuned(task)
    lines = [r.getMessage() for r in caplog.records if r.name == "training.micro_batches"]
    assert [line.split(": ")[1] for line in lines] == [
        "micro-batches of 8 rows from here on",
        "micro-batches of 4 rows from here on",
    ]
    assert all("training step" in line for line in lines)


def test_order_and_number_of_rows_in_a_step_do_not_change(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    computed = OptimizerStep._summed_loss

    def note_labels(self: OptimizerStep, part: Batch) -> torch.Tensor:
        loss = computed(self, part)
        seen.append(part["labels"].tolist())  # only of micro-batches that fit
        return loss

    monkeypatch.setattr(OptimizerStep, "_summed_loss", note_labels)
    _tuned(task)
    batches = list(seen)
    seen.clear()
    with device_memory_for(5):
        _tuned(task)
    assert [len(part) for part in seen[:4]] == [4] * 4
    assert [len(part) for part in seen[16:18]] == [4, 2]  # the incomplete last batch
    assert [label for part in seen for label in part] == [
        label for batch in batches for label in batch
    ]


def test_a_repeated_step_starts_with_the_same_random_state() -> None:
    dropped = toy_task(ROWS)
    with device_memory_for(8, at="backward"):  # the failed attempt has used random numbers
        found = _tuned(dropped)
    assert _is_equal(found, _tuned(dropped, micro_batch_size=8))
    assert not _is_equal(found, _tuned(dropped))


@pytest.mark.parametrize("fit", [31, 3, 1])
def test_an_evaluation_that_does_not_fit_has_the_same_scores(
    whole: FineTuned, task: Task, fit: int
) -> None:
    with device_memory_for(fit, at="evaluation") as failed:
        found = _tuned(task)
    _assert_nearly_the_same(found, whole)
    assert _is_equal(found, whole)  # training saw nothing of it
    assert found.fixed_rows_loss == pytest.approx(whole.fixed_rows_loss, rel=1e-5)
    halvings = [32, 16, 8, 4, 2]
    assert failed == halvings[: len(failed)]  # the first evaluation found what fits
    assert halvings[len(failed) :] == [] or halvings[len(failed)] <= fit


def test_an_evaluation_of_which_one_row_does_not_fit_is_an_error(whole: FineTuned) -> None:
    inference = Inference(model=whole.model, batch_size=4, padding=Padding(token_id=0))
    with device_memory_for(0, at="evaluation"), pytest.raises(torch.OutOfMemoryError):
        inference.log_probabilities(toy_rows(6).tokens)


def test_a_smaller_batch_of_an_evaluation_changes_no_probability(whole: FineTuned) -> None:
    tokens = toy_rows(50).tokens
    inference = Inference(model=whole.model, batch_size=64, padding=Padding(token_id=0))
    with device_memory_for(7, at="evaluation"):
        found = inference.log_probabilities(tokens)
    expected = log_probabilities(whole.model, tokens, batch_size=64, padding=Padding(token_id=0))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert inference.batch_size == 7


def test_a_resumed_training_uses_the_micro_batch_size_that_fits_then(
    whole: FineTuned, task: Task, tmp_path: Path
) -> None:
    small = _tuned(task, micro_batch_size=4)
    with pytest.raises(TrainingStoppedError), device_memory_for(4):
        _tuned(task, checkpoint=tmp_path, should_stop=_after(3))
    assert _is_equal(_tuned(task, checkpoint=tmp_path, micro_batch_size=4), small)
    with pytest.raises(TrainingStoppedError), device_memory_for(4):
        _tuned(task, checkpoint=tmp_path / "other", should_stop=_after(7))
    elsewhere = _tuned(task, checkpoint=tmp_path / "other")  # on a larger device
    _assert_nearly_the_same(elsewhere, whole)
    assert not _is_equal(elsewhere, small)


def _after(number: int) -> Any:
    calls: list[int] = []
    return lambda: bool(calls.append(1)) or len(calls) == number


def test_a_failed_attempt_is_let_go_before_the_next() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    left: list[int] = []

    def work(rows: int) -> int:
        left.append(sum(tensor() is not None for tensor in alive))
        held = torch.zeros(rows)
        alive.append(weakref.ref(held))
        if rows > 2:
            raise torch.OutOfMemoryError
        return rows

    assert halve_on_out_of_memory(work, size=9, on_retry=lambda _: None, name="a test") == 2
    assert left == [0, 0, 0, 0]


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    calls: list[int] = []

    def work(rows: int) -> None:
        calls.append(rows)
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        halve_on_out_of_memory(work, size=8, on_retry=lambda _: None, name="a test")
    assert calls == [8]


@pytest.mark.parametrize("how", ["listener", "stop", "memory"])
def test_after_an_error_neither_model_nor_rows_nor_optimizer_stay_in_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    kept: list[weakref.ref[Any]] = []
    start = OptimizerStep.start

    def note(self: OptimizerStep, *args: Any, **settings: Any) -> None:
        start(self, *args, **settings)
        kept.extend(weakref.ref(thing) for thing in (self, self.model, self._optimizer))
        kept.extend(weakref.ref(parameter) for parameter in self.model.parameters())

    monkeypatch.setattr(OptimizerStep, "start", note)
    _fail(how, tmp_path)
    gc.collect()
    assert len(kept) > 10
    assert [ref() for ref in kept if ref() is not None] == []


def _fail(how: str, checkpoint: Path) -> None:
    def fail_if_listener(_: Evaluation) -> None:
        if how == "listener":
            raise LookupError

    try:
        with device_memory_for(0 if how == "memory" else 100):
            _tuned(
                toy_task(ROWS),
                on_evaluation=fail_if_listener,
                checkpoint=checkpoint,
                should_stop=_after(3) if how == "stop" else lambda: False,
            )
    except (LookupError, TrainingStoppedError, torch.OutOfMemoryError):
        return
    pytest.fail("the training was not interrupted")


GIB = 2**30


def test_a_share_is_capped_at_what_is_left_of_it_beside_the_process_s_own_context() -> None:
    with card(total=80 * GIB, context=GIB // 2, others=40 * GIB) as capped:
        cap_memory(0.25)
    assert capped == [pytest.approx(0.25 - 0.5 / 80)]


def test_four_shares_with_their_contexts_fill_a_card_and_no_more() -> None:
    with card(total=8 * GIB, context=GIB // 4, others=0) as capped:
        cap_memory(0.25)
    assert 4 * (capped[0] * 8 * GIB + GIB // 4) == pytest.approx(8 * GIB)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_whole_card_and_none_are_not_capped(share: float) -> None:
    with card(total=80 * GIB, context=GIB // 2, others=0) as capped:
        cap_memory(share)
    assert capped == []


def test_without_a_card_nothing_is_capped_or_reported() -> None:
    cap_memory(0.25)
    assert (kind_of_device(0.25), most_reserved_memory()) == ("cpu", None)


@pytest.mark.parametrize(("others", "taken"), [(0, GIB // 2), (30 * GIB, GIB)])
def test_a_container_that_does_not_see_its_process_takes_at_most_a_gibibyte_for_its_context(
    others: int, taken: int
) -> None:
    with card(total=80 * GIB, context=GIB // 2, others=others, sees_itself=False):
        assert context_memory() == taken


def test_a_driver_that_reports_nothing_is_no_error() -> None:
    silent = mock.patch.object(pynvml, "nvmlInit", side_effect=pynvml.NVMLError(1))
    with card(total=80 * GIB, context=GIB // 2, others=0), silent:
        assert context_memory() == GIB // 2


def test_a_share_that_the_context_alone_takes_is_an_error() -> None:
    with (
        card(total=8 * GIB, context=GIB, others=0) as capped,
        pytest.raises(InputError, match=r"gpus_per_trial is 0\.1, .* \(819 MiB\) .* \(1,024 MiB\)"),
    ):
        cap_memory(0.1)
    assert capped == []


def test_a_part_of_a_card_is_a_kind_of_its_own() -> None:
    with card(total=80 * GIB, context=GIB // 2, others=0):
        assert kind_of_device() == "Fake GPU"
        assert kind_of_device(0.25) == "0.25 of Fake GPU"
        assert most_reserved_memory() == 2 * (GIB // 20)
