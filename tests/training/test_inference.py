from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.training.toys import table_of_lengths
from training.batches import Padding
from training.inference import log_probabilities

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


def test_the_model_is_looked_at_without_dropout_and_left_so(model: torch.nn.Module) -> None:
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
