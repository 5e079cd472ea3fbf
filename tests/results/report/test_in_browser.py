"""The page in a real browser: charts are drawn, tables sort, nothing is loaded, nothing runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from benchmarks.simulated_run import write_simulated_run
from results.report.page import write_report
from results.run import Run
from tests.browser import Opened, Scheme, chromium, opened
from tests.results.report.runs import (
    EVIL,
    evaluation_report,
    record,
    small_run,
    write_reports,
)

SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a few trials with texts that attack, its test opened."""
    run = small_run(tmp_path_factory.mktemp("small") / "run")
    write_reports(run, evaluation_report())
    write_report(run, record())
    return run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A simulated search of 300 trials."""
    run = Run(tmp_path_factory.mktemp("large") / "run")
    write_report(run, write_simulated_run(run.directory, 300))
    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextmanager
def drawn(
    browser: Browser, run: Run, *, width: int = 1280, scheme: Scheme = "light"
) -> Iterator[Opened]:
    with opened(browser, run.report, width=width, scheme=scheme) as found:
        found.scroll_through()
        yield found


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_all_charts_are_drawn_at_both_widths_and_no_part_is_wider_than_the_window(
    browser: Browser, run: Run, width: int, scheme: Scheme
) -> None:
    with drawn(browser, run, width=width, scheme=scheme) as found:
        assert found.is_as_wide_as_its_window()
        for plot in found.page.locator(".plot").all():
            box = plot.locator(".main-svg").first.bounding_box()
            assert box is not None
            assert 200 < box["width"] <= width
            assert plot.locator(".trace, .bars").count() > 0


def test_a_class_is_shown_as_its_text_and_runs_nothing(browser: Browser, run: Run) -> None:
    with drawn(browser, run) as found:
        page = found.page
        assert page.locator("img").count() == 0
        chart = page.get_by_role("group", name="F1 of each class")
        assert EVIL in (chart.text_content() or "")
        assert page.get_by_role("rowheader", name=EVIL).count() >= 1


def test_dark_mode_has_light_letters_on_dark_ground_in_charts_too(
    browser: Browser, run: Run
) -> None:
    grounds, letters = [], []
    for scheme in SCHEMES:
        with drawn(browser, run, scheme=scheme) as found:
            grounds.append(_brightness(found.page, "body", "backgroundColor"))
            letters.append(_brightness(found.page, ".plot .xtick text", "fill"))
    assert grounds[0] > 200 > 60 > grounds[1]
    assert letters[0] < 60 < 200 < letters[1]


def test_a_reader_who_changes_to_dark_has_the_charts_change_too(browser: Browser, run: Run) -> None:
    with drawn(browser, run) as found:
        assert _brightness(found.page, ".plot .xtick text", "fill") < 60
        found.page.emulate_media(color_scheme="dark")
        found.page.wait_for_timeout(500)
        assert _brightness(found.page, ".plot .xtick text", "fill") > 200


@pytest.mark.parametrize("scheme", SCHEMES)
def test_readers_with_a_keyboard_or_a_screen_reader_find_no_barrier(
    browser: Browser, run: Run, scheme: Scheme
) -> None:
    with drawn(browser, run, scheme=scheme) as found:
        checked = Axe().run(found.page)  # the rules of WCAG that a program can check
        assert checked.response["passes"]
        assert checked.violations_count == 0, checked.generate_report()


def test_the_leaderboard_sorts_by_mouse_and_keyboard(browser: Browser, many: Run) -> None:
    with opened(browser, many.report) as found:
        button = found.page.get_by_role("button", name="learning_rate")
        header = found.page.get_by_role("columnheader", name="learning_rate")
        rates = found.page.locator("#leaderboard tbody tr td:nth-child(3)")
        button.click()
        values = [float(text) for text in rates.all_text_contents()]
        assert header.get_attribute("aria-sort") == "ascending"
        assert values == sorted(values)
        assert len(values) == 300
        button.press("Enter")
        assert header.get_attribute("aria-sort") == "descending"
        down = [float(text) for text in rates.all_text_contents()]
        assert down == sorted(values, reverse=True)


def test_trials_are_compared_at_the_budget_that_is_chosen(browser: Browser, many: Run) -> None:
    with drawn(browser, many) as found:
        chart = found.page.get_by_role("group", name="Macro-F1 against learning_rate")
        listed = found.page.get_by_label("Compare trials at")
        counts = {}
        for option in listed.locator("option").all():
            listed.select_option(option.get_attribute("value"))
            found.page.wait_for_timeout(200)
            counts[option.text_content()] = chart.locator("path.point").count()
        assert len(counts) == 3
        for text, count in counts.items():
            assert text is not None
            assert f"({count} trials)" in text


def test_on_paper_all_charts_are_drawn_dark_on_white(browser: Browser, run: Run) -> None:
    with opened(browser, run.report, scheme="dark") as found:
        found.page.emulate_media(media="print")
        found.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        found.page.wait_for_timeout(500)
        plots = found.page.locator(".plot")
        assert found.page.locator(".plot .main-svg:first-child").count() >= plots.count()
        assert _brightness(found.page, ".plot .xtick text", "fill") < 60
        assert len(found.page.pdf()) > 50_000


def _brightness(page: Page, selector: str, style: str) -> float:
    """From 0, black, to 255."""
    colour = page.locator(selector).first.evaluate(
        "(element, style) => getComputedStyle(element)[style]", style
    )
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / 3
