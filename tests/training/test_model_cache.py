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


def test_another_encoder_is_built_anew(tmp_path: Path) -> None:
    first, second, model_cache = _task(tmp_path / "a", "bert"), toy_task(), ModelCache()
    kept = weakref.ref(_tuned(first, model_cache).model)
    assert_same(_tuned(second, model_cache), _tuned(second, None))
    gc.collect()
    assert kept() is None


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
