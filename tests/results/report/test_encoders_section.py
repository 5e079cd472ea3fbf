"""The section on encoders, and words among the parameters of a report."""

from pathlib import Path
from typing import Any

from results.report.page import build_report
from results.run import Run
from results.trial_states import Source, Status
from tests.results.report.runs import EVIL, record, small_run, write_curves


def _searched_encoders(directory: Path) -> tuple[Run, dict[str, Any]]:
    """A run that searched two encoders, one named by malicious marks, and words beside numbers."""
    evil = f"/models/{EVIL.replace('/', '')}"
    space = {"model": {"choice": ["tiny", evil]}, "dropout": {"choice": [None, 0.1]}}
    best = {"trial_id": "t0001", "parameters": {"model": evil, "dropout": None}}
    default = {"trial_id": "t0000", "parameters": {"model": "tiny", "dropout": 0.1}}
    scores = {"search_score": 0.7, "score": 0.69, "replicates": 2, "standard_error": 0.01}
    lead = {"difference": 0.01, "distinguishable": False, "replicates": 2}
    base = record()
    costs = {"parameters": 1200, "bytes": 4800, "tokens_per_word": 1.5, "trials": 1}
    run = Run(directory)
    run.directory.mkdir()
    blank = {"status": Status.COMPLETED, "score": 0.7, "f1_macro": 0.7, "examples": 3000}
    run.write_trials(
        ("model", "dropout"),
        [
            {**blank, **default["parameters"], "trial_id": "t0000", "source": Source.DEFAULT},
            {**blank, **best["parameters"], "trial_id": "t0001", "source": Source.SEARCH},
        ],
    )
    full = [(500, 0.3), (1500, 0.5), (3000, 0.6)]
    write_curves(run, {"t0000": full, "t0001": full})
    return run, {
        **base,
        "search": {**base["search"], "space": space},
        "best": {**base["best"], **best},
        "default": {**base["default"], **default},
        "encoders": [
            {
                **{"name": "tiny", **costs, "seconds_per_row": 0.001, "lead_of_winner": lead},
                "best": {**default, **scores, "collapsed_or_diverged": 0},
            },
            {"name": evil, **costs, "seconds_per_row": 0.004, "best": {**best, **scores}},
        ],
    }


def test_encoders_have_a_section_and_their_names_are_no_markup(tmp_path: Path) -> None:
    run, found = _searched_encoders(tmp_path / "run")
    page = build_report(run, found, with_texts=True)
    assert '<section id="encoders"' in page
    assert "0.690 \u00b1 0.010 (2 replicates)" in page
    assert "Recommended: tiny, since the winner&#x27;s encoder" in page
    assert "--encoder tiny" in page
    assert EVIL not in page
    assert "<img" not in page
    assert 'title="/models/&lt;img' in page
    assert ">null</td>" in page


def test_a_search_of_one_encoder_has_no_section_on_encoders(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    one = {"name": "tiny", "parameters": 1234, "bytes": 4_936_000, "seconds_per_row": 0.0005}
    page = build_report(run, record(encoders=[{**one, "trials": 2, "best": None}]), with_texts=True)
    assert '<section id="encoders"' not in page
    assert "seconds per 1,000 training rows" in page


def test_configurations_of_earlier_runs_are_listed(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    entry = {"run": f"/runs/{EVIL}", "trial_id": "t0001", "score_there": 0.81234, "notes": [EVIL]}
    page = build_report(
        run,
        record(warm_start=[{**entry, "parameters": {"schedule": "cosine"}}]),
        with_texts=True,
    )
    assert "Configurations of earlier runs" in page
    assert "schedule cosine</td>" in page
    assert "0.812</td>" in page
    assert EVIL not in page
