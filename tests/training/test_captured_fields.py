"""Every field that a captured step reads is in a tensor or in the key of its graph."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError

from tests.training.fake_graphs import BurningGraphs, FakeModelCache
from tests.training.interrupted import saved_model
from tests.training.models import toy_task, toy_training
from training.config import SEARCHED, DataConfig, ModelConfig, Section, TrainingConfig
from training.cuda_graphs import Record, Replay
from training.finetune import Task, finetune
from training.optimizer_step import OptimizerStep

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="on a GPU sums do not repeat to the last bit"
)

Weights = dict[str, torch.Tensor]
FIELDS = TrainingConfig.model_fields

CHANGES_NO_WEIGHTS = {
    "eval_batch_size": "rows of an evaluation",
    "early_stopping_patience": "the end of a training",
    "cuda_graphs": "how steps run: steps of another model cache",
}
"""Fields that are no part of a step: reason. None of them is searched."""

VALUES: dict[str, tuple[Any, Any]] = {
    "max_grad_norm": (1.0, 0.01),
    "weight_decay": (0.0, 0.9),
    "precision": ("float32", "bfloat16"),
    "batch_size": (16, 8),
}
"""Two values of a field for which those that are found by its type do not do."""


def _types(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of, without marks and null."""
    if get_origin(annotation) is Annotated:
        yield from _types(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _types(part)
    elif annotation is not type(None):
        yield annotation


def _inside(name: str) -> float | None:
    """A number between the bounds of a field."""
    bounds: dict[type, Any] = {type(mark): mark for mark in FIELDS[name].metadata}
    low = [getattr(bounds[kind], kind.__name__.lower()) for kind in (Ge, Gt) if kind in bounds]
    high = [getattr(bounds[kind], kind.__name__.lower()) for kind in (Le, Lt) if kind in bounds]
    return (low[0] + high[0]) / 2 if low and high else None


def _candidates(name: str, present: Any) -> Iterator[Any]:
    for kind in _types(FIELDS[name].annotation):
        if get_origin(kind) is Literal:
            yield from get_args(kind)
        elif kind is bool:
            yield not present
        elif kind is int:
            yield from (2 * (present or 1), (present or 1) + 1)
        elif kind is float:
            yield from (present / 2 if present else _inside(name), 0.5)


def _is_allowed(name: str, value: Any) -> bool:
    try:
        toy_training(**{name: value})
    except ValidationError:
        return False
    return True


def values_of(name: str) -> tuple[Any, Any]:
    """Two values of a field."""
    if name in VALUES:
        return VALUES[name]
    present = getattr(toy_training(), name)
    for other in _candidates(name, present):
        if other != present and _is_allowed(name, other):
            return present, other
    pytest.fail(f"training.{name}: no second value follows from its type; give two in VALUES")


class CallingGraphs:
    """Holds no graph: what is to be replayed is run again as it is."""

    def __call__(self, function: Any) -> Replay:
        return lambda: function()


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """With dropout, and an encoder that is read once."""
    model = saved_model(tmp_path_factory.mktemp("bert"), "bert")
    task = toy_task(96, model=model)
    return toy_task(96, model=model, encoder=task.read_encoder())


def _weights(task: Task, training: TrainingConfig, model_cache: FakeModelCache) -> Weights:
    tuned = finetune(task, training, evaluate_at=[96], model_cache=model_cache)
    return {name: tensor.clone() for name, tensor in tuned.model.state_dict().items()}


def _are_same(ones: Weights, others: Weights) -> bool:
    assert ones.keys() == others.keys()
    return all(ones[name].equal(others[name]) for name in ones)


def _served_in_turn(
    task: Task, name: str, graphs: Record, values: tuple[Any, ...]
) -> list[tuple[Weights, Weights]]:
    """Weights of trainings in one model cache, each beside those of the same one alone."""
    model_cache, pairs = FakeModelCache(graphs), []
    for value in values:
        training = toy_training(**({"learning_rate": 1e-3, "epochs": 2} | {name: value}))
        alone = _weights(task, training, FakeModelCache(CallingGraphs()))
        pairs.append((_weights(task, training, model_cache), alone))
    return pairs


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in CHANGES_NO_WEIGHTS])
def test_a_training_from_the_graphs_of_another_that_differs_in_a_field_is_as_alone(
    task: Task, name: str
) -> None:
    first, second = values_of(name)
    graphs = BurningGraphs()
    pairs = _served_in_turn(task, name, graphs, (first, second, first))
    assert graphs.replayed > graphs.recorded > 0
    for value, (found, alone) in zip((first, second, first), pairs, strict=True):
        assert _are_same(found, alone), f"training.{name} {value}: a step read another's value"
    assert not _are_same(pairs[0][0], pairs[1][0]), (
        f"training.{name}: {first} and {second} give the same weights; give other values in VALUES"
    )


