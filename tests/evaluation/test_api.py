"""Evaluations and predictions from Python: what the commands do, and the process is unchanged."""

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from evaluation.api import evaluate, predict
from evaluation.run_evaluation import Evaluation
from results.errors import RunError
from results.load import load_run
from tests.evaluation.conftest import FinalRun
from tests.results.notebooks import displayed
from training.errors import InputError
from tuning.api import SearchResult

TEXTS = ["gatelen", "aku seneng banget", "wong kuwi pancen bodho"]


@pytest.fixture
def evaluation(finished_final: FinalRun) -> Evaluation:
    """The evaluation of the command, as Python would have returned it."""
    loaded = load_run(finished_final.directory)
    assert loaded.test is not None
    return Evaluation(
        directory=finished_final.directory / "final",
        record=loaded.record,
        report=loaded.test,
        gates_missed=(),
    )


def test_the_result_of_a_search_is_evaluated_once_and_the_process_is_left_as_it_was(
    run_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loggers = [logging.getLogger(name) for name in ("evaluation", "training", "results")]
    before = [(list(one.handlers), one.level, one.propagate) for one in loggers]
    num_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        result = SearchResult(directory=run_directory, record=load_run(run_directory).record)
        found = evaluate(result, gates="optimal", quiet=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(num_threads)
    assert [(list(one.handlers), one.level, one.propagate) for one in loggers] == before
    assert capsys.readouterr().out == ""
    assert found.model == run_directory / "final" / "model"
    assert (found.model / "model.safetensors").exists()
    assert "retraining on" in (found.directory / "logs" / "training.log").read_text()
    assert found.report == load_run(run_directory).test
    assert found.test.score == found.report["score"]
    assert found.test.interval == tuple(found.report["confidence_intervals"]["score"])
    assert found.gates_missed
    with pytest.raises(RunError, match="was evaluated on its test set"):
        evaluate(run_directory)


def test_an_evaluation_displays_verdict_and_score(evaluation: Evaluation) -> None:
    caption, *rows = displayed(evaluation._repr_html_())
    assert caption == ["Evaluation"]
    verdict = evaluation.verdict
    assert rows[0] == ["verdict", f"{verdict.sign} {verdict.sentence}"]
    assert rows[1][1].startswith(str(evaluation.test))
    assert repr(evaluation).startswith("Evaluation\n  verdict ")
    assert len(repr(evaluation)) < 2000


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"run": 7}, "run has the type int"),
        ({"run": "runs", "gates": "no"}, "gates is 'no'"),
        ({"run": "runs", "weights": "h5"}, "weights is 'h5'"),
        ({"run": "runs", "reopen_reason": True}, "reopen_reason is True"),
    ],
)
def test_a_wrong_argument_of_an_evaluation_is_one_error(given: Any, problem: str) -> None:
    with pytest.raises(InputError) as error:
        evaluate(**given)
    assert str(error.value).startswith(problem)


def test_a_directory_without_a_search_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no search\.json"):
        evaluate(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunError, match="no such directory"):
        evaluate(tmp_path / "nowhere")


def test_a_series_keeps_its_index_and_every_row_is_answered(evaluation: Evaluation) -> None:
    cells = [*TEXTS, None, np.nan, pd.NA, "  ", 7, b"x", "half \ud800"]
    texts = pd.Series(cells, index=pd.Index(range(10, 20), name="id"), dtype=object)
    found = predict(evaluation, texts)
    classes = [name.removeprefix("p_") for name in found.columns[1:-1]]
    assert classes == list(evaluation.report["per_class"])
    assert list(found.columns[[0, -1]]) == ["label", "error"]
    pd.testing.assert_index_equal(found.index, texts.index)
    is_answered = found["error"] == ""
    assert is_answered.tolist() == [True] * 3 + [False] * 6 + [True]
    assert found["error"].iloc[3] == "no text"
    assert found["error"].iloc[7] == "the text must be text, not int"
    shares = found[[f"p_{name}" for name in classes]]
    assert (found["label"].notna() == is_answered).all()
    assert (shares.notna().all(axis=1) == is_answered).all()
    np.testing.assert_allclose(shares[is_answered].sum(axis=1), 1)
    best = shares[is_answered].idxmax(axis=1).str.removeprefix("p_")
    assert best.tolist() == found["label"][is_answered].tolist()


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        pd.Series(TEXTS).astype("category"),
        dict.fromkeys(TEXTS).keys(),
    ],
)
def test_any_sequence_of_texts_is_classified(texts: Any, evaluation: Evaluation) -> None:
    expected = predict(evaluation.model, iter(TEXTS))
    pd.testing.assert_frame_equal(predict(str(evaluation.model), texts), expected)


def test_the_onnx_file_gives_the_same_labels(evaluation: Evaluation) -> None:
    by_onnx = predict(evaluation, TEXTS, backend="onnx")
    pd.testing.assert_frame_equal(by_onnx, predict(evaluation, TEXTS), atol=1e-4)


def test_texts_are_classified_in_a_thread(evaluation: Evaluation) -> None:
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(predict, evaluation, TEXTS).result()
    pd.testing.assert_frame_equal(found, predict(evaluation, TEXTS))


def test_the_baseline_classifies_like_a_model(evaluation: Evaluation) -> None:
    found = predict(evaluation.baseline, TEXTS)
    assert list(found.columns) == list(predict(evaluation, TEXTS).columns)
    assert (found["error"] == "").all()


def test_no_texts_give_a_table_without_rows(evaluation: Evaluation) -> None:
    empty, full = predict(evaluation, []), predict(evaluation, TEXTS)
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_more_texts_than_fit_in_one_part_are_all_answered(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predict(evaluation, TEXTS)
    monkeypatch.setattr("evaluation.api._ROWS_AT_A_TIME", 2)
    pd.testing.assert_frame_equal(predict(evaluation, TEXTS), expected)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ("gatelen", "texts is a single text ('gatelen')"),
        (b"gatelen", "texts is a single text"),
        (7, "texts is 7"),
        (None, "texts is None"),
        ({"text": TEXTS}, "texts is a dict"),
        (pd.DataFrame({"text": TEXTS}), "texts is a DataFrame"),
        (pa.table({"text": TEXTS}), "texts is a DataFrame"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        predict(tmp_path, texts)
    assert str(error.value).startswith(problem)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"model": 7}, "model has the type int"),
        ({"model": SearchResult(directory=Path("run"), record={})}, "evaluate(...) of a search"),
        ({"model": "nowhere"}, "no such directory"),
        ({"model": "nowhere", "backend": "jax"}, "backend is 'jax'"),
    ],
)
def test_a_wrong_model_is_refused(given: Any, problem: str) -> None:
    texts: Iterable[str] = TEXTS
    with pytest.raises(InputError) as error:
        predict(texts=texts, **given)
    assert problem in str(error.value)
