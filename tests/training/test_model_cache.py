import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.interrupted import assert_same, saved_model
from tests.training.models import toy_task, toy_training
from training.encoder import Encoder
from training.finetune import FineTuned, Task, finetune
from training.model_cache import ModelCache


def _tuned(task: Task, model_cache: ModelCache | None, **settings: Any) -> FineTuned:
    training = toy_training(**({"epochs": 1} | settings))
    return finetune(task, training, evaluate_at=[160, 320], model_cache=model_cache)


def _task(directory: Path, kind: str) -> Task:
    model = toy_task().model if kind == "tiny" else saved_model(directory, kind)
    task = toy_task(model=model)
    return toy_task(model=model, encoder=task.read_encoder())


@pytest.mark.parametrize("kind", ["tiny", "bert", "nomic_bert", "distilbert"])
def test_trainings_in_one_process_are_as_each_in_its_own(tmp_path: Path, kind: str) -> None:
    task, model_cache = _task(tmp_path, kind), ModelCache()
    trainings: list[dict[str, Any]] = [
        {"learning_rate": 1e-2, "weight_decay": 0.3},
        {"batch_size": 32},
        {"seed": 7},
        {"seed": 7, "max_grad_norm": 0.1},
        {"learning_rate": 1e-2, "weight_decay": 0.3, "class_weights": "none"},
    ]
    for settings in trainings:
        alone = _tuned(task, None, **settings)
        assert_same(_tuned(task, model_cache, **settings), alone)


def test_the_model_is_built_once_for_all_trainings_of_a_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, model_cache = _task(tmp_path, "bert"), ModelCache()
    seeds: list[int] = []
    build = Encoder.build

    def note(self: Encoder, seed: int) -> Any:
        seeds.append(seed)
        return build(self, seed)

    monkeypatch.setattr(Encoder, "build", note)
    models = {id(_tuned(task, model_cache, seed=seed).model) for seed in (1, 1, 1, 2, 2)}
    assert seeds == [1, 2]
    assert len(models) == 1


def test_encoders_that_take_turns_give_what_each_gives_alone_and_are_built_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="training.model_cache")
    tasks, model_cache = (_task(tmp_path / "a", "bert"), toy_task()), ModelCache()
    models = []
    for number in (0, 1, 0, 1, 1, 0):
        found = _tuned(tasks[number], model_cache, seed=number + 1)
        assert_same(found, _tuned(tasks[number], None, seed=number + 1))
        models.append(id(found.model))
    assert [models.index(one) for one in models] == [0, 1, 0, 1, 1, 0]
    assert model_cache.num_models == 2
    lines = [one.getMessage() for one in caplog.records if one.name == "training.model_cache"]
    assert [line.split(",")[1].split(" in ")[0] for line in lines] == [
        *(" built", " set back", " set back", " set back")
    ]


def test_a_model_that_does_not_fit_beside_another_is_built_in_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, model_cache = _task(tmp_path / "a", "bert"), toy_task(), ModelCache()
    kept = weakref.ref(_tuned(first, model_cache).model)
    monkeypatch.setattr("training.model_cache.free_memory", lambda: 1000)
    assert_same(_tuned(second, model_cache), _tuned(second, None))
    gc.collect()
    assert kept() is None
    assert model_cache.num_models == 1


def test_where_memory_runs_out_in_a_step_idle_models_are_discarded_before_rows_are_halved(
    tmp_path: Path,
) -> None:
    first, second, model_cache = _task(tmp_path / "a", "bert"), toy_task(), ModelCache()
    kept = weakref.ref(_tuned(first, model_cache).model)
    model, halved, failures = _tuned(second, model_cache).model, list[int](), [1]

    def fail_once(*_: object) -> None:
        if failures.pop() if failures else 0:
            raise torch.OutOfMemoryError

    handle = model.register_forward_pre_hook(fail_once)
    finetune(
        second,
        toy_training(),
        evaluate_at=[160],
        on_micro_batch_size=halved.append,
        model_cache=model_cache,
    )
    handle.remove()
    gc.collect()
    assert kept() is None
    assert halved == []


def test_after_an_error_nothing_is_kept(tmp_path: Path) -> None:
    task, model_cache = _task(tmp_path, "bert"), ModelCache()
    kept = weakref.ref(_tuned(task, model_cache).model)

    def fail(_: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        finetune(
            task, toy_training(), evaluate_at=[160], on_evaluation=fail, model_cache=model_cache
        )
    gc.collect()
    assert kept() is None
    assert_same(_tuned(task, model_cache), _tuned(task, None))


def test_between_trainings_no_gradients_are_kept(tmp_path: Path) -> None:
    model = _tuned(_task(tmp_path, "bert"), ModelCache()).model
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(isinstance(parameter, torch.nn.Parameter) for parameter in model.parameters())
