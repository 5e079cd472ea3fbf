"""The report in a real browser: it plots all charts, sorts its tables, loads and runs nothing.

Each page is loaded once for several tests: plotting its charts is what takes the time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from benchmarks.simulated_run import write_simulated_run
from results.report.page import write_report
from results.run import Run
from tests.browser import LoadedPage, Scheme, chromium, load_page
from tests.results.report.last_rung import last_rung_run
from tests.results.report.runs import (
    EVIL,
    evaluation_report,
    record,
    small_run,
    write_reports,
)

NUM_TRIALS = 40
WIDTHS: dict[Scheme, int] = {"light": 1280, "dark": 400}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Write a tested run of a few trials with malicious texts."""
    run = small_run(tmp_path_factory.mktemp("small") / "run")
    write_reports(run, evaluation_report())
    write_report(run, record())
    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextmanager
def plotted(browser: Browser, run: Run, scheme: Scheme) -> Iterator[LoadedPage]:
    """Load a report, in light at the width of a desktop and in dark as on a phone."""
    is_phone = scheme == "dark"
    with load_page(
        browser, run.report, width=WIDTHS[scheme], scheme=scheme, has_touch=is_phone
    ) as found:
        found.scroll_through()
        yield found


@pytest.fixture(scope="module")
def pages(browser: Browser, run: Run) -> Iterator[dict[Scheme, LoadedPage]]:
    with plotted(browser, run, "light") as light, plotted(browser, run, "dark") as dark:
        yield {"light": light, "dark": dark}


@pytest.fixture(scope="module")
def simulated(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedPage]:
    """Load the report of a simulated search of many trials."""
    run = Run(tmp_path_factory.mktemp("large") / "run")
    write_report(run, write_simulated_run(run.directory, NUM_TRIALS))
    with plotted(browser, run, "light") as found:
        yield found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_charts_are_plotted_and_no_part_is_wider_than_the_window(
    pages: dict[Scheme, LoadedPage], scheme: Scheme
) -> None:
    found = pages[scheme]
    assert found.fits_its_window()
    assert found.scrolling_parts() == []
    plots = found.page.locator(".plot").all()
    assert len(plots) >= 8
    for plot in plots:
        box = plot.locator(".main-svg").first.bounding_box()
        assert box is not None
        assert 200 < box["width"] <= WIDTHS[scheme]
        assert plot.locator(".trace, .bars").count() > 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_report_with_malicious_texts_loads_and_runs_nothing(
    pages: dict[Scheme, LoadedPage], scheme: Scheme
) -> None:
    found = pages[scheme]
    assert found.requests[0] == found.address
    found.check_is_passive()


def test_the_name_of_a_class_is_displayed_as_text(pages: dict[Scheme, LoadedPage]) -> None:
    page = pages["light"].page
    assert page.locator("img").count() == 0
    chart = page.get_by_role("group", name="F1 of each class")
    assert EVIL in (chart.text_content() or "")
    assert page.get_by_role("rowheader", name=EVIL).count() >= 1


def test_dark_mode_has_light_letters_on_a_dark_background_in_charts_too(
    pages: dict[Scheme, LoadedPage],
) -> None:
    light, dark = (pages[scheme].page for scheme in SCHEMES)
    assert _brightness(light, "body", "backgroundColor") > 200
    assert _brightness(dark, "body", "backgroundColor") < 60
    assert _letters(light) < 60
    assert _letters(dark) > 200


@pytest.mark.parametrize("scheme", SCHEMES)
def test_readers_with_a_keyboard_or_a_screen_reader_find_no_barrier(
    pages: dict[Scheme, LoadedPage], scheme: Scheme
) -> None:
    checked = Axe().run(pages[scheme].page)  # the rules of WCAG that a program can check
    assert checked.response["passes"]
    assert checked.violations_count == 0, checked.generate_report()


def test_the_charts_follow_a_reader_who_changes_to_dark_mode(
    pages: dict[Scheme, LoadedPage],
) -> None:
    page = pages["light"].page
    assert _letters(page) < 60
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(_LETTERS_ARE_LIGHT)
    assert _letters(page) > 200
    page.emulate_media(color_scheme="light")


def test_the_leaderboard_sorts_by_mouse_and_keyboard(simulated: LoadedPage) -> None:
    button = simulated.page.get_by_role("button", name="learning_rate")
    header = simulated.page.get_by_role("columnheader", name="learning_rate")
    rates = simulated.page.locator("table.sortable tbody tr td:nth-child(3)")
    button.click()
    values = [float(text) for text in rates.all_text_contents()]
    assert header.get_attribute("aria-sort") == "ascending"
    assert values == sorted(values)
    assert len(values) == NUM_TRIALS
    button.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    down = [float(text) for text in rates.all_text_contents()]
    assert down == sorted(values, reverse=True)


