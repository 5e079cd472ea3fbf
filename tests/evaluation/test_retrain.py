"""The retrain and its guard, on a real search."""

import logging
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from evaluation.retrain import RetrainError, final_training, guard, loss_limit, retrain
from evaluation.winner import load_winner
from results.run import open_run
from training.finetune import NUM_FIXED_ROWS
from training.inference import log_probabilities
from training.metrics import class_weights, weighted_loss
from training.model import facts_of, load_tokenizer
from training.schedule import num_warmup_steps, schedule_of
from training.tokens import encode


@pytest.fixture(scope="module")
def winner(finished_search):
    return load_winner(open_run(finished_search))


@pytest.fixture(scope="module")
def tokenizer(winner):
    return load_tokenizer(winner.configuration.model, tiny=winner.run.tokenizer)


@pytest.fixture(scope="module")
def num_rows(winner):
    return len(winner.data.train.labels) + len(winner.data.validation.labels)


@pytest.fixture(scope="module")
def retrained(winner, tokenizer, tmp_path_factory):
    seen = []
    directory = tmp_path_factory.mktemp("retrain")
    return (*retrain(winner, tokenizer, on_evaluation=seen.append, checkpoint=directory), seen)


def _with(winner, *, losses=None, **training):
    configuration = winner.configuration
    changed = configuration.training.model_copy(update=training)
    record = dict(winner.record)
    if losses is not None:
        record["best"] = record["best"] | {"fixed_rows_loss": losses}
    return replace(
        winner,
        configuration=configuration.model_copy(update={"training": changed}),
        record=record,
    )


@pytest.mark.parametrize("warmup", [0, 0.1, 0.25, 7, 40])
def test_the_warm_up_is_the_same_share_of_the_longer_schedule(winner, num_rows, warmup):
    changed = _with(winner, warmup_steps=warmup)
    searched = changed.configuration.training
    before = schedule_of(searched, len(winner.data.train.labels))
    final = final_training(changed, num_rows, attempt=0)
    after = schedule_of(final, num_rows)
    assert after.total_steps > before.total_steps
    share = num_warmup_steps(searched, before) / before.total_steps
    assert num_warmup_steps(final, after) == pytest.approx(share * after.total_steps, abs=0.5)


def test_all_other_values_are_the_winners_and_each_attempt_has_the_next_seed(winner, num_rows):
    searched = winner.configuration.training.model_dump(exclude={"warmup_steps", "seed"})
    attempts = [final_training(winner, num_rows, attempt) for attempt in range(3)]
    for attempt in attempts:
        assert attempt.model_dump(exclude={"warmup_steps", "seed"}) == searched
    assert [attempt.seed for attempt in attempts] == [42, 43, 44]


def test_the_seed_after_the_last_possible_one_is_the_first(winner, num_rows):
    assert final_training(_with(winner, seed=2**32 - 1), num_rows, attempt=1).seed == 0


def test_the_schedule_spans_train_and_validation(winner, num_rows, retrained):
    _, training, _, seen = retrained
    schedule = schedule_of(training, num_rows)
    assert seen[-1].examples == num_rows * winner.configuration.training.epochs
    assert seen[-1].epoch == winner.configuration.training.epochs
    warmup = num_warmup_steps(training, schedule)
    for point in seen:
        step = schedule.step_at(point.examples)
        factor = min(
            step / max(warmup, 1),
            (schedule.total_steps - step) / (schedule.total_steps - warmup),
        )
        assert point.learning_rate == pytest.approx(training.learning_rate * factor, abs=1e-12)
    assert seen[-1].learning_rate == 0


def test_class_weights_count_all_rows_and_the_fixed_rows_are_those_of_the_search(
    winner, tokenizer, retrained
):
    tuned, training, problems, _ = retrained
    train, validation = winner.data.train, winner.data.validation
    labels = np.concatenate([train.labels, validation.labels])
    weights = class_weights(labels, len(winner.configuration.data.labels), training.class_weights)
    assert len(train.texts) >= NUM_FIXED_ROWS
    tokens = encode(tokenizer, train.texts[:NUM_FIXED_ROWS], max_length=128)
    log_p = log_probabilities(
        tuned.model, tokens, batch_size=32, padding=facts_of(tokenizer).padding
    )
    expected = weighted_loss(train.labels[:NUM_FIXED_ROWS], log_p, weights)
    assert tuned.fixed_rows_loss == pytest.approx(expected, abs=1e-6)
    assert problems == []


