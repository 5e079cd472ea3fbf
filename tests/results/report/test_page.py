"""The report: complete before and after the test, and safe whatever texts the data contain."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects
import pytest

from results.errors import RunError
from results.report.page import build_report, write_report
from results.report.search_sections import NOT_TESTED
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
    """The tags, attributes and text of a page, without scripts and styles; `blocks`: its charts."""

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


def page_of(run: Run, *, with_texts: bool = True, **changes: Any) -> tuple[str, Page]:
    """Return the page without the scripts at its end, as text and parsed."""
    whole = build_report(run, record(**changes), with_texts=with_texts).partition("</main>")[0]
    page = Page(whole + "</main></body></html>")
    assert page.open == []
    return whole, page


def headings(text: str, level: int) -> list[str]:
    return re.findall(rf"<h{level}[^>]*>(.*?)</h{level}>", text)


def test_all_sections_are_there_before_the_test_and_after(run: Run) -> None:
    text, page = page_of(run)
    assert headings(text, 2) == BEFORE
    assert NOT_TESTED in page.text
    write_reports(run, evaluation_report())
    text, page = page_of(run)
    assert headings(text, 2) == AFTER
    assert [title for title in headings(text, 3) if title in OF_TEST] == OF_TEST
    assert NOT_TESTED not in page.text


def test_text_of_the_data_is_never_markup_and_is_displayed_unchanged(tested: Run) -> None:
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


def test_the_page_loads_nothing(tested: Run) -> None:
    text, page = page_of(tested)
    links = [value for name, value in page.attributes if name in ("src", "href", "srcset")]
    assert all(value is not None and value.startswith("#") for value in links)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text


def test_plotly_accepts_every_chart(tested: Run) -> None:
    _, page = page_of(tested)
    assert len(page.blocks) >= 8
    for block in page.blocks:
        # The names of colours refer to the page's style sheet.
        figure = json.loads(re.sub(r'"@[a-z0-9-]+"', '"#000000"', block))
        plotly.graph_objects.Figure(figure)
        assert figure["data"]


def test_charts_contain_texts_of_the_data_as_text(tested: Run) -> None:
    _, page = page_of(tested)
    assert not any("<img" in json.dumps(json.loads(block)) for block in page.blocks)
    assert any("&lt;img" in json.dumps(json.loads(block)) for block in page.blocks)


def test_each_chart_has_a_label_and_a_caption(tested: Run) -> None:
    text, page = page_of(tested)
    labels = re.findall(r'class="plot" role="group" aria-label="([^"]+)"', text)
    assert len(labels) == len(page.blocks)
    assert text.count("<figcaption>") == len(page.blocks)


def test_texts_of_rows_are_left_out_on_request(tested: Run) -> None:
    _, page = page_of(tested)
    assert SECRET in page.text
    text, _ = page_of(tested, with_texts=False)
    assert SECRET not in text
    assert "Texts are left out of this copy." in text


def test_the_report_is_on_the_last_evaluation_on_the_test_set(tested: Run) -> None:
    for number in (2, 10):
        again = evaluation_report(summary=f"found at access {number}")
        write_reports(tested, again, directory=f"final-{number}")
    _, page = page_of(tested)
    assert "Found at access 10" in page.text
    assert "access 2" not in page.text


def test_a_run_without_scores_or_confirmation_has_its_page(run: Run) -> None:
    _, page = page_of(run, status="interrupted", best=None, default=None, confirmation=None)
    assert "The search is interrupted; no trial has a score yet." in page.text
    assert "a search score is the best of many trials" in page.text


def test_a_run_that_has_just_started_has_its_page(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_trials((), [])
    text, page = page_of(run, status="running", best=None, default=None, confirmation=None)
    assert headings(text, 2) == BEFORE
    assert "No trial has started yet." in page.text


def test_the_report_of_a_running_search_warns_that_its_result_is_not_final(run: Run) -> None:
    _, page = page_of(run, status="running")
    assert "The search is running: this is not its final result." in page.text


def test_the_three_scores_are_side_by_side_and_their_gap_is_named(tested: Run) -> None:
    _, page = page_of(tested)
    assert re.search(r"search\s+0\.7100[^|]*confirmation\s+0\.6950[^|]*test\s+0\.7000", page.text)
    assert "The search score is 1.00 points above the test score: optimism." in page.text
    assert "The confirmation score is 0.50 points below the test score: no optimism." in page.text


def test_before_the_test_there_are_two_scores_and_no_gap(run: Run) -> None:
    two = r"search\s+0\.7100[^|]*confirmation\s+0\.7050[^|]*test\s+not evaluated"
    _, page = page_of(run)
    assert re.search(two, page.text)
    assert "optimism" not in page.text
    _, page = page_of(run, confirmation=None)
    assert re.search(r"confirmation\s+none", page.text)


def test_the_key_figures_report_the_lead_and_whether_it_is_significant(run: Run) -> None:
    _, page = page_of(run)
    significance = "significant difference (one-sided p = 0.001) on 2 replicates"
    assert f"+10.00 points\n{significance}, standard error 2.00" in page.text
    _, page = page_of(run, confirmation=None)
    assert "not known\nnot confirmed on replicates" in page.text
    default = record()["default"]
    _, page = page_of(run, best={**default, "at_edge": []})
    assert "none\nthe default stays" in page.text


def test_the_detectable_difference_is_in_the_section_of_the_confirmation_alone(run: Run) -> None:
    _, page = page_of(run)
    before, _, after = page.text.partition("A replicate trains every candidate again")
    sentence = "With these replicates a difference of 1.2 points would be detected in 80 %"
    assert sentence in after
    assert "would be detected" not in before


def test_the_variation_between_seeds_is_next_to_the_interval(tested: Run) -> None:
    _, page = page_of(tested)
    assert "vary by about +/- 6.90 points (two standard deviations" in page.text
    assert "The test interval is about +/- 5.00 points (half its width)" in page.text
    write_reports(tested, evaluation_report(search={"search_f1_macro": 0.71}), directory="final-2")
    _, page = page_of(tested)
    assert "was not measured" in page.text


def test_stages_calibration_low_confidence_and_errors_are_reported(tested: Run) -> None:
    _, page = page_of(tested)
    for text in (
        *("loss fallen", "it falls", "0.0777", "17 rows. apart", "0.3333", "0.2000 to 0.4000"),
        *("25 of 100 test rows are wrong.", "Long texts fail more", "Errors by similarity"),
        *("40.0%", "0.3300", "80.0%", "Errors by label confidence are left out: not measured."),
        *("1 of 3", "3 groups of similar texts", "9.2% have labels that disagree"),
    ):
        assert text in page.text, text


def test_the_seed_of_the_model_and_the_rejected_attempts_are_reported(tested: Run) -> None:
    _, page = page_of(tested)
    assert "The winner was retrained on 1,234 rows in 12 s with seed 44." in page.text
    assert "Attempts rejected before the evaluation on the test set: 1." in page.text
    assert f"Rejected attempt: seed 43: {EVIL}." in page.text


def test_a_class_of_few_rows_is_marked_and_gates_have_their_p_value(run: Run) -> None:
    gate = {"threshold": 0.0, "value": 0.02, "met": False, "p_value": 0.4321}
    write_reports(run, evaluation_report(gates={"beats the baseline": gate}))
    _, page = page_of(run)
    assert "0.0000 to 0.0000 (too few rows for a reliable interval)" in page.text
    assert re.search(r"beats the baseline\s+0.0000\s+0.0200\s+0.4321\s+no\n", page.text)


def test_the_macro_f1_of_low_confidence_has_another_name_than_the_tests(tested: Run) -> None:
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
    assert "no quality gate was requested" in page_of(run)[1].text


def test_damaged_files_are_logged_and_the_previous_report_stays(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    write_report(run, record())
    before = run.report.read_text("utf-8")
    write_report(run, record(data={"class_counts": "damaged", "dropped": 3}))
    assert "report.html was not written: run " in caplog.text
    assert run.report.read_text("utf-8") == before
    with pytest.raises(RunError, match="lack what the report requires"):
        build_report(run, record(data=None), with_texts=True)


def test_an_unreadable_report_of_the_test_counts_as_none(run: Run) -> None:
    reports = write_reports(run, evaluation_report())
    (reports / "evaluation_report.json").write_text('{"summary"', encoding="utf-8")
    assert NOT_TESTED in page_of(run)[1].text


def test_the_leaderboard_ranks_completed_trials_first_and_has_no_confirmations(run: Run) -> None:
    _, page = page_of(run)
    _, _, leaderboard = page.text.partition("the button of a column sorts by it")
    ids = re.findall(r"^t000\d", leaderboard.partition("Confirmation")[0], flags=re.MULTILINE)
    assert ids == ["t0001", "t0000", "t0003", "t0002"]


def test_an_incomplete_line_after_a_crash_is_ignored_and_stays_in_the_file(run: Run) -> None:
    with run.curves.open("a", encoding="utf-8") as file:
        file.write("t0001,9000,9,1,0.1,0.1,0.9")
    before = run.curves.read_bytes()
    _, page = page_of(run)
    assert not any("0.9" in re.findall(r'"y":\[([^]]*)', block)[0] for block in page.blocks[:1])
    assert run.curves.read_bytes() == before


def test_every_evaluation_on_the_test_set_is_listed(run: Run) -> None:
    test = evaluation_report()
    test["test_openings"].append({"at": "2025-02-02T00:00:00+00:00", "reason": "labels corrected"})
    write_reports(run, test)
    _, page = page_of(run)
    for text in ("2025-01-01", "2025-02-02", "labels corrected"):
        assert text in page.text


def test_a_command_that_cannot_be_encoded_does_not_prevent_the_report(run: Run) -> None:
    write_report(run, record(command="search \ud800"))
    assert "search ?" in run.report.read_text("utf-8")
