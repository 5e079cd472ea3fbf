"""The page of a run: whole before and after the test, and safe whatever the data hold."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects
import pytest

from results.errors import RunError
from results.report.page import page_of as page_of_run
from results.report.page import write_report
from results.run import Run
from tests.results.report.runs import (
    EVIL,
    SECRET,
    evaluation_report,
    record,
    small_run,
    write_reports,
)

SEARCH_SECTIONS = [
    *("Leaderboard", "Confirmation", "Learning curves", "Parameters", "Data", "How to repeat it"),
]
BEFORE = ["Verdict", "Test", *SEARCH_SECTIONS]
AFTER = ["Verdict", "Test", "Gates", *SEARCH_SECTIONS]
OF_TEST = [
    *("Scores", "Confusion matrix", "Classes", "Calibration", "Hardest mistakes"),
    *("Error analysis", "Rows of low confidence", "Retrain"),
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return small_run(tmp_path / f"run {EVIL.replace('/', '')}")


@pytest.fixture
def tested(run: Run) -> Run:
    write_reports(run, evaluation_report())
    return run


class Page(HTMLParser):
    """Every tag, its attributes, and the text of a page, scripts and styles apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.blocks: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)
        if tag == "script" and ("type", "application/json") in attrs:
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            if self.blocks:
                self.blocks[-1] += data
        elif self.open[-1:] != ["style"]:
            self.text += data + "\n"


def page_of(run: Run, **changes: Any) -> tuple[str, Page]:
    """The page without the code that all pages share, and what a parser makes of it."""
    write_report(run, record(**changes))
    whole, _, _ = run.report.read_text("utf-8").partition("</main>")
    page = Page(whole + "</main></body></html>")
    assert page.open == []
    return whole, page


def headings(text: str, level: int) -> list[str]:
    return re.findall(rf"<h{level}[^>]*>(.*?)</h{level}>", text)


def test_all_sections_are_there_before_the_test_and_after(run: Run) -> None:
    text, page = page_of(run)
    assert headings(text, 2) == BEFORE
    assert "The test was not opened." in page.text
    write_reports(run, evaluation_report())
    text, page = page_of(run)
    assert headings(text, 2) == AFTER
    assert [title for title in headings(text, 3) if title in OF_TEST] == OF_TEST
    assert "The test was not opened." not in page.text


def test_text_of_the_data_is_never_markup_and_is_shown_as_it_stands(tested: Run) -> None:
    text, page = page_of(tested)
    assert "<img" not in text
    assert page.tags == {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "nav", "section"),
        *("h1", "h2", "h3", "h4", "ul", "li", "a", "p", "dl", "dt", "dd", "div", "b", "strong"),
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "button", "code", "noscript"),
        *("figure", "figcaption", "script", "label", "select", "option"),
    }
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(EVIL) >= 18


def test_nothing_is_loaded_from_anywhere(tested: Run) -> None:
    text, page = page_of(tested)
    links = [value for name, value in page.attributes if name in ("src", "href", "srcset")]
    assert all(value is not None and value.startswith("#") for value in links)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text


def test_every_chart_is_one_that_plotly_takes(tested: Run) -> None:
    _, page = page_of(tested)
    assert len(page.blocks) >= 8
    for block in page.blocks:
        # Names of colours are for the page's style sheet.
        figure = json.loads(re.sub(r'"@[a-z0-9-]+"', '"#000000"', block))
        plotly.graph_objects.Figure(figure)
        assert figure["data"]


def test_a_chart_holds_texts_of_the_data_as_text(tested: Run) -> None:
    _, page = page_of(tested)
    assert not any("<img" in json.dumps(json.loads(block)) for block in page.blocks)
    assert any("&lt;img" in json.dumps(json.loads(block)) for block in page.blocks)


def test_each_chart_says_in_words_what_it_shows(tested: Run) -> None:
    text, page = page_of(tested)
    labels = re.findall(r'class="plot" role="group" aria-label="([^"]+)"', text)
    assert len(labels) == len(page.blocks)
    assert text.count("<figcaption>") == len(page.blocks)