def test_the_charts_of_parameters_display_the_trials_at_the_chosen_rung(
    simulated: LoadedPage,
) -> None:
    chart = simulated.page.get_by_role("group", name="Macro-F1 against learning_rate")
    rungs = simulated.page.get_by_label("Compare trials at")
    counts = {}
    for option in rungs.locator("option").all():
        rungs.select_option(option.get_attribute("value"))
        simulated.page.wait_for_timeout(200)
        counts[option.text_content()] = chart.locator("path.point").count()
    assert len(counts) == 3
    assert len(set(counts.values())) == 3
    for text, count in counts.items():
        assert text is not None
        assert f"({count} trials)" in text


def test_a_window_of_320_pixels_does_not_scroll_sideways(
    browser: Browser, run: Run, simulated: LoadedPage
) -> None:
    with load_page(browser, run.report, width=320, has_touch=True) as found:
        found.scroll_through()
        assert found.fits_its_window()
        assert found.scrolling_parts() == []
    with load_page(browser, _path_of(simulated), width=320) as found:
        found.page.evaluate("document.querySelectorAll('details').forEach((p) => (p.open = true))")
        assert found.fits_its_window()
        assert found.scrolling_parts() == []


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (400, 800)])
@pytest.mark.parametrize("is_tested", [True, False])
def test_verdict_numbers_and_next_steps_are_on_the_first_screen(
    browser: Browser, tmp_path: Path, width: int, height: int, is_tested: bool
) -> None:
    run = last_rung_run(tmp_path / "run")
    if is_tested:
        write_reports(run, evaluation_report())
    write_report(run, run.read_whole_record())
    with load_page(browser, run.report, width=width, height=height) as found:
        top = found.page.locator("#verdict")
        assert top.get_by_role("heading", level=2).count() == 1
        assert top.locator(".figures div").count() == (3 if is_tested else 2)
        box = top.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= height
        assert top.locator("li").first.is_visible()


def test_the_toolbar_of_a_chart_appears_under_a_mouse_alone(
    pages: dict[Scheme, LoadedPage],
) -> None:
    desktop, phone = (pages[scheme].page for scheme in SCHEMES)
    assert phone.locator(".modebar-btn").count() == 0
    toolbar = desktop.locator("#mistakes .modebar-group").first
    desktop.mouse.move(0, 0)
    assert toolbar.evaluate(_OPACITY) == "0"
    desktop.locator("#mistakes .plot").first.hover()
    desktop.wait_for_function(f"part => ({_OPACITY})(part) === '1'", arg=toolbar.element_handle())


def test_a_long_table_displays_its_first_rows_and_the_others_on_request(
    browser: Browser, simulated: LoadedPage
) -> None:
    with load_page(browser, _path_of(simulated), width=400) as found:
        rows = found.page.locator("table.sortable tbody tr:visible")
        assert rows.count() == 10
        found.page.get_by_role("button", name="seconds").click()
        assert 10 <= rows.count() <= 11
        assert found.page.get_by_role("rowheader", name="(winner)").is_visible()
        found.page.get_by_role("button", name=f"Display all {NUM_TRIALS} rows").click()
        assert rows.count() == NUM_TRIALS


def test_on_paper_all_charts_are_plotted_dark_on_white(browser: Browser, run: Run) -> None:
    with load_page(browser, run.report, scheme="dark") as found:
        found.page.emulate_media(media="print")
        found.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        plots = found.page.locator(".plot")
        found.page.wait_for_function(
            "count => document.querySelectorAll('.plot .main-svg:first-child').length >= count",
            arg=plots.count(),
        )
        assert _letters(found.page) < 60
        assert len(found.page.pdf()) > 50_000


def _path_of(found: LoadedPage) -> Path:
    return Path(found.page.evaluate("decodeURIComponent(location.pathname)"))


_OPACITY = "part => getComputedStyle(part).opacity"
_LETTERS = ".plot .xtick text"
_LETTERS_ARE_LIGHT = f"""() => {{
    const colour = getComputedStyle(document.querySelector("{_LETTERS}")).fill;
    return colour.match(/[0-9]+/g).slice(0, 3).every((part) => Number(part) > 200);
}}"""


def _letters(page: Page) -> float:
    """Return the brightness of the letters in the first chart."""
    return _brightness(page, _LETTERS, "fill")


def _brightness(page: Page, selector: str, style: str) -> float:
    """Return the brightness of a colour from 0, black, to 255."""
    colour = page.locator(selector).first.evaluate(
        "(element, style) => getComputedStyle(element)[style]", style
    )
    numbers = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / 3
