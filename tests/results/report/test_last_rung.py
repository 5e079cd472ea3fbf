"""The report of a search whose trials end at the last rung."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from results.report.page import build_report
from results.run import Run
from tests.results.report.last_rung import last_rung_run, record
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
    return text.partition("Only trials at the same rung")[0]


def test_the_leaderboard_ranks_by_the_rung_reached_then_by_the_score_there(run: Run) -> None:
    leaderboard = leaderboard_of(run)
    assert re.findall(r"t000\d", leaderboard) == ["t0002", "t0001", "t0000", "t0003"]
    for row in (
        "t0002 0.620 0.0007 8 0.720 rung 2 ended at the last rung",
        "t0001 (winner) 0.600 0.0005 8 0.700 rung 2 ended at the last rung",
        "t0000 (default) 0.450 0.0003 16 0.500 rung 2 ended at the last rung",
        "t0003 0.900 0.0009 32 0.900 rung 1 stopped early at a rung",
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
    assert "t0001 (winner) 0.610 0.0005 8 0.700 full budget completed" in leaderboard


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
    ):
        assert sentence in page.text


def test_the_plots_of_the_parameters_have_the_scores_at_the_rungs(run: Run) -> None:
    page = page_of(run)
    fifths = [block for block in page.blocks if '"name":"best fifth"' in block]
    assert len(fifths) == 1
    against = next(block for block in page.blocks if '"name":"the winner"' in block)
    winner = [t for t in json.loads(against)["data"] if t["name"] == "the winner"]
    assert [trace["y"] for trace in winner] == [[0.4], [0.6]]


def test_trials_are_counted_by_how_they_ended_and_search_scores_have_their_epochs(
    run: Run,
) -> None:
    text = words(page_of(run))
    assert "4 trials in 12 s: 3 ended at the last rung, 1 stopped early at a rung." in text
    assert "search score, 0.600 (after 1.5 of 3 epochs, one training) and its mean on 3" in text


def test_the_confirmation_explains_how_it_decides(run: Run) -> None:
    text = words(page_of(run))
    for sentence in (
        "After each replicate the finalist furthest behind is dropped",
        "is above 97.6% after 3, 95.6% after 4, 93.6% after 5 replicates.",
        "replaces the default: +7.0 points on 3 shared replicates, significant difference"
        " (one-sided p = 0.009).",
        "t0001 learning_rate 0.0005, batch_size 8 0.660, 0.700, 0.680 0.680 0.010 +7.0 points",
        "batch_size 8 0.630 0.630 +3.0 points after replicate 1",
    ):
        assert sentence in text, text


def test_a_finalist_that_failed_on_a_replicate_has_no_score_there(run: Run) -> None:
    found = record()["confirmation"]
    found["candidates"][1] |= {"score": [0.66, None, 0.68], "mean": 0.67}
    text = words(changed(run, confirmation=found))
    assert "0.660, none, 0.680 0.670 0.010 +6.5 points" in text


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
    assert "search score, " not in page.text
