from pathlib import Path

import numpy as np
import pytest

from tests.tuning.builders import configuration
from training.errors import InputError
from training.schedule import schedule_of
from training.trained_on import hashes_of, write_trained_on
from tuning.confirmation import split_seed
from tuning.preparation import Preparation, check_warmups, prepare_search

CONFIG = configuration(
    search={"confirm_top": 1, "confirm_replicates": 2, "confirm_max_replicates": 3}
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    directory = tmp_path_factory.mktemp("prepared") / "tokenizer"
    return prepare_search(CONFIG, tokenizer_directory=directory)


def test_there_is_a_split_for_the_search_and_for_each_replicate(prepared: Preparation) -> None:
    assert len(prepared.search_data.replicates) == 1 + 3
    without = configuration(search={"confirm_replicates": 0})
    assert without.search.confirm_replicates == 0


def test_every_replicate_splits_the_same_rows_differently(prepared: Preparation) -> None:
    num_rows = len(prepared.search_data.pool_labels)
    parts = []
    for replicate in prepared.search_data.replicates:
        everything = np.concatenate([replicate.train, replicate.validation])
        assert sorted(everything.tolist()) == list(range(num_rows))
        parts.append(frozenset(replicate.validation.tolist()))
    assert len(set(parts)) == len(parts)


def test_a_replicate_s_rows_are_those_of_its_split_seed(prepared: Preparation) -> None:
    train, _ = prepared.data.resplit(split_seed(CONFIG, 2))
    replicate = prepared.search_data.replicates[2]
    labels = prepared.search_data.pool_labels
    assert labels[replicate.train].tolist() == train.labels.tolist()


def test_the_last_evaluation_of_every_replicate_is_at_its_last_step(
    prepared: Preparation,
) -> None:
    for replicate in prepared.search_data.replicates:
        schedule = schedule_of(CONFIG.training, len(replicate.train))
        assert schedule.step_at(replicate.evaluate_at[-1]) == schedule.total_steps


def test_labels_follow_their_texts_into_the_pool(prepared: Preparation) -> None:
    replicate, data = prepared.search_data.replicates[0], prepared.data
    labels = prepared.search_data.pool_labels
    assert labels[replicate.train].tolist() == data.train.labels.tolist()
    assert labels[replicate.validation].tolist() == data.validation.labels.tolist()
    assert not set(data.test_rows) & {*data.train.rows, *data.validation.rows}


def test_early_stopping_waits_for_the_first_rung(prepared: Preparation) -> None:
    assert prepared.search_data.stop_early_after == prepared.plan.rungs[0]


def test_the_tokenizer_of_tiny_is_learnt_once_and_kept(tmp_path: Path) -> None:
    directory = tmp_path / "tokenizer"
    first = prepare_search(CONFIG, tokenizer_directory=directory)
    written = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    second = prepare_search(CONFIG, tokenizer_directory=directory)
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == written
    pools = (first.default_encoder.prepared.tokens, second.default_encoder.prepared.tokens)
    assert np.array_equal(pools[0].ids, pools[1].ids)


@pytest.mark.parametrize(
    ("warmup_steps", "space", "refused"),
    [
        (186, {"batch_size": {"choice": ["16"]}}, False),  # 3 epochs of 1,000 rows: 189 steps
        (189, {"batch_size": {"choice": ["16"]}}, True),
        (100, {"batch_size": {"choice": ["16", "32"]}}, True),  # 96 steps
        (0.9, {"batch_size": {"choice": ["16", "32"]}}, False),
        (0, {"warmup_steps": {"integer": ["0", "188"]}}, False),
        (0, {"warmup_steps": {"integer": ["0", "189"]}}, True),
        (0, {"warmup_steps": {"choice": ["95", "96"]}, "batch_size": {"choice": ["32"]}}, True),
    ],
)
def test_a_warmup_that_some_combination_could_not_finish_is_refused(
    warmup_steps: float, space: dict[str, dict[str, list[str]]], refused: bool
) -> None:
    config = configuration(
        training={"warmup_steps": warmup_steps, "epochs": 3, "batch_size": 16},
        search={"space": space},
    )
    assert bool(list(check_warmups(config, 1000))) is refused


def test_a_replicate_without_a_class_is_refused_before_anything_starts(tmp_path: Path) -> None:
    from tests.tuning.tables import table

    data = table(tmp_path, *[{"text": ""}] * 18)  # two rows of the first class are left
    config = configuration(data={"path": data})
    with pytest.raises(InputError, match="Bukan Ujaran Kebencian"):
        prepare_search(config, tokenizer_directory=tmp_path / "tokenizer")


@pytest.mark.parametrize("replicates", [0, 2])
def test_a_starting_model_that_has_seen_held_out_rows_is_refused(
    prepared: Preparation, tmp_path: Path, replicates: int
) -> None:
    data = prepared.data
    write_trained_on(tmp_path, hashes_of([*data.validation.texts[:2], *data.train.texts[:3]]))
    config = configuration(
        model={"name": str(tmp_path)},
        data={"path": "sample"},
        search={"confirm_replicates": replicates},
        training={"warmup_steps": 0.1},
    )
    with pytest.raises(InputError) as caught:
        prepare_search(config, tokenizer_directory=tmp_path / "tokenizer")
    line = caught.value.problems[0]
    assert "2 of " in line
    assert ("3 of " in line) == (replicates > 0)
    assert "validation rows of sample" in line