def test_texts_of_rows_are_left_out_where_that_is_asked_for(tested: Run) -> None:
    _, page = page_of(tested)
    assert SECRET in page.text
    write_report(tested, record(), with_texts=False)
    text = tested.report.read_text("utf-8")
    assert SECRET not in text
    assert "Texts are left out of this copy." in text


def test_the_last_opening_of_the_test_is_shown(tested: Run) -> None:
    for number in (2, 10):
        again = evaluation_report(summary=f"found at opening {number}")
        write_reports(tested, again, directory=f"final-{number}")
    _, page = page_of(tested)
    assert "Found at opening 10" in page.text
    assert "opening 2" not in page.text


def test_a_run_without_scores_or_confirmation_has_its_page(run: Run) -> None:
    _, page = page_of(run, status="interrupted", best=None, default=None, confirmation=None)
    assert "The search is interrupted; no trial has a score yet." in page.text
    assert "scores of the search are the best of many" in page.text


def test_a_run_that_has_just_begun_has_its_page(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_trials((), [])
    text, page = page_of(run, status="running", best=None, default=None, confirmation=None)
    assert headings(text, 2) == BEFORE
    assert "No trial has begun yet." in page.text


def test_a_search_that_runs_says_that_this_is_not_its_result(run: Run) -> None:
    _, page = page_of(run, status="running")
    assert "The search is running: what stands here is not its result yet." in page.text


def test_the_three_scores_stand_side_by_side_and_their_gap_is_named(tested: Run) -> None:
    _, page = page_of(tested)
    assert re.search(r"search\s+0\.7100[^|]*confirmation\s+0\.6950[^|]*test\s+0\.7000", page.text)
    assert "Optimism of the search: its score is 1.00 points above the test's." in page.text
    assert "The confirmation shows no optimism: its score is 0.50 points below" in page.text


def test_before_the_test_two_scores_stand_there_and_no_gap(run: Run) -> None:
    two = r"search\s+0\.7100[^|]*confirmation\s+0\.7050[^|]*test\s+not opened"
    _, page = page_of(run)
    assert re.search(two, page.text)
    assert "ptimism" not in page.text
    _, page = page_of(run, confirmation=None)
    assert re.search(r"confirmation\s+none", page.text)


def test_the_figures_at_the_top_say_what_the_lead_is_worth(run: Run) -> None:
    _, page = page_of(run)
    assert "+10.00 points\non 2 fresh draws, standard error 2.00: distinguishable" in page.text
    _, page = page_of(run, confirmation=None)
    assert "not known\nnot confirmed on fresh draws" in page.text
    default = record()["default"]
    _, page = page_of(run, best={**default, "at_edge": []})
    assert "none\nthe default stays" in page.text


def test_the_deviation_between_seeds_stands_beside_the_interval(tested: Run) -> None:
    _, page = page_of(tested)
    assert "validation rows of its own, lie within about +/- 6.90 points (two" in page.text
    assert "the test's interval is about +/- 5.00 points (half its width)" in page.text
    write_reports(tested, evaluation_report(search={"search_f1_macro": 0.71}), directory="final-2")
    _, page = page_of(tested)
    assert "was not measured" in page.text


def test_stages_calibration_low_confidence_and_errors_are_shown(tested: Run) -> None:
    _, page = page_of(tested)
    for text in (
        *("loss fallen", "it falls", "0.0777", "17 rows. apart", "0.3333", "0.2000 to 0.4000"),
        *("25 of 100 test rows are wrong.", "Long texts fail more", "Errors by similarity"),
        *("40.0%", "0.3300", "80.0%", "Errors by label confidence are left out: not measured."),
        *("1 of 3", "3 groups of like texts", "9.2% have labels that disagree"),
    ):
        assert text in page.text, text


def test_the_seed_of_the_model_and_the_rejected_attempts_are_shown(tested: Run) -> None:
    _, page = page_of(tested)
    assert "on 1,234 rows in 12 s, with seed 44; attempts rejected before" in page.text
    assert f"rejected before the test was opened: seed 43: {EVIL}." in page.text


def test_a_class_of_few_rows_is_marked_and_the_gates_show_their_p_value(run: Run) -> None:
    gate = {"threshold": 0.0, "value": 0.02, "met": False, "p_value": 0.4321}
    write_reports(run, evaluation_report(gates={"beats the baseline": gate}))
    _, page = page_of(run)
    assert "0.0000 to 0.0000 (too few rows for its interval to be trusted)" in page.text
    assert re.search(r"beats the baseline\s+0.0000\s+0.0200\s+0.4321\s+no\n", page.text)


def test_the_macro_f1_of_low_confidence_is_not_named_as_the_tests(tested: Run) -> None:
    _, page = page_of(tested)
    _, _, apart = page.text.partition("Rows of low confidence")
    assert re.search(r"macro-F1 of the classes that have rows here\s+0.3333", apart)
    assert not re.search(r"macro-F1\s+0", apart.partition("Retrain")[0])


def test_an_older_run_without_the_later_keys_has_its_page(run: Run) -> None:
    later = (*("search", "retrain", "calibration", "stages", "low_confidence", "confusion_matrix"),)
    test = {key: value for key, value in evaluation_report().items() if key not in later}
    reports = write_reports(run, test)
    (reports / "error_analysis.json").write_text("{", encoding="utf-8")
    (reports / "misclassified.csv").unlink()
    old = record()
    del old["search"]
    write_report(run, old)
    page = Page(run.report.read_text("utf-8").partition("<script>")[0] + "</body></html>")
    assert re.search(r"search\s+0\.7100[^|]*confirmation\s+0\.7050[^|]*test\s+0\.7000", page.text)
    assert "training rows seen" in page.text
    write_reports(
        run, evaluation_report(low_confidence=None, gates={}, stages={}), directory="final-2"
    )
    assert "no quality gate was asked for" in page_of(run)[1].text


def test_files_that_do_not_hold_what_the_page_needs_end_nothing_and_are_told(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    write_report(run, record())
    before = run.report.read_text("utf-8")
    write_report(run, record(data={"class_counts": "damaged", "dropped": 3}))
    assert "report.html was not written: run " in caplog.text
    assert run.report.read_text("utf-8") == before
    with pytest.raises(RunError, match="do not hold what the report needs"):
        page_of_run(run, record(data=None), with_texts=True)


def test_a_report_of_the_test_that_cannot_be_read_counts_as_none(run: Run) -> None:
    reports = write_reports(run, evaluation_report())
    (reports / "evaluation_report.json").write_text('{"summary"', encoding="utf-8")
    assert "The test was not opened." in page_of(run)[1].text


def test_trials_are_ranked_by_equal_budgets_and_confirmations_stand_apart(run: Run) -> None:
    _, page = page_of(run)
    board = page.text.partition("a column's button sorts by it")[2].partition("Confirmation")[0]
    assert re.findall(r"^t000\d", board, flags=re.MULTILINE) == ["t0001", "t0000", "t0003", "t0002"]


def test_a_line_torn_by_a_crash_is_no_evaluation_and_stays_in_the_file(run: Run) -> None:
    with run.curves.open("a", encoding="utf-8") as file:
        file.write("t0001,9000,9,1,0.1,0.1,0.9")
    before = run.curves.read_bytes()
    _, page = page_of(run)
    assert not any("0.9" in re.findall(r'"y":\[([^]]*)', block)[0] for block in page.blocks[:1])
    assert run.curves.read_bytes() == before


def test_every_opening_of_the_test_is_shown(run: Run) -> None:
    test = evaluation_report()
    test["test_openings"].append({"at": "2025-02-02T00:00:00+00:00", "reason": "labels mended"})
    write_reports(run, test)
    _, page = page_of(run)
    for text in ("2025-01-01", "2025-02-02", "labels mended"):
        assert text in page.text


def test_a_name_that_no_file_can_hold_does_not_stop_the_page(run: Run) -> None:
    text, _ = page_of(run, command="search \ud800")
    assert "search ?" in text
