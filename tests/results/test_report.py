"""The page of a run: whole before and after the test, and safe whatever the data hold."""

import re
from html.parser import HTMLParser

import pytest

from results.report import write_report
from results.run import Run

EVIL = "<img src=x onerror=alert(1)>\"'&"
SECTIONS = ["Verdict", "Test", "Confirmation", "Trials", "Data", "How to repeat it"]
PARAMETERS = {"learning_rate": 3e-4, "batch_size": 16}
PNG = b"\x89PNG\r\n\x1a\nnot much"


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
        "best": {**candidate, "trial_id": "t0001", "search_f1_macro": 0.71, "f1_macro": 0.7},
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
                "difference": 0.1,
                "standard_error": 0.02,
                "distinguishable": True,
            },
        },
        **changes,
    }


def _test_report():
    scores = {"accuracy": 0.75, "f1_macro": 0.7}
    return {
        "summary": f"found {EVIL}",
        **scores,
        "per_class": {EVIL: {"precision": 0.5, "recall": 0.6, "f1": 0.55, "support": 3}},
        "confidence_intervals": {"accuracy": [0.7, 0.8], "f1_macro": [0.65, 0.75]},
        "baseline": {"name": EVIL, **scores},
        "gates": {f"f1 of {EVIL}": {"threshold": 0.7, "value": 0.55, "met": False}},
        "test_openings": [{"at": "2025-01-01T00:00:00+00:00", "reason": EVIL}],
        "method": {"labels": "scores are agreement", "intervals_cover": "rows"},
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


@pytest.fixture
def pictures(tmp_path):
    directory = tmp_path / "reports"
    directory.mkdir()
    for name in ("training_curves.png", "confusion_matrix.png"):
        (directory / name).write_bytes(PNG)
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
    assert re.findall("<h2>(.*?)</h2>", text) == SECTIONS
    assert ("The test was not opened." in page.text) is not opened
    assert text.count("<img ") == (2 if opened else 0)


def test_text_of_the_data_is_never_markup_and_is_shown_as_it_stands(run, pictures):
    text, page = _page(run, _record(), test=_test_report(), reports=pictures)
    assert "<img src=x" not in text
    assert page.tags == {
        *("html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "p"),
        *("table", "thead", "tbody", "tr", "th", "td", "code", "img"),
    }
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(EVIL) >= 10


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


def test_a_missing_picture_is_left_out(run, pictures):
    (pictures / "training_curves.png").unlink()
    text, _ = _page(run, _record(), test=_test_report(), reports=pictures)
    assert text.count("<img ") == 1


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
