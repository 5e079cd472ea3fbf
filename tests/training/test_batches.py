from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification

from tests.training.models import table_of_lengths, toy_rows
from training.batches import Padding, order_batches, pad, training_batches, widen
from training.inference import log_probabilities
from training.micro_batches import split_batch
from training.schedule import Schedule

SEVEN = Schedule(num_rows=7, batch_size=7, epochs=1)


def _order(lengths: list[int], epoch: int = 0, seed: int = 1, size: int = 4) -> list[list[int]]:
    batches = order_batches(np.array(lengths), batch_size=size, seed=seed, epoch=epoch)
    return [batch.tolist() for batch in batches]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 128), min_size=1, max_size=700),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 50),
)
def test_each_row_comes_once_an_epoch_and_the_incomplete_batch_last(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    batches = _order(lengths, epoch, seed, batch_size)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert batches == _order(lengths, epoch, seed, batch_size)


def test_the_order_does_not_depend_on_the_global_generators() -> None:
    lengths = [5] * 40
    np.random.seed(1)
    torch.manual_seed(1)
    first = _order(lengths)
    np.random.seed(2)
    torch.manual_seed(2)
    assert _order(lengths) == first


def test_another_epoch_and_another_seed_give_another_order() -> None:
    lengths = list(range(2, 102))
    assert _order(lengths, epoch=0) != _order(lengths, epoch=1)
    assert _order(lengths, seed=1) != _order(lengths, seed=2)


def test_rows_of_like_length_stand_together_while_batches_come_in_no_order_of_length() -> None:
    lengths = np.random.default_rng(0).integers(4, 128, 2000)
    batches = order_batches(lengths, batch_size=16, seed=1, epoch=0)
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 10  # a batch of random rows would span about 110
    longest = [lengths[batch].max() for batch in batches[:-1]]
    assert abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.3


def test_a_batch_is_padded_to_its_own_longest_row_and_masked_there() -> None:
    batch = pad(table_of_lengths([3, 9, 1, 2]), np.array([3, 0, 2]), padding=Padding(token_id=7))
    assert batch["input_ids"].tolist() == [[4, 4, 7], [1, 1, 1], [3, 7, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == torch.int64


def test_a_batch_is_cut_in_order_and_each_part_padded_to_its_own_longest_row() -> None:
    data = toy_rows(7)
    (batch,) = training_batches(data, schedule=SEVEN, seed=5, padding=Padding(token_id=0))
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    parts = split_batch(batch, size=3)
    assert [len(part["labels"]) for part in parts] == [3, 3, 1]
    assert torch.cat([part["labels"] for part in parts]).equal(batch["labels"])
    for number, part in enumerate(parts):
        rows = slice(3 * number, 3 * number + 3)
        longest = max(lengths[rows])
        assert part["input_ids"].equal(batch["input_ids"][rows, :longest])
        assert part["attention_mask"].equal(batch["attention_mask"][rows, :longest])
    assert parts[0]["input_ids"].shape[1] < batch["input_ids"].shape[1]


@pytest.mark.parametrize("rows", [7, 8])
def test_a_batch_that_need_not_be_cut_is_the_same_object(rows: int) -> None:
    (batch,) = training_batches(toy_rows(7), schedule=SEVEN, seed=5, padding=Padding(token_id=0))
    (part,) = split_batch(batch, size=rows)
    assert part is batch


@pytest.mark.parametrize("first_step", [0, 3, 7, 9, 20])
def test_a_training_sees_each_epochs_order_with_labels_from_any_step_on(first_step: int) -> None:
    data = toy_rows(50)
    schedule = Schedule(num_rows=50, batch_size=8, epochs=3)
    expected = [
        rows
        for epoch in range(3)
        for rows in order_batches(data.tokens.lengths, batch_size=8, seed=5, epoch=epoch)
    ]
    found = list(
        training_batches(
            data, schedule=schedule, seed=5, padding=Padding(token_id=0), first_step=first_step
        )
    )
    assert len(found) == schedule.total_steps - first_step
    for batch, rows in zip(found, expected[first_step:], strict=True):
        assert batch["labels"].tolist() == data.labels[rows].tolist()
        assert batch["attention_mask"].sum(dim=1).tolist() == data.tokens.lengths[rows].tolist()


def test_a_widened_batch_has_the_same_rows_and_masks_the_rest() -> None:
    batch = pad(table_of_lengths([3, 1]), np.array([0, 1]), padding=Padding(token_id=7))
    wide = widen(batch | {"labels": torch.tensor([0, 1])}, 5, padding=Padding(token_id=7))
    assert wide["input_ids"].tolist() == [[1, 1, 1, 7, 7], [2, 7, 7, 7, 7]]
    assert wide["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]
    assert wide["labels"].tolist() == [0, 1]
    assert widen(batch, 3, padding=Padding(token_id=7)) is batch


def test_on_the_left_rows_end_together_and_parts_and_wider_ones_do_too() -> None:
    left = Padding(token_id=7, is_left=True)
    batch = pad(table_of_lengths([3, 1, 2]), np.array([0, 1, 2]), padding=left)
    assert batch["input_ids"].tolist() == [[1, 1, 1], [7, 7, 2], [7, 3, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1], [0, 1, 1]]
    wide = widen(batch, 5, padding=left)
    assert wide["input_ids"].tolist()[1] == [7, 7, 7, 7, 2]
    assert wide["attention_mask"].tolist()[2] == [0, 0, 0, 1, 1]
    first, second = split_batch(wide, size=2)
    assert first["input_ids"].tolist() == [[1, 1, 1], [7, 7, 2]]
    assert second["input_ids"].tolist() == [[3, 3]]
    assert second["attention_mask"].tolist() == [[1, 1]]


LENGTHS = [3, 11, 1, 7, 7, 2, 30, 5]


@pytest.fixture(scope="module")
def model(small_bert: Path) -> torch.nn.Module:
    found: torch.nn.Module = AutoModelForSequenceClassification.from_pretrained(small_bert)
    return found


def test_each_row_has_its_own_probabilities_whatever_it_is_batched_with(
    model: torch.nn.Module,
) -> None:
    table = table_of_lengths(LENGTHS)
    alone = []
    with torch.no_grad():
        for row in range(len(table)):
            ids = torch.from_numpy(table.row(row).astype(np.int64))[None]
            alone.append(torch.log_softmax(model(input_ids=ids).logits[0].double(), 0).numpy())
    for batch_size in (1, 3, 100):
        found = log_probabilities(model, table, batch_size=batch_size, padding=Padding(token_id=0))
        np.testing.assert_allclose(found, np.array(alone), atol=1e-6)
    assert np.ptp([row[0] for row in alone]) > 1e-3  # rows do differ


def test_probabilities_of_a_row_sum_to_one_in_double_precision(model: torch.nn.Module) -> None:
    found = log_probabilities(
        model, table_of_lengths(LENGTHS), batch_size=4, padding=Padding(token_id=0)
    )
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-12)


def test_inference_leaves_the_model_in_evaluation_mode(
    model: torch.nn.Module,
) -> None:
    model.train()
    log_probabilities(model, table_of_lengths([3]), batch_size=4, padding=Padding(token_id=0))
    assert not model.training


def test_bfloat16_gives_nearly_the_same(model: torch.nn.Module) -> None:
    table = table_of_lengths(LENGTHS)
    exact = log_probabilities(model, table, batch_size=4, padding=Padding(token_id=0))
    rough = log_probabilities(
        model, table, batch_size=4, padding=Padding(token_id=0), bfloat16=True
    )
    assert not np.array_equal(exact, rough)
    np.testing.assert_allclose(exact, rough, atol=0.05)