def test_the_limit_lies_above_all_losses_of_the_search():
    assert loss_limit([1.0], 4) == 1.25
    assert loss_limit([0.9, 1.0], 4) == 1.25
    assert loss_limit([0.1, 1.0], 4) == pytest.approx(1.0 + 3 * 0.45)
    # Near 0 a quarter is too little: 15 % of the way to ln 4, the loss of a uniform guess.
    assert loss_limit([0.02], 4) == pytest.approx(0.02 + 0.15 * (1.3863 - 0.02), abs=1e-4)


def test_without_a_full_training_the_limit_is_the_loss_of_a_uniform_guess():
    assert loss_limit([], 4) == pytest.approx(math.log(4))


def test_a_winner_without_a_full_training_is_retrained_if_it_is_better_than_a_guess(
    winner, tokenizer, retrained, tmp_path
):
    unseen = _with(winner, losses=[])
    tuned, training, rejected = retrain(
        unseen, tokenizer, on_evaluation=lambda _: None, checkpoint=tmp_path / "good"
    )
    assert (training, rejected) == (retrained[1], [])
    assert _weights_equal(tuned, retrained[0])
    slow = _with(winner, losses=[], learning_rate=1e-9, epochs=1)
    with pytest.raises(RetrainError, match="must be better than a uniform guess") as caught:
        retrain(slow, tokenizer, on_evaluation=lambda _: None, checkpoint=tmp_path / "slow")
    assert len(caught.value.problems) == 3


def test_the_guard_accepts_a_good_retrain_and_rejects_the_others(winner, retrained):
    tuned = retrained[0]
    limit = loss_limit(winner.losses_seen, 4)
    assert guard(tuned, limit) == ""
    assert guard(replace(tuned, fixed_rows_loss=0.0), limit) == ""
    assert "above" in guard(replace(tuned, fixed_rows_loss=limit + 1e-9), limit)
    assert "not finite" in guard(replace(tuned, fixed_rows_loss=math.nan), limit)
    assert "not finite" in guard(replace(tuned, outcome="diverged"), limit)
    collapsed = [*tuned.evaluations[:-1], replace(tuned.evaluations[-1], collapsed=True)]
    assert "one class" in guard(replace(tuned, evaluations=collapsed), limit)


def test_a_temporary_collapse_is_accepted(winner, retrained):
    tuned = retrained[0]
    early = [replace(tuned.evaluations[0], collapsed=True), *tuned.evaluations[1:]]
    assert guard(replace(tuned, evaluations=early), loss_limit(winner.losses_seen, 4)) == ""


def test_the_first_accepted_seed_is_used_and_after_three_rejected_ones_it_fails(
    winner, tokenizer, tmp_path
):
    strict = _with(winner, losses=[1e-6])
    with pytest.raises(RetrainError, match="the test set was not used") as caught:
        retrain(strict, tokenizer, on_evaluation=lambda _: None, checkpoint=tmp_path / "strict")
    problems = caught.value.problems
    assert [problem.split(":")[0] for problem in problems] == ["seed 42", "seed 43", "seed 44"]
    losses = [float(re.search(r"is (\d\.\d+), above", text).group(1)) for text in problems]
    falls = [n for n in (0, 1) if losses[n + 1] < losses[n]]
    assert falls, f"choose another seed for this test: {losses} only rise"
    first = falls[0]
    between = (losses[first] + losses[first + 1]) / 2
    changed = _with(winner, losses=[between / 1.25], seed=42 + first)
    seen = []
    tuned, training, rejected = retrain(
        changed, tokenizer, on_evaluation=seen.append, checkpoint=tmp_path / "changed"
    )
    assert training.seed == 43 + first
    assert len(rejected) == 1
    assert rejected[0].startswith(f"seed {42 + first}: its loss on the fixed rows is")
    assert tuned.fixed_rows_loss == pytest.approx(losses[first + 1], abs=1e-4)


