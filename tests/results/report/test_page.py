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
from results.run import Run
from tests.results.report.runs import (
    EVIL,
    SECRET,
    evaluation_report,
    record,
    small_run,
    write_reports,
)

BEFORE = ["Winner against default", "Configurations tried", "Data", "Method and environment"]
AFTER = [
    *("Gates", "Mistakes", *BEFORE[:3], "Calibration and other scores", "Method and environment"),
]
OF_TEST = [
    *("Confusion matrix", "Classes", "Hardest mistakes", "Error analysis"),
    *("Calibration", "Other metrics", "Rows of low confidence"),
]
NOT_TESTED = "Not evaluated yet"


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
    assert headings(text, 2)[1:] == BEFORE
    assert NOT_TESTED in page.text
    write_reports(run, evaluation_report())
    text, page = page_of(run)
    assert headings(text, 2)[1:] == AFTER
    assert [title for title in headings(text, 3) if title in OF_TEST] == OF_TEST
    assert NOT_TESTED not in page.text


def test_text_of_the_data_is_never_markup_and_is_displayed_unchanged(tested: Run) -> None:
    text, page = page_of(tested)
    assert "<img" not in text
    assert page.tags == {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "nav", "section"),
        *("h1", "h2", "h3", "h4", "ul", "ol", "li", "a", "p", "dl", "dt", "dd", "div", "b", "q"),
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "button", "code", "noscript"),
        *("figure", "figcaption", "script", "label", "select", "option", "strong", "small", "span"),
        *("details", "summary"),
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


def test_the_learning_curves_have_the_baseline_as_a_line_to_beat(run: Run) -> None:
    measured = {"name": "TF-IDF", "score": 0.654, "f1_macro": 0.654, "accuracy": 0.7}
    for baseline, heights in ((None, []), (measured, [0.654])):
        _, page = page_of(run, baseline=baseline)
        (curves,) = (json.loads(block) for block in page.blocks if '"rung 1"' in block)
        lines = [trace for trace in curves["data"] if trace["name"] == "TF-IDF"]
        assert [line["y"][0] for line in lines] == heights


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
        low = number / 100
        again = evaluation_report(score=low, confidence_intervals={"score": [0.0, low]})
        write_reports(tested, again, directory=f"final-{number}")
    _, page = page_of(tested)
    assert "0.000 to 0.100" in page.text
    assert "0.000 to 0.020" not in page.text


def test_a_run_without_scores_or_confirmation_has_its_page(run: Run) -> None:
    _, page = page_of(run, status="interrupted", best=None, default=None, confirmation=None)
    assert "a search score is the best of many trials" in page.text


def test_a_run_that_has_just_started_has_its_page(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_trials((), [])
    text, page = page_of(run, status="running", best=None, default=None, confirmation=None)
    assert headings(text, 2)[1:] == BEFORE
    assert "No trial has started yet." in page.text
    assert "trained on replicates when the search has ended" in page.text


def test_why_the_scores_of_the_winner_differ_is_explained_once(run: Run) -> None:
    sentence = "The winner's search score, 0.710 (one training){} its mean on 2 replicates ("
    _, page = page_of(run)
    assert page.text.count(sentence.format(" and")) == 1
    assert "both were used to select it" in page.text
    assert "search score, " not in page_of(run, confirmation=None)[1].text
    write_reports(run, evaluation_report())
    _, page = page_of(run)
    assert page.text.count(sentence.format(",")) == 1
    assert "splits) and its test score differ" in page.text


def test_the_lead_of_the_winner_has_its_interval_and_significance(run: Run) -> None:
    sentence = "replaces the default: +10.0 points{} on 2 shared replicates, significant difference"
    found = record()["confirmation"]
    lead = found["winner_beats_default"] | {"replaces_default": True}
    _, page = page_of(run, confirmation=found | {"winner_beats_default": lead})
    assert sentence.format("") in page.text
    lead["interval"] = [0.06, 0.14]
    _, page = page_of(run, confirmation=found | {"winner_beats_default": lead})
    assert sentence.format(" (95 % interval +6.0 to +14.0)") in page.text


def test_the_detectable_difference_is_in_the_section_of_the_confirmation_alone(run: Run) -> None:
    _, page = page_of(run)
    before, _, after = page.text.partition("How the confirmation decides")
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
        *("loss fallen", "it falls", "0.078", "on the 17 rows", "Apart", "0.333", "0.200 to 0.400"),
        *("25 of 100 test rows are wrong.", "Long texts fail more", "Errors by similarity"),
        *("40.0%", "0.330", "80.0%", "Errors by label confidence are left out: not measured."),
        *("2 of 3 gates missed", "3 groups of similar texts", "9.2% of the repeated texts"),
    ):
        assert text in page.text, text
    assert page.text.count("9.2%") == 1
    assert "Errors by steps apart" in page.text
    assert "no scale" not in page.text


