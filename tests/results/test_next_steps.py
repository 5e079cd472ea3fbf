"""What to do next with a run: the most useful step first, with its command."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from results.next_steps import NextStep
from results.recommendation import Recommendation
from results.run import Run
from results.status_text import predict_command
from results.trial_states import SearchStatus, VerdictKind
from tests.results.verdicts import EDGE, against, record, report, texts, verdict


@pytest.mark.parametrize(
    ("changes", "clause", "step"),
    [
        ({}, "t0004 replaces the default configuration, which is 10.0 points", "evaluation.final"),
        ({"status": SearchStatus.INTERRUPTED}, "the search is interrupted", "--resume"),
        ({"status": SearchStatus.RUNNING}, "the search is running", "--resume"),
        ({"status": SearchStatus.ABORTED}, "the search is aborted", "Fix the errors in"),
        ({"best": None}, "no trial of the search ended with a score", "Fix the errors in"),
        ({"confirmation": None}, "not confirmed on replicates", "evaluation.final"),
    ],
)
def test_before_the_evaluation_the_outcome_of_the_search_decides_what_is_next(
    changes: dict[str, Any], clause: str, step: str
) -> None:
    found = verdict(None, **changes)
    assert found.kind == VerdictKind.NOT_EVALUATED
    assert clause in found.sentence
    assert step in str(found.next_steps[0])


def test_a_winner_behind_the_baseline_is_improved_before_its_one_evaluation() -> None:
    baseline = {"name": "TF-IDF", "score": 0.9}
    first, second = verdict(None, baseline=baseline).next_steps
    assert "pretrained" in first.text
    assert "evaluation.final" in str(second)
    (only,) = verdict(None, baseline=baseline | {"score": 0.1}).next_steps
    assert "evaluation.final" in str(only)


FROM_SCRATCH: dict[str, Any] = {"environment": {"model": {"name": "tiny"}}}


def command_of(found: Recommendation, words: str) -> str:
    (step,) = (step for step in found.next_steps if words in step.text)
    assert step.command is not None
    return step.command


@pytest.mark.parametrize("test", [against(-0.1, 0.001), against(0.0, 1.0), None])
def test_a_model_from_scratch_that_does_not_win_is_followed_by_a_pretrained_encoder(
    test: dict[str, Any] | None,
) -> None:
    ahead = {"name": "TF-IDF", "score": 0.9}
    data = record()["data"] | {"path": "my rows.csv"}
    found = verdict(test, **FROM_SCRATCH, baseline=ahead, data=data)
    assert command_of(found, "pretrained encoder") == (
        "python -m tuning.search --data 'my rows.csv' --model ID"
    )


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ({"path": "sample", "text_column": "text", "label_column": "label"}, "--data sample"),
        (
            {"path": "r.csv", "text_column": "review", "label_column": "the topic"},
            "--data r.csv --data.text_column review --data.label_column 'the topic'",
        ),
        (
            {"path": "r.csv", "labels": ["1", "2"], "ordered": True},
            """--data r.csv --data.labels '["1", "2"]' --data.ordered true""",
        ),
        ({"path": "data.parquet"}, "--data data.parquet"),
    ],
)
def test_the_command_for_an_encoder_reads_the_same_table(
    section: dict[str, Any], options: str, tmp_path: Path
) -> None:
    run = Run(tmp_path)
    run.write_config(yaml.safe_dump({"data": section}))
    found = verdict(against(-0.1, 0.001), run, **FROM_SCRATCH)
    assert command_of(found, "pretrained encoder") == (
        f"python -m tuning.search {options} --model ID"
    )


def test_random_weights_of_any_architecture_are_from_scratch() -> None:
    model = {"model": {"name": "some/encoder", "weights": "random"}}
    found = verdict(against(-0.1, 0.001), environment=model)
    assert "trained from scratch" in texts(found)


def test_the_shipped_baseline_and_the_model_have_their_commands(tmp_path: Path) -> None:
    final = tmp_path / "final"
    (final / "reports").mkdir(parents=True)
    (final / "reports" / "evaluation_report.json").write_text("{}")
    run = Run(tmp_path)
    lost = against(-0.1, 0.001)
    assert "final/baseline" not in texts(verdict(lost, run))
    (final / "baseline").mkdir()
    first = verdict(lost, run).next_steps[0]
    assert first == NextStep(
        text="Classify texts with TF-IDF",
        command=predict_command(str(final / "baseline")),
    )
    won = verdict(report(), run)
    assert won.next_steps[0].command == predict_command(str(final / "model"))
    assert won.next_steps[1].command == (
        f"python -m evaluation.publish --model {final / 'model'} --repo NAME"
    )


def test_a_value_at_the_edge_comes_with_the_command_of_the_wider_search() -> None:
    best = record()["best"] | {"at_edge": [EDGE]}
    command = command_of(verdict(report(), best=best), "Search learning_rate further")
    *words, space = shlex.split(command)
    assert shlex.join(words) == (
        "python -m tuning.search --config /runs/first/config.yaml --name NAME --search.space"
    )
    assert json.loads(space) == record()["search"]["space"] | {"learning_rate": EDGE["try_next"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"best": record()["default"] | {"at_edge": [EDGE]}},
        {
            "best": record()["best"]
            | {"at_edge": [EDGE | {"searched": {"choice": [16, 32]}, "parameter": "batch_size"}]}
        },
    ],
)
def test_the_default_and_a_choice_have_no_edge(changes: dict[str, Any]) -> None:
    assert "further" not in texts(verdict(report(), **changes))


def test_a_search_that_found_nothing_keeps_its_default() -> None:
    found = verdict(report(), best=record()["default"])
    assert "Keep the default configuration" in texts(found)
    assert "split_seed" not in texts(found)


@pytest.mark.parametrize(("noise", "ceiling"), [(0.111, "about 94%"), (0.01, None), (None, None)])
def test_labels_that_disagree_have_a_ceiling(noise: float | None, ceiling: str | None) -> None:
    found = texts(verdict(report(), data=record()["data"] | {"label_noise": noise}))
    assert ("Check the labels" in found) is (ceiling is not None)
    if ceiling is not None:
        assert ceiling in found


def test_few_test_rows_are_a_reason_to_label_more() -> None:
    found = texts(verdict(against(0.01, 0.5)))
    assert "the test score is known to +/- 4.0 points" in found
    point = against(0.01, 0.5) | {"confidence_intervals": {"score": [0.8, 0.8]}}
    assert "+/-" not in texts(verdict(point))


def test_a_model_that_collapsed_is_replaced_by_the_baseline_and_a_pretrained_encoder() -> None:
    collapsed = report(confusion_matrix=[[20, 0], [20, 0]])
    first, *_, last = verdict(collapsed, **FROM_SCRATCH).next_steps
    assert "lower learning rates" in first.text
    assert "pretrained encoder" in last.text
    assert "pretrained" not in texts(verdict(collapsed))


def test_what_a_result_without_trust_asks_for_comes_before_the_baseline(tmp_path: Path) -> None:
    final = tmp_path / "final"
    (final / "reports").mkdir(parents=True)
    (final / "reports" / "evaluation_report.json").write_text("{}")
    (final / "baseline").mkdir()
    twice = {"test_openings": [{"at": "2026", "reason": "first"}] * 2}
    baseline = report()["baseline"] | {"score": 0.9}
    first, second, third = verdict(report(**twice, baseline=baseline), Run(tmp_path)).next_steps
    assert first.text.startswith("Quote the report of the first evaluation")
    assert second.text.startswith("Label new rows")
    assert third.text == "Meanwhile classify texts with TF-IDF"
    assert third.command == predict_command(str(final / "baseline"))
    ahead = verdict(report(**twice), Run(tmp_path))
    assert "Meanwhile" not in texts(ahead)


def test_commands_quote_a_directory_with_blanks() -> None:
    found = verdict(None, Run(Path("/my runs/it's")))
    assert "--run '/my runs/it'\"'\"'s'" in texts(found)