def test_a_retrain_that_diverges_or_collapses_is_never_evaluated_on_the_test_set(
    winner, tokenizer, tmp_path
):
    bad = _with(winner, learning_rate=1.0, warmup_steps=0, epochs=1, max_grad_norm=1e9)
    with pytest.raises(RetrainError) as caught:
        retrain(bad, tokenizer, on_evaluation=lambda _: None, checkpoint=tmp_path)
    assert len(caught.value.problems) == 3


class _InterruptedError(Exception):
    """An interruption of a retrain from outside."""


def _interrupt_at(number):
    """Return a list of evaluations, and a callback that fills it and raises at that number."""
    seen = []

    def on_evaluation(evaluation):
        seen.append(evaluation)
        if len(seen) == number:
            raise _InterruptedError

    return seen, on_evaluation


def _untimed(evaluations):
    return [replace(evaluation, seconds=0.0) for evaluation in evaluations]


def _weights_equal(one, other):
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return all(ours[name].equal(theirs[name]) for name in ours)


def _warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_an_interrupted_retrain_ends_like_one_without_interruption(
    winner, tokenizer, retrained, tmp_path, caplog
):
    _, interrupt = _interrupt_at(7)
    with pytest.raises(_InterruptedError):
        retrain(winner, tokenizer, on_evaluation=interrupt, checkpoint=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["seed-42"]
    seen = []
    tuned, training, problems = retrain(
        winner, tokenizer, on_evaluation=seen.append, checkpoint=tmp_path
    )
    whole, its_training, _, its_seen = retrained
    assert _untimed(seen) == _untimed(its_seen)
    assert _weights_equal(tuned, whole)
    assert tuned.fixed_rows_loss == whole.fixed_rows_loss
    assert (training, problems) == (its_training, [])
    assert _warnings(caplog) == []


def test_rejected_attempts_are_remembered_after_an_interruption(
    winner, tokenizer, tmp_path, caplog
):
    strict = _with(winner, losses=[1e-6], epochs=1)
    each = 4
    with pytest.raises(RetrainError) as caught:
        retrain(strict, tokenizer, on_evaluation=lambda _: None, checkpoint=tmp_path / "whole")
    broken = tmp_path / "broken"
    expected = caught.value.problems
    first, interrupt = _interrupt_at(each + 2)  # in the second attempt
    with pytest.raises(_InterruptedError):
        retrain(strict, tokenizer, on_evaluation=interrupt, checkpoint=broken)
    assert sorted(path.name for path in broken.iterdir()) == ["rejected.json", "seed-43"]
    second, interrupt = _interrupt_at(
        each + 1
    )  # the rest of the second attempt, and one evaluation of the third
    with pytest.raises(_InterruptedError):
        retrain(strict, tokenizer, on_evaluation=interrupt, checkpoint=broken)
    assert _untimed(second[:2]) == _untimed(first[each:])
    assert sorted(path.name for path in broken.iterdir()) == ["rejected.json", "seed-44"]
    third = []
    for _ in range(2):  # if all are rejected, another call trains nothing
        with pytest.raises(RetrainError) as caught:
            retrain(strict, tokenizer, on_evaluation=third.append, checkpoint=broken)
        assert caught.value.problems == expected
        assert len(third) == each
    assert [path.name for path in broken.iterdir()] == ["rejected.json"]
    assert [line for line in _warnings(caplog) if "checkpoint" in line] == []


@pytest.mark.parametrize(
    "content",
    ['{"about": {"rows"', "[]", '{"about": {"rows": 1}, "problems": ["seed 42: one class"]}'],
    ids=["truncated", "of another structure", "of another retrain"],
)
def test_rejections_that_cannot_be_trusted_are_not_counted(
    winner, tokenizer, retrained, tmp_path, caplog, content
):
    path = tmp_path / "rejected.json"
    path.write_text(content, "utf-8")
    tuned, training, problems = retrain(
        winner, tokenizer, on_evaluation=lambda _: None, checkpoint=tmp_path
    )
    assert (training, problems) == (retrained[1], [])
    assert _weights_equal(tuned, retrained[0])
    (line,) = _warnings(caplog)
    assert str(path) in line
    assert "starts with its first seed" in line
