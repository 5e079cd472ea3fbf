"""A real browser: Chromium as it is installed, without a screen."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

Scheme = Literal["light", "dark"]

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A page in the browser, and what it did that a report must not."""

    page: Page
    messages: list[str] = field(default_factory=list)
    """What it wrote to the console, errors that nobody caught among them."""
    requests: list[str] = field(default_factory=list)
    """Addresses that it asked for, its own among them."""
    dialogs: list[str] = field(default_factory=list)

    def scroll_through(self) -> None:
        """Go to the end in steps, so that all charts come into view, and wait for them.

        More than once where a busy machine showed nothing of a step.
        """
        self.page.evaluate(
            """async () => {
                const shown = () => document.querySelectorAll(".plot .main-svg:first-child").length;
                const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
                const num = document.querySelectorAll(".plot").length;
                for (let turn = 0; turn < 5 && shown() < num; turn++) {
                    for (let y = 0; y < document.documentElement.scrollHeight; y += 400) {
                        scrollTo({top: y, behavior: "instant"});
                        await frame();
                        await new Promise((resolve) => setTimeout(resolve, 40));
                    }
                }
            }"""
        )
        count = self.page.locator(".plot").count()
        self.page.wait_for_function(
            "count => document.querySelectorAll('.plot .main-svg:first-child').length >= count",
            arg=count,
            timeout=120_000,
        )

    def is_as_wide_as_its_window(self) -> bool:
        """Whether nothing makes the page scroll sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no {PROGRAMS[0]} on the PATH (on Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers do not give; the page is our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser, path: Path, *, width: int = 1280, scheme: Scheme = "light"
) -> Iterator[Opened]:
    """A file in a window of its own; at its end the page has asked, written and run nothing."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = Opened(page=page)
    page.on("console", lambda message: found.messages.append(message.text))
    page.on("pageerror", lambda error: found.messages.append(str(error)))
    page.on("dialog", lambda dialog: (found.dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: found.requests.append(request.url))
    own = path.absolute().as_uri()
    page.goto(own)
    try:
        yield found
    finally:
        page.close()
    kept = (own, "data:", "blob:")  # the latter are made by the page itself
    assert [url for url in found.requests if not url.startswith(kept)] == []
    assert found.messages == [], found.messages
    assert found.dialogs == [], found.dialogs
