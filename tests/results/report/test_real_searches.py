"""Reports of real searches in a real browser: real tweets, and malicious labels and texts."""

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from results.run import Run
from tests.browser import chromium, load_page
from tests.results.report.test_page import AFTER, OF_TEST

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
TWEETS = ROOT.parent / "shared" / "data" / "severity_tweets.csv"
SMALL = ("--config", "ci", "--trials", "3")
NUM_CHARTS = 8
"""Of a tested search of few trials over two parameters: 2 of the test, 1 of the confirmation, the
learning curves, and 4 of the parameters; their importance requires more trials."""

LABELS = [
    "<img src=x onerror=alert(1)>",
    "\"quoted\" & 'single' </script><script>alert(2)</script>",
    "\u202eسيئ جدا\u202c 😡",
]


def searched_and_tested(directory: Path, *arguments: str) -> Run:
    output = ("--output.directory", str(directory), "--name", "run")
    _run("tuning.search", *SMALL, *output, *arguments)
    _run("evaluation.final", "--run", str(directory / "run"), "--gates", "none")
    return Run(directory / "run")


def _run(module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def check_in_browser(run: Run, *, width: int) -> None:
    """Check that all sections and charts are there, and that the console stays empty."""
    with chromium() as browser, load_page(browser, run.report, width=width, scheme="dark") as found:
        found.scroll_through()
        page = found.page
        assert page.locator("h2").all_text_contents()[1:] == AFTER
        parts = page.locator("#mistakes h3, #calibration-and-other-scores h3").all_text_contents()
        assert parts == [part for part in OF_TEST if part in parts]
        assert {"Confusion matrix", "Classes", "Hardest mistakes", "Calibration"} <= set(parts)
        assert page.locator(".plot .main-svg:first-child").count() == NUM_CHARTS
        assert found.fits_its_window()
        assert found.scrolling_parts() == []
        first = page.locator("table.sortable tbody tr").first
        before = first.text_content()
        page.get_by_role("button", name="macro-F1").click()
        assert first.text_content() != before


def test_the_report_of_a_search_on_real_tweets(tmp_path: Path) -> None:
    if not TWEETS.exists():
        pytest.skip(f"no {TWEETS}")
    run = searched_and_tested(tmp_path, "--data", str(TWEETS))
    for width in (1280, 400):
        check_in_browser(run, width=width)


@pytest.mark.long
def test_malicious_labels_and_texts_are_displayed_as_text(tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    with data.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        letters = random.Random(0)
        for number in range(600):
            words = " ".join("".join(letters.choices("abcdefgh", k=5)) for _ in range(8))
            label = LABELS[number % 3]
            writer.writerow([f"{words} {label} 'x' \"y\" <b>", label])
    run = searched_and_tested(
        tmp_path / "runs",
        *("--data", str(data), "--data.label_column", "label", "--data.confidence_column", "null"),
        *(
            "--data.labels",
            json.dumps(LABELS, ensure_ascii=False),
            "--data.near_duplicate_threshold",
            "null",
        ),
    )
    check_in_browser(run, width=1280)
    with chromium() as browser, load_page(browser, run.report) as found:
        found.scroll_through()
        for label in LABELS:
            assert found.page.locator("#data th", has_text=label).count() == 1
            assert found.page.locator("#mistakes th", has_text=label).count() >= 2
        assert found.page.locator("img, b b, #main script:not([type])").count() == 0
