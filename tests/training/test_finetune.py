import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.models import LABELS, VOCABULARY, toy_rows, toy_task, toy_training
from training.batches import Padding
from training.config import ModelConfig, TrainingConfig
from training.finetune import FineTuned, Task, finetune
from training.inference import log_probabilities
from training.metrics import Evaluation
from training.model import TokenizerFacts
from training.objective import objective

ROWS = 320  # 20 steps an epoch
BUDGET = 3 * ROWS
QUARTERS = tuple(range(ROWS // 4, BUDGET + 1, ROWS // 4))


def _tuned(
    task: Task | None = None,
    evaluate_at: Sequence[int] = QUARTERS,
    stop_early_after: int | None = None,
    **changes: object,
) -> FineTuned:
    return finetune(
        task or toy_task(ROWS),
        toy_training(**changes),
        evaluate_at=evaluate_at,
        stop_early_after=stop_early_after,
    )


def _untimed(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    return [replace(evaluation, seconds=0.0) for evaluation in evaluations]


def _equal_weights(one: FineTuned, other: FineTuned) -> bool:
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def tuned() -> FineTuned:
    return _tuned()


def test_a_learnable_task_is_learnt_far_beyond_the_constant_predictor(tuned: FineTuned) -> None:
    unseen = toy_rows(200, seed=2)
    guesses = log_probabilities(
        tuned.model, unseen.tokens, batch_size=64, padding=Padding(token_id=0)
    )
    decides = objective("f1_macro", LABELS)
    score = decides.score(unseen.labels, guesses.argmax(axis=1))
    assert score > decides.constant_score(unseen.labels) + 0.5
    assert tuned.evaluations[-1].f1_macro > 0.75
    assert tuned.evaluations[-1].train_loss < tuned.evaluations[0].train_loss / 2
    assert tuned.fixed_rows_loss < 0.3
    assert tuned.outcome == "completed"
    assert tuned.examples == BUDGET


def test_the_same_seed_gives_the_same_curve_and_the_same_weights(tuned: FineTuned) -> None:
    torch.rand(3)  # other random numbers before
    again = _tuned()
    assert _untimed(again.evaluations) == _untimed(tuned.evaluations)
    assert _equal_weights(again, tuned)
    assert again.fixed_rows_loss == tuned.fixed_rows_loss


def test_another_seed_gives_another_curve(tuned: FineTuned) -> None:
    other = _tuned(seed=43)
    assert _untimed(other.evaluations) != _untimed(tuned.evaluations)
    assert not _equal_weights(other, tuned)


def test_more_evaluations_do_not_change_what_is_learnt(tuned: FineTuned) -> None:
    seldom = _tuned(evaluate_at=[BUDGET])
    assert _equal_weights(seldom, tuned)
    assert seldom.evaluations[-1].f1_macro == tuned.evaluations[-1].f1_macro


def test_evaluations_fall_at_the_first_step_at_or_after_each_point() -> None:
    # 100 rows in batches of 16: steps end at 16, 32, ..., 96, 100, then 116 and so on.
    task = toy_task(100)
    found = _tuned(task, evaluate_at=[1, 16, 17, 97, 100, 101, 200], epochs=2)
    assert [evaluation.examples for evaluation in found.evaluations] == [16, 32, 100, 116, 200]
    assert [evaluation.epoch for evaluation in found.evaluations] == [0.16, 0.32, 1, 1.16, 2]


def test_points_beyond_the_budget_are_never_reached(tuned: FineTuned) -> None:
    assert [evaluation.examples for evaluation in tuned.evaluations] == list(QUARTERS)
    found = _tuned(toy_task(32), evaluate_at=[0, 33, 500], epochs=1)
    assert found.evaluations == ()
    assert found.outcome == "completed"


def test_evaluations_are_reported_as_they_are_made_with_rising_times() -> None:
    reported: list[Evaluation] = []
    found = finetune(
        toy_task(64), toy_training(), evaluate_at=[64, 128, 192], on_evaluation=reported.append
    )
    assert reported == list(found.evaluations)
    seconds = [evaluation.seconds for evaluation in reported]
    assert 0 < seconds[0] < seconds[1] < seconds[2] <= found.seconds


def test_the_learning_rate_rises_through_the_warm_up_and_is_nought_at_the_end() -> None:
    every_step = range(16, 2 * 160 + 1, 16)
    found = _tuned(
        toy_task(160), every_step, epochs=2, warmup_steps=5, learning_rate=1e-3, weight_decay=0.0
    )
    rates = [evaluation.learning_rate for evaluation in found.evaluations]
    rising = [1e-3 * step / 5 for step in range(1, 6)]
    falling = [1e-3 * left / 15 for left in range(14, -1, -1)]
    assert rates == pytest.approx(rising + falling)
    assert rates[-1] == 0


def test_the_schedule_spans_the_full_budget_though_early_stopping_may_end_it() -> None:
    found = _tuned(stop_early_after=ROWS // 2, epochs=12, early_stopping_patience=1)
    assert found.outcome == "stopped early"
    last = found.evaluations[-1]
    assert found.examples == last.examples < 12 * ROWS
    # Twelve epochs from a warm-up of a tenth: at that point the rate is still on its way.
    left = (12 * ROWS - last.examples) / (12 * ROWS * 0.9)
    assert last.learning_rate == pytest.approx(5e-3 * left, rel=0.01)


def test_early_stopping_waits_for_patience_epochs_and_is_off_unless_asked_for() -> None:
    late = _tuned(stop_early_after=2 * ROWS, epochs=4, early_stopping_patience=1)
    assert late.examples >= 3 * ROWS  # nothing counts before two epochs, then one of patience
    never = _tuned(epochs=4, early_stopping_patience=1)
    assert never.examples == 4 * ROWS
    assert never.outcome == "completed"


def test_early_stopping_waits_for_the_warm_up() -> None:
    found = _tuned(stop_early_after=1, epochs=4, early_stopping_patience=1, warmup_steps=70)
    assert found.examples == 4 * ROWS  # the warm-up ends at step 70 of 80


def test_early_stopping_follows_the_metric_that_decides() -> None:
    # The F1 of the commonest class is at its best two evaluations before macro-F1 is.
    of_all, of_class = (
        _tuned(
            toy_task(ROWS, metric=metric),
            evaluate_at=range(ROWS // 4, 12 * ROWS + 1, ROWS // 4),
            stop_early_after=ROWS // 2,
            epochs=12,
            early_stopping_patience=1,
        )
        for metric in ("f1_macro", f"f1:{LABELS[0]}")
    )
    assert of_class.outcome == of_all.outcome == "stopped early"
    assert of_class.examples < of_all.examples
    pairs = list(zip(of_class.evaluations, of_all.evaluations, strict=False))
    assert all(one.f1_macro == other.f1_macro == other.score for one, other in pairs)
    assert any(one.score != one.f1_macro for one, _ in pairs)


def test_a_trial_that_has_learnt_nothing_is_not_stopped_early() -> None:
    found = _tuned(
        toy_task(64),
        evaluate_at=range(64, 64 * 6 + 1, 64),
        stop_early_after=1,
        epochs=6,
        learning_rate=1e-9,
        early_stopping_patience=1,
    )
    assert len(found.evaluations) == 6
    assert found.outcome == "completed"


def _with_nan_weights(small_bert: Path, folder: Path) -> Task:
    shutil.copytree(small_bert, folder / "bert")
    weights = load_file(folder / "bert" / "model.safetensors")
    weights["bert.embeddings.LayerNorm.weight"][0] = float("nan")
    save_file(weights, folder / "bert" / "model.safetensors", metadata={"format": "pt"})
    return toy_task(
        64,
        model=ModelConfig(name=str(folder / "bert"), max_length=16),
        tokenizer=TokenizerFacts(size=VOCABULARY, pad_token_id=0),
    )


def test_a_loss_that_is_no_number_ends_the_training_as_diverged(
    small_bert: Path, tmp_path: Path
) -> None:
    found = _tuned(_with_nan_weights(small_bert, tmp_path), evaluate_at=[32, 64, 192])
    assert found.outcome == "diverged"
    assert [evaluation.examples for evaluation in found.evaluations] == [32]
    assert found.examples == 32
    assert not found.evaluations[0].is_finite
    assert np.isnan(found.fixed_rows_loss)


def test_a_wild_learning_rate_is_no_good_score() -> None:
    found = _tuned(learning_rate=1, max_grad_norm=1e9, warmup_steps=0)
    last = found.evaluations[-1]
    assert found.outcome == "diverged" or last.collapsed


def test_on_evaluation_may_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reported: list[Evaluation] = []

    def end(evaluation: Evaluation) -> None:
        reported.append(evaluation)
        raise SystemExit(0)

    with pytest.raises(SystemExit):
        finetune(toy_task(64), toy_training(), evaluate_at=[32, 64], on_evaluation=end)
    assert len(reported) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_validation_rows_the_training_rows_are_evaluated() -> None:
    found = _tuned(toy_task(64, validation=None), evaluate_at=[64, 192], stop_early_after=1)
    assert found.outcome == "completed"
    assert found.evaluations[-1].eval_loss == pytest.approx(found.fixed_rows_loss)


def test_the_model_knows_the_labels_by_name(tuned: FineTuned) -> None:
    assert tuned.model.config.id2label == dict(enumerate(LABELS))
    assert tuned.model.config.label2id == {name: i for i, name in enumerate(LABELS)}
    assert tuned.model.config.num_labels == len(LABELS)


def test_class_weights_change_what_is_learnt(tuned: FineTuned) -> None:
    plain = _tuned(class_weights="none")
    assert plain.evaluations[0].train_loss != tuned.evaluations[0].train_loss
    assert not _equal_weights(plain, tuned)


@pytest.fixture(scope="module")
def usual() -> FineTuned:
    return _tuned(toy_task(64), evaluate_at=[64])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 32),
        ("learning_rate", 1e-3),
        ("warmup_steps", 0.5),
        ("weight_decay", 1.0),
        ("max_grad_norm", 0.001),
        ("epochs", 2),
        ("precision", "bfloat16"),
    ],
)
def test_every_hyperparameter_has_an_effect(usual: FineTuned, field: str, value: object) -> None:
    changed = _tuned(toy_task(64), evaluate_at=[64], **{field: value})
    assert not _equal_weights(usual, changed)


def test_rows_a_forward_pass_of_evaluation_change_no_score() -> None:
    task = toy_task(64)
    one = _tuned(task, evaluate_at=[192], eval_batch_size=1).evaluations[0]
    all_at_once = _tuned(task, evaluate_at=[192], eval_batch_size=4096).evaluations[0]
    assert one.f1_macro == all_at_once.f1_macro
    assert one.eval_loss == pytest.approx(all_at_once.eval_loss, rel=1e-5)


def test_fewer_rows_than_a_batch_are_one_step_an_epoch() -> None:
    found = _tuned(toy_task(10), evaluate_at=[10, 20, 30])
    assert [evaluation.examples for evaluation in found.evaluations] == [10, 20, 30]


def test_the_defaults_of_the_configuration_train() -> None:
    training = TrainingConfig(warmup_steps=0.1, epochs=1)
    found = finetune(toy_task(32), training, evaluate_at=[32])
    assert len(found.evaluations) == 1
