"""The page of a run: whole before and after the test, and safe whatever the data hold."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from results.metric_names import F1_MACRO_PRESENT
from results.report import write_report
from results.run import Run

EVIL = "<img src=x onerror=alert(1)>\"'&"
SCORES = "Search, confirmation and test"
SEARCH_SECTIONS = ["Confirmation", "Trials", "Data", "How to repeat it"]
BEFORE = ["Verdict", SCORES, "Test", *SEARCH_SECTIONS]
OF_TEST = ["Test", "Retrain", "Calibration", "Rows of low confidence", "Error analysis", "Gates"]
AFTER = ["Verdict", SCORES, *OF_TEST, *SEARCH_SECTIONS]
PARAMETERS = {"learning_rate": 3e-4, "batch_size": 16}
PICTURES = ("training_curves.png", "confusion_matrix.png", "class_f1.png", "reliability.png")


def _record(**changes):
    candidate = {"trial_id": "t0000", "parameters": PARAMETERS, "epochs": 3.0}
    return {
        "status": "completed",
        "seconds": 12.5,
        "command": f"python -m tuning.search --data {EVIL}",
        "repeatable": True,
        "data": {
            "path": EVIL,
            "sha256": "ab" * 32,
            "rows": 10,
            "kept": 9,
            "dropped": {"low confidence": 1},
            "class_counts": {"train": {EVIL: 4, "b": 2}, "test": {EVIL: 2, "b": 1}},
        },
        "environment": {"packages": {"torch": "2.13.0"}, "commit": "abc"},
        "trials": {"requested": 2, "completed": 2, "stopped_early": 0, "failed": 0},
        "best": {
            **candidate,
            "trial_id": "t0001",
            "search_f1_macro": 0.71,
            "f1_macro": 0.705,
            "at_edge": [],
        },
        "default": {**candidate, "search_f1_macro": 0.6, "f1_macro": 0.6},
        "confirmation": {
            "replicates": [{"seed": 1, "split_seed": 2}, {"seed": 3, "split_seed": 4}],
            "candidates": [
                {
                    "parameters": PARAMETERS,
                    "f1_macro": [0.61, 0.62],
                    "mean": 0.615,
                    "standard_error": 0.005,
                },
                {"parameters": PARAMETERS, "f1_macro": [], "mean": None, "standard_error": None},
            ],
            "winner_beats_default": {
                "leader": PARAMETERS,
                **{"draws": 2, "default_mean": 0.605, "leader_mean": 0.705},
                "difference": 0.1,
                "standard_error": 0.02,
                "distinguishable": True,
            },
            "verdict": f"the winner leads {EVIL}",
            "smallest_detectable_difference": 0.0123,
            "score_correlation": 0.42,
        },
        **changes,
    }


def _test_report(**changes):
    scores = {"accuracy": 0.75, "f1_macro": 0.7}
    classes = {EVIL: {"precision": 0.5, "recall": 0.6, "f1": 0.55, "support": 3}}
    return {
        "summary": f"found {EVIL}",
        **scores,
        "per_class": classes,
        "confidence_intervals": {
            **{"accuracy": [0.7, 0.8], "f1_macro": [0.65, 0.75]},
            f"f1 of {EVIL}": [0.0, 0.0],
        },
        "baseline": {"name": EVIL, **scores},
        "gates": {f"f1 of {EVIL}": {"threshold": 0.7, "value": 0.55, "met": False}},
        "test_openings": [{"at": "2025-01-01T00:00:00+00:00", "reason": EVIL}],
        "method": {
            **{"labels": "scores are agreement", "intervals_cover": "rows"},
            "few_rows": {EVIL: 3},
        },
        "retrain": {
            **{"seed": 44, "rejected_attempts": [f"seed 43: {EVIL}"], "rows": 1234},
            "seconds": 12.3,
        },
        "search": {
            "trial_id": "t0001",
            "search_f1_macro": 0.71,
            "confirmed_f1_macro": 0.695,
            "confirmed_deviation": 0.0345,
        },
        "calibration": {
            "expected_calibration_error": 0.0777,
            "brier_score": 0.3,
            "negative_log_likelihood": 0.6,
            "bins": [],
        },
        "stages": {
            "data": {f"no {EVIL} twice": {"met": True, "value": 0, "rule": f"0 {EVIL}"}},
            "training": {"loss fallen": {"met": False, "value": EVIL, "rule": "it falls"}},
        },
        "low_confidence": {
            **{"rows": 17, "accuracy": 0.4, F1_MACRO_PRESENT: 0.3333, "per_class": classes},
            **{"confidence_intervals": {F1_MACRO_PRESENT: [0.2, 0.4]}, "note": f"apart {EVIL}"},
        },
        **changes,
    }


ANALYSIS = {
    "rows": 100,
    "errors": 25,
    "error_rate": 0.25,
    "findings": [f"long texts fail more {EVIL}"],
    "by_distance": {
        "neighbouring": {"errors": 20, "share_of_errors": 0.8},
        "distribution": [{"distance": 0, "rows": 75, "share_of_rows": 0.75}],
    },
    "by_similarity": [
        {"low": 0.1, "high": 0.33, "rows": 50, "errors": 20, "error_rate": 0.4},
        {"low": 0.34, "high": 1.0, "rows": 50, "errors": 5, "error_rate": 0.1},
    ],
    "by_label_confidence": None,
    "not_analysed": {"by_label_confidence": "not measured"},
    "most_confident": [{"index": 3, "label": EVIL, "prediction": "b", "confidence": 0.99}],
}


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / f"run {EVIL.replace('/', '')}")
    run.directory.mkdir()
    run.write_trials(
        ("learning_rate",),
        [
            {"trial_id": "t0000", "status": "completed", "source": "default", "f1_macro": 0.6},
            {"trial_id": "t0001", "status": "completed", "source": "search", "f1_macro": 0.71},
            {"trial_id": "t0002", "status": "failed", "source": "search", "error": EVIL},
            {"trial_id": "t0003", "status": "stopped", "source": "search", "f1_macro": 0.9},
            {"trial_id": "t0004", "status": "completed", "source": "confirm", "f1_macro": 0.99},
        ],
    )
    return run


@pytest.fixture(scope="session")
def large_picture():
    """A picture of the size that the reports have."""
    pixels = np.full((1200, 2400, 3), 255, dtype=np.uint8)
    pixels[300:900, 500:1900] = (0, 114, 178)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", dpi=(300, 300))
    return content.getvalue()


@pytest.fixture
def pictures(tmp_path, large_picture):
    directory = tmp_path / "reports"
    directory.mkdir()
    for name in PICTURES:
        (directory / name).write_bytes(large_picture)
    (directory / "error_analysis.json").write_text(json.dumps(ANALYSIS), encoding="utf-8")
    return directory


class _Page(HTMLParser):
    """Every tag, its attributes, and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = set(), [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"


def _page(run, record, test=None, reports=None):
    write_report(run, record, test=test, reports=reports)
    text = run.report.read_text("utf-8")
    page = _Page(text)
    assert page.open == []
    return text, page


@pytest.mark.parametrize("opened", [False, True])
def test_all_sections_are_there_before_and_after_the_test(run, pictures, opened):
    given = {"test": _test_report(), "reports": pictures} if opened else {}
    text, page = _page(run, _record(), **given)
    assert re.findall("<h2>(.*?)</h2>", text) == (AFTER if opened else BEFORE)
    assert ("The test was not opened." in page.text) is not opened
    assert text.count("<img ") == (4 if opened else 0)


def test_text_of_the_data_is_never_markup_and_is_shown_as_it_stands(run, pictures):
    text, page = _page(run, _record(), test=_test_report(), reports=pictures)
    assert "<img src=x" not in text
    assert page.tags == {
        *("html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "h3"),
        *("table", "thead", "tbody", "tr", "th", "td", "code", "img", "p"),
    }
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(EVIL) >= 18


@pytest.mark.parametrize("opened", [False, True])
def test_nothing_is_loaded_from_anywhere(run, pictures, opened):
    given = {"test": _test_report(), "reports": pictures} if opened else {}
    text, page = _page(run, _record(), **given)
    loads = [value for name, value in page.attributes if name in ("src", "href", "srcset")]
    assert all(value.startswith("data:image/png;base64,") for value in loads)
    assert not re.search(r"url\(|@import|https?://", text)


def test_a_run_without_scores_or_confirmation_has_its_page(run):
    record = _record(status="interrupted", best=None, default=None, confirmation=None)
    _, page = _page(run, record)
    assert "The search is interrupted; no trial has a score yet." in page.text
    assert "scores of the search are the best of many" in page.text


def test_a_missing_or_broken_picture_is_left_out(run, pictures):
    (pictures / "training_curves.png").unlink()
    whole = (pictures / "class_f1.png").read_bytes()
    (pictures / "class_f1.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "reliability.png").write_bytes(b"no picture")
    text, _ = _page(run, _record(), test=_test_report(), reports=pictures)
    assert text.count("<img ") == 1


def test_pictures_are_embedded_as_smaller_copies_that_open(run, pictures, large_picture):
    _, page = _page(run, _record(), test=_test_report(), reports=pictures)
    sources = [value for name, value in page.attributes if name == "src"]
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
            assert picture.size == (1600, 800)
            assert picture.convert("RGB").getpixel((800, 300)) == (0, 114, 178)
    assert (pictures / "class_f1.png").read_bytes() == large_picture
    assert all(value for name, value in page.attributes if name == "alt")


def test_the_three_scores_stand_side_by_side_and_their_gap_is_named(run, pictures):
    _, page = _page(run, _record(), test=_test_report(), reports=pictures)
    assert re.search(r"search\s+0\.7100[^|]*confirmation\s+0\.6950[^|]*test\s+0\.7000", page.text)
    assert "Optimism of the search: its score is 1.00 points above the test's." in page.text
    assert "The confirmation shows no optimism: its score is 0.50 points below" in page.text


def test_before_the_test_two_scores_stand_there_and_no_gap(run):
    _, page = _page(run, _record())
    assert re.search(
        r"search\s+0\.7100[^|]*confirmation\s+0\.7050[^|]*test\s+not opened", page.text
    )
    assert "ptimism" not in page.text
    _, page = _page(run, _record(confirmation=None))
    assert re.search(r"confirmation\s+none", page.text)


def test_the_deviation_between_seeds_stands_beside_the_interval(run, pictures):
    _, page = _page(run, _record(), test=_test_report(), reports=pictures)
    assert "validation rows of its own, lie within about +/- 6.90 points (two" in page.text
    assert "the test's interval is about +/- 5.00 points (half its width)" in page.text
    _, page = _page(run, _record(), test=_test_report(search={"search_f1_macro": 0.71}))
    assert "was not measured" in page.text


def test_stages_calibration_low_confidence_and_errors_are_shown(run, pictures):
    _, page = _page(run, _record(), test=_test_report(), reports=pictures)
    for text in (
        *("loss fallen", "it falls", "0.0777", "17 rows. apart", "0.3333", "0.2000 to 0.4000"),
        *("25 of 100 test rows are wrong.", "Long texts fail more", "Errors by similarity"),
        *("40.0%", "0.3300", "80.0%", "Errors by label confidence are left out: not measured."),
    ):
        assert text in page.text, text


def test_the_seed_of_the_model_and_the_rejected_attempts_are_shown(run, pictures):
    _, page = _page(run, _record(), test=_test_report(), reports=pictures)
    assert "on 1,234 rows in 12 s, with seed 44; attempts rejected before" in page.text
    assert f"rejected before the test was opened: seed 43: {EVIL}." in page.text


def test_a_class_of_few_rows_is_marked_and_the_gates_show_their_p_value(run, pictures):
    gate = {"threshold": 0.0, "value": 0.02, "met": False, "p_value": 0.4321}
    test = _test_report(gates={"beats the baseline": gate})
    _, page = _page(run, _record(), test=test, reports=pictures)
    assert "0.0000 to 0.0000 (too few rows for its interval to be trusted)" in page.text
    assert re.search(r"beats the baseline\s+0.0000\s+0.0200\s+0.4321\s+no\n", page.text)


def test_the_macro_f1_of_low_confidence_is_not_named_as_the_tests(run, pictures):
    _, page = _page(run, _record(), test=_test_report(), reports=pictures)
    _, _, apart = page.text.partition("Rows of low confidence")
    assert re.search(r"macro-F1 of the classes that have rows here\s+0.3333", apart)
    assert not re.search(r"macro-F1\s+0", apart.partition("Error analysis")[0])


def test_an_older_report_without_the_later_keys_has_its_page(run, pictures):
    later = ("search", "retrain", "calibration", "stages", "low_confidence")
    test = {key: value for key, value in _test_report().items() if key not in later}
    (pictures / "error_analysis.json").write_text("{", encoding="utf-8")
    text, page = _page(run, _record(), test=test, reports=pictures)
    assert re.findall("<h2>(.*?)</h2>", text) == [
        *("Verdict", SCORES, "Test", "Gates", *SEARCH_SECTIONS)
    ]
    assert re.search(r"search\s+0\.7100[^|]*confirmation\s+0\.7050[^|]*test\s+0\.7000", page.text)
    assert _page(run, _record(), test=_test_report(low_confidence=None, gates={}, stages={}))


def test_trials_are_ranked_by_equal_budgets_and_confirmations_come_last(run):
    _, page = _page(run, _record())
    order = re.findall(r"^(t000\d)$", page.text, flags=re.MULTILINE)
    assert order == ["t0001", "t0000", "t0003", "t0002", "t0004"]


def test_every_opening_of_the_test_is_shown(run, pictures):
    test = _test_report()
    test["test_openings"].append({"at": "2025-02-02T00:00:00+00:00", "reason": "labels mended"})
    _, page = _page(run, _record(), test=test, reports=pictures)
    for text in ("2025-01-01", "2025-02-02", "labels mended"):
        assert text in page.text


def test_a_name_that_no_file_can_hold_does_not_stop_the_page(run):
    text, _ = _page(run, _record(command="search \ud800"))
    assert "search ?" in text
