"""The report of a search whose trials end at the last rung."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from results.report.page import build_report
from results.run import Run
from tests.results.report.last_rung import last_rung_run, record
from tests.results.report.runs import evaluation_report, write_reports
from tests.results.report.test_page import Page


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return last_rung_run(tmp_path / "run")


def page_of(run: Run) -> Page:
    text = build_report(run, run.read_whole_record(), with_texts=True).partition("</main>")[0]
    return Page(text + "</main></body></html>")


def changed(run: Run, **changes: Any) -> Page:
    run.write_record(record(**changes))
    return page_of(run)


def words(page: Page) -> str:
    return re.sub(r"\s+", " ", page.text)


def leaderboard_of(run: Run) -> str:
    text = words(page_of(run)).partition("the button of a column sorts by it")[2]
    return text.partition("A replicate trains")[0]


def test_the_leaderboard_ranks_by_the_rung_reached_then_by_the_score_there(run: Run) -> None:
    leaderboard = leaderboard_of(run)
    assert re.findall(r"t000\d", leaderboard) == ["t0002", "t0001", "t0000", "t0003"]
    for row in (
        "t0002 ended at the last rung 0.0007 8 0.6200 rung 2 0.7200",
        "t0001 (winner) ended at the last rung 0.0005 8 0.6000 rung 2 0.7000",
        "t0000 (default) ended at the last rung 0.0003 16 0.4500 rung 2 0.5000",
        "t0003 stopped early at a rung 0.0009 32 0.9000 rung 1 0.9000",
    ):
        assert row in leaderboard, leaderboard


def test_a_trial_that_trained_on_beyond_the_last_rung_is_ranked_there_by_its_last_score(
    run: Run,
) -> None:
    rows = run.read_trials()
    late = dict(rows[1], status="completed", stopped_by="", score="0.61", examples="3000")
    rows[1] = late
    run.write_trials(("learning_rate", "batch_size"), rows)
    with run.curves.open("a", encoding="utf-8") as file:
        row = run.read_complete_curves()[-1] | {"trial_id": "t0001", "score": "0.61"}
        file.write(",".join(map(str, row.values())) + "\n")
    leaderboard = leaderboard_of(run)
    assert re.findall(r"t000\d", leaderboard) == ["t0002", "t0001", "t0000", "t0003"]
    assert "t0001 (winner) completed 0.0005 8 0.6100 full budget" in leaderboard


def test_trials_that_ended_at_the_last_rung_are_no_early_stops_in_the_chart(run: Run) -> None:
    page = page_of(run)
    (curves,) = (json.loads(block) for block in page.blocks if '"name":"stopped here"' in block)
    traces = {trace["name"]: trace for trace in curves["data"]}
    assert traces["ended at the last rung"]["text"][0] == "t0002"
    assert set(traces["stopped early"]["text"]) == {"t0003", None}
    assert traces["stopped here"]["text"] == ["t0003, stopped early at a rung"]
    assert {"the default, t0000", "the winner, t0001", "confirmations"} <= set(traces)
    for sentence in (
        "Rung 1, 0.5 epochs: 4 trials reached it; stopped early there: 1.",
        "Rung 2, 1.5 epochs: 3 trials reached it; the search ends there.",
        "The confirmations train the finalists afresh to the full budget.",
    ):
        assert sentence in page.text


def test_the_plots_of_the_parameters_have_the_scores_at_the_rungs(run: Run) -> None:
    page = page_of(run)
    fifths = [block for block in page.blocks if '"name":"best fifth"' in block]
    assert len(fifths) == 1
    against = next(block for block in page.blocks if '"name":"the winner"' in block)
    winner = [t for t in json.loads(against)["data"] if t["name"] == "the winner"]
    assert [trace["y"] for trace in winner] == [[0.4], [0.6]]


def test_the_verdict_counts_the_trials_of_the_last_rung_and_labels_search_scores(
    run: Run,
) -> None:
    text = words(page_of(run))
    counts = "3 ended at the last rung (after 1.5 of 3 epochs), 1 stopped early, 0 failed"
    assert f"Trials: {counts}, in 12 s." in text
    assert "0.6000 after 1.5 of 3 epochs in the search; default 0.4500 after 1.5 of 3" in text
    assert "search, after 1.5 of 3 epochs 0.6000 a shorter training" in text


def test_the_score_of_a_shorter_training_is_no_measure_of_optimism(run: Run) -> None:
    write_reports(run, evaluation_report())
    text = page_of(run).text
    assert (
        "The search score was taken after 1.5 of 3 epochs, so that its distance to the test score"
        " is no measure of optimism."
    ) in text
    assert "The search score is" not in text
    assert "The confirmation score is 0.50 points below the test score: no optimism." in text


def test_the_confirmation_explains_how_it_decides(run: Run) -> None:
    text = words(page_of(run))
    for sentence in (
        "After each replicate the finalist furthest behind is dropped",
        "is above 97.6% after 3, 95.6% after 4, 93.6% after 5 replicates.",
        "On 3 shared replicates the best finalist leads the default by 7.00 points; the"
        " probability that this sign is right is 99.1%.",
        "t0001 learning_rate 0.0005, batch_size 8 0.6600, 0.7000, 0.6800 0.6800 0.0100 +7.00 poi",
        "batch_size 8 0.6300 0.6300 +3.00 points after replicate 1",
    ):
        assert sentence in text, text


def test_a_finalist_that_failed_on_a_replicate_has_no_score_there(run: Run) -> None:
    found = record()["confirmation"]
    found["candidates"][1] |= {"score": [0.66, None, 0.68], "mean": 0.67}
    text = words(changed(run, confirmation=found))
    assert "0.6600, none, 0.6800 0.6700 0.0100 +6.50 points" in text


def test_a_default_without_challenger_was_trained_alone(run: Run) -> None:
    found = record()["confirmation"]
    alone = found | {"candidates": found["candidates"][:1], "winner_beats_default": None}
    text = words(changed(run, confirmation=alone))
    assert "the default alone was trained on replicates" in text
    assert "replaces the default if" not in text


def test_a_confirmation_that_has_just_started_has_its_page(run: Run) -> None:
    found = record()["confirmation"]
    for candidate in found["candidates"]:
        candidate |= {"score": [None], "mean": None, "standard_error": None, "dropped_after": None}
    started = {**found, "winner_beats_default": None, "smallest_detectable_difference": None}
    page = changed(run, status="running", confirmation=started)
    assert "None" not in page.text
    assert re.search(r"confirmation\s+none", page.text)