def _searched(section: type[Section]) -> set[str]:
    return {name for name, field in section.model_fields.items() if SEARCHED in field.metadata}


def test_every_field_that_may_be_searched_is_walked() -> None:
    searched = _searched(TrainingConfig)
    assert not _searched(DataConfig) | _searched(ModelConfig)  # they have no values here
    assert {"learning_rate", "batch_size", "weight_decay"} <= searched
    assert not searched & set(CHANGES_NO_WEIGHTS)
    assert set(CHANGES_NO_WEIGHTS) | set(VALUES) <= set(FIELDS)


class _CarelessStep(OptimizerStep):
    """Clips to a plain number."""

    def start(self, training: TrainingConfig, *arguments: Any, **settings: Any) -> None:
        self._max_grad_norm = torch.zeros(())
        super().start(training, *arguments, **settings)
        self._max_grad_norm = training.max_grad_norm  # type: ignore[assignment]


def test_a_step_that_reads_a_plain_number_is_caught(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.model_cache.OptimizerStep", _CarelessStep)
    values = VALUES["max_grad_norm"]
    first, second = _served_in_turn(task, "max_grad_norm", BurningGraphs(), values)
    assert _are_same(*first)
    assert not _are_same(*second)
    # Where a graph is the function called again, the number is read anew and nothing is seen.
    for pair in _served_in_turn(task, "max_grad_norm", CallingGraphs(), values):
        assert _are_same(*pair)


class _ReplacingStep(OptimizerStep):
    """Puts the weights of classes in another tensor for each training."""

    def start(self, *arguments: Any, **settings: Any) -> None:
        self._class_weights = torch.zeros_like(self._class_weights)
        super().start(*arguments, **settings)


def test_a_step_that_reads_a_tensor_that_is_replaced_is_caught(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.model_cache.OptimizerStep", _ReplacingStep)
    values = values_of("class_weights")
    first, second = _served_in_turn(task, "class_weights", BurningGraphs(), values)
    assert _are_same(*first)
    assert not _are_same(*second)


def test_a_recorded_function_is_not_run_and_replays_with_its_numbers_and_present_tensors() -> None:
    read, written, factor = torch.ones(2), torch.zeros(2), [3.0]

    def step() -> None:
        written.add_(read * factor[0])

    replay = BurningGraphs()(step)
    assert written.tolist() == [0, 0]
    factor[0] = 100.0
    replay()
    assert written.tolist() == [3, 3]
    read.fill_(2)
    replay()
    assert written.tolist() == [9, 9]


def test_each_replay_has_new_random_numbers() -> None:
    sampled = torch.zeros(4)
    torch.manual_seed(5)

    def step() -> None:
        sampled.copy_(torch.rand(4))

    replay, found = BurningGraphs()(step), []
    for _ in range(2):
        replay()
        found.append(sampled.clone())
    torch.manual_seed(5)
    assert all(values.equal(torch.rand(4)) for values in found)


def test_a_function_that_waits_for_the_device_cannot_be_recorded() -> None:
    loss, total = torch.ones(()), torch.zeros(())

    def step() -> None:
        total.add_(1)
        float(loss)

    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        BurningGraphs()(step)
    assert total == 0