def test_of_many_classes_the_confused_and_the_weakest_are_listed_and_all_are_folded(
    run: Run,
) -> None:
    names = [f"{number} {EVIL}" for number in range(30)]
    scores = {"precision": 0.5, "recall": 0.5, "support": 12}
    matrix = [[12 * (i == j) + (i == 7 and j == 9) for j in range(30)] for i in range(30)]
    write_reports(
        run,
        evaluation_report(
            per_class={name: scores | {"f1": k / 30} for k, name in enumerate(names)},
            confusion_matrix=matrix,
        ),
    )
    text, page = page_of(run)
    assert re.search(rf"{re.escape(f'{names[7]} predicted as {names[9]}')}\s+1\s+8%", page.text)
    lowest = page.text.partition("The 5 classes with the lowest F1")[2].partition("F1 of each")[0]
    assert [name for name in names if name in lowest] == names[:5]
    assert "<summary>The whole matrix of 30 classes</summary>" in text
    assert "<summary>F1 of each of the 30 classes</summary>" in text


def test_a_single_class_has_no_matrix(run: Run) -> None:
    report = evaluation_report(confusion_matrix=[[3]])
    del report["per_class"]["b"]
    write_reports(run, report)
    assert "Confusion matrix" not in page_of(run)[1].text


def test_the_seed_of_the_model_and_the_rejected_attempts_are_reported(tested: Run) -> None:
    _, page = page_of(tested)
    assert "The winner was retrained on 1,234 rows in 12 s with seed 44. Att" in page.text
    assert "Attempts rejected before the test: 1." in page.text
    assert f"Rejected attempt: seed 43: {EVIL}." in page.text


def test_a_class_of_few_rows_is_marked_and_gates_have_their_p_value(run: Run) -> None:
    gate = {"threshold": 0.0, "value": 0.02, "met": False, "p_value": 0.4321}
    write_reports(run, evaluation_report(gates={"beats the baseline": gate}))
    _, page = page_of(run)
    assert "0.000 to 0.000 (too few rows for a reliable interval)" in page.text
    gate_of_page = r"beats the baseline\s+0.020, p = 0.432\s+above 0, p below 0.05\n"
    assert re.search(gate_of_page, page.text)


def test_missed_gates_come_first_and_met_ones_are_folded_away(run: Run) -> None:
    gates = {
        name: {"threshold": 0.5, "value": 0.4 + 0.2 * is_met, "met": is_met}
        for name, is_met in (("accuracy", True), ("f1 of b", False))
    }
    write_reports(run, evaluation_report(gates=gates, stages={}))
    text, _ = page_of(run)
    visible, _, folded = (
        text.partition('id="gates"')[2]
        .partition("</section>")[0]
        .partition("<details><summary>The other 1 gates are met</summary>")
    )
    assert "f1 of b" in visible
    assert "accuracy" not in visible
    assert "accuracy" in folded
    met = {name: gate | {"met": True} for name, gate in gates.items()}
    write_reports(run, evaluation_report(gates=met, stages={}), directory="final-2")
    text, page = page_of(run)
    assert "<summary>All 2 gates are met</summary>" in text
    assert "missed" not in page.text


def test_the_macro_f1_of_low_confidence_has_another_name_than_the_tests(tested: Run) -> None:
    _, page = page_of(tested)
    _, _, apart = page.text.partition("Rows of low confidence")
    assert re.search(r"macro-F1 of the classes that have rows here\s+0.333", apart)
    assert not re.search(r"macro-F1\s+0", apart.partition("Method and")[0])


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
    assert "search score, 0.710 (one training)" in page.text
    assert "training rows seen" in page.text
    write_reports(
        run, evaluation_report(low_confidence=None, gates={}, stages={}), directory="final-2"
    )
    assert "No quality gate was requested" in page_of(run)[1].text


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


@pytest.mark.parametrize(("score", "ids"), [(0.99, "b10"), (0.01, "10b")])
def test_the_leaderboard_has_the_baseline_among_the_trials_that_trained_longest(
    run: Run, score: float, ids: str
) -> None:
    baseline = {"name": EVIL, "score": score, "f1_macro": score, "accuracy": 0.5}
    _, page = page_of(run, baseline=baseline)
    assert f"Line to beat: macro-F1 {score:.4f} by {EVIL}, fitted on" in page.text
    _, _, leaderboard = page.text.partition("the button of a column sorts by it")
    found = re.findall(r"^(?:t000(\d)|(TF-IDF \(line))", leaderboard, flags=re.MULTILINE)
    assert "".join(number or "b" for number, _ in found[:3]) == ids


def test_the_leaderboard_ranks_completed_trials_first_and_has_no_confirmations(run: Run) -> None:
    _, page = page_of(run)
    _, _, leaderboard = page.text.partition("the button of a column sorts by it")
    ids = re.findall(r"^t000\d", leaderboard.partition("Learning")[0], flags=re.MULTILINE)
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
