"""Steps run from graphs of the device; without one a fake graph runs the same function again."""

import logging
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from tests.training.fake_graphs import FakeModelCache
from tests.training.interrupted import saved_model
from tests.training.models import toy_task, toy_training
from training.cuda_graphs import Replay, width_of
from training.finetune import FineTuned, Task, finetune
from training.model_cache import ModelCache
from training.optimizer_step import OptimizerStep

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


class FakeGraphs:
    """A fake of CUDA graphs where there is no GPU: it records by name and replays by calling.

    What it can show: which steps are recorded and replayed, and what follows a failure. What it
    cannot: that a step reads a plain number (`tests.training.fake_graphs` burns them in), and that
    CUDA can capture the step.
    """

    def __init__(self, *, fails_at: int | None = None) -> None:
        """Fail the capture of that number, after the step has been run as far as to its end."""
        self.recorded = self.replayed = 0
        self.is_replaying = False
        self._fails_at = fails_at

    def __call__(self, function: Callable[[], None]) -> Replay:
        self.recorded += 1
        if self.recorded == self._fails_at:
            with patch.object(OptimizerStep, "_update", _refuse):
                function()

        def replay() -> None:
            self.replayed += 1
            self.is_replaying = True
            function()
            self.is_replaying = False

        return replay


def _refuse(*_: object) -> None:
    """Gradients are there, and are not used."""
    raise RuntimeError("fake: operation not permitted when stream is capturing")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Without dropout, whose random numbers depend on the length of rows."""
    model = saved_model(
        tmp_path_factory.mktemp("bert"),
        "bert",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return toy_task(model=model)


def _tuned(task: Task, model_cache: ModelCache | None = None, **settings: Any) -> FineTuned:
    training = toy_training(**({"learning_rate": 1e-3} | settings))
    return finetune(task, training, evaluate_at=[320, 640, 960], model_cache=model_cache)


def _assert_alike(found: FineTuned, plain: FineTuned) -> None:
    """Equal but for rounding, which other padding changes."""
    for one, other in zip(found.evaluations, plain.evaluations, strict=True):
        assert one.examples == other.examples
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)
        assert one.eval_loss == pytest.approx(other.eval_loss, rel=2e-3)
    assert found.evaluations[-1].f1_macro == pytest.approx(plain.evaluations[-1].f1_macro, abs=0.02)


@pytest.mark.parametrize(
    ("longest", "most", "width"),
    [
        *[(1, 128, 8), (8, 128, 8), (9, 128, 16), (64, 128, 64), (65, 128, 80), (127, 128, 128)],
        *[(126, 126, 126), (14, 16, 16), (15, 15, 15), (500, 512, 512)],
    ],
)
def test_batches_are_widened_to_few_lengths_and_never_beyond_the_model(
    longest: int, most: int, width: int
) -> None:
    assert width_of(longest, most=most) == width


@pytest.fixture(scope="module")
def plain(task: Task) -> FineTuned:
    return _tuned(task)


def test_a_training_from_graphs_is_the_one_without(task: Task, plain: FineTuned) -> None:
    graphs = FakeGraphs()
    found = _tuned(task, FakeModelCache(graphs))
    # Rows have 5 to 14 tokens: lengths 8 and 16, 60 steps; the first of each length runs as it is.
    assert graphs.recorded <= 2
    assert graphs.replayed >= 60 - 2
    _assert_alike(found, plain)


def test_graphs_serve_the_next_training_whatever_its_hyperparameters(
    task: Task, plain: FineTuned
) -> None:
    graphs = FakeGraphs()
    model_cache = FakeModelCache(graphs)
    _tuned(task, model_cache, learning_rate=5e-3, max_grad_norm=0.1, class_weights="none")
    recorded, replayed = graphs.recorded, graphs.replayed
    found = _tuned(task, model_cache)
    assert graphs.recorded == recorded
    assert graphs.replayed == replayed + 60
    _assert_alike(found, plain)


def test_once_the_weight_decay_differs_it_is_no_longer_a_part_of_the_graph(task: Task) -> None:
    graphs = FakeGraphs()
    model_cache = FakeModelCache(graphs)
    settings = {"weight_decay": 0.9}
    _tuned(task, model_cache, weight_decay=0.0)
    before = graphs.recorded
    _assert_alike(_tuned(task, model_cache, **settings), _tuned(task, **settings))
    after = graphs.recorded
    assert after > before
    found = _tuned(task, model_cache, weight_decay=0.5)
    assert graphs.recorded == after
    _assert_alike(found, _tuned(task, weight_decay=0.5))


def test_a_step_that_cannot_be_captured_is_taken_without_a_graph_and_reported_once(
    task: Task, plain: FineTuned, caplog: pytest.LogCaptureFixture
) -> None:
    graphs = FakeGraphs(fails_at=2)
    model_cache = FakeModelCache(graphs)
    with caplog.at_level(logging.WARNING, "training"):
        found = _tuned(task, model_cache)
        again = _tuned(task, model_cache)
    assert graphs.recorded == 2
    (warning,) = [record for record in caplog.records if record.name == "training.cuda_graphs"]
    assert "not permitted when stream is capturing" in warning.getMessage()
    for training in (found, again):
        _assert_alike(training, plain)


def test_steps_in_micro_batches_are_not_captured(task: Task) -> None:
    graphs = FakeGraphs()
    finetune(
        task,
        toy_training(epochs=1),
        evaluate_at=[320],
        micro_batch_size=8,
        model_cache=FakeModelCache(graphs),
    )
    assert graphs.recorded == 0


def test_where_memory_runs_out_graphs_are_given_up_before_steps_become_smaller(
    task: Task, plain: FineTuned
) -> None:
    graphs, reported = FakeGraphs(), []
    model_cache = FakeModelCache(graphs)
    _tuned(task, model_cache)
    assert model_cache.captured is not None
    failed: list[int] = []

    def fail_once(module: torch.nn.Module, _: object) -> None:
        # A graph has its memory; a model that is read is tried without gradients.
        is_plain = torch.is_grad_enabled() and module.training and not graphs.is_replaying
        if isinstance(module, torch.nn.Embedding) and is_plain and not failed:
            failed.append(1)
            raise torch.OutOfMemoryError("fake")

    with torch.nn.modules.module.register_module_forward_pre_hook(fail_once):
        shape = next(iter(model_cache.captured._graphs))
        del model_cache.captured._graphs[shape]  # its next step is a plain one
        model_cache.captured._ran.discard(shape)
        found = finetune(
            task,
            toy_training(learning_rate=1e-3),
            evaluate_at=[320, 640, 960],
            model_cache=model_cache,
            on_micro_batch_size=reported.append,
        )
    assert failed == [1]
    assert reported == []
    assert model_cache.captured.is_refused
    _assert_alike(found, plain)


@on_a_gpu
def test_captured_steps_have_the_loss_of_plain_ones_over_200_steps(task: Task) -> None:
    settings: dict[str, Any] = {"learning_rate": 1e-4, "epochs": 10, "precision": "float32"}
    model_cache = ModelCache()
    captured = _tuned(task, model_cache, **settings)
    (built,) = model_cache._models.values()
    steps = built.optimizer_step._graphs
    assert steps is not None
    assert steps.give_up()  # there were graphs
    plain = _tuned(task, ModelCache(), cuda_graphs=False, **settings)
    for one, other in zip(captured.evaluations, plain.evaluations, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-3)


@on_a_gpu
def test_captured_trainings_score_as_plain_ones_over_five_seeds(task: Task) -> None:
    def scores(*, captures: bool) -> list[float]:
        tuned = [_tuned(task, ModelCache(), cuda_graphs=captures, seed=seed) for seed in range(5)]
        return [training.evaluations[-1].f1_macro for training in tuned]

    captured, plain = scores(captures=True), scores(captures=False)
    error = np.std(np.subtract(captured, plain), ddof=1) / np.sqrt(5)
    assert abs(np.mean(captured) - np.mean(plain)) <= 2 * error + 1e-9
