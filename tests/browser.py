"""A real browser without a screen: the Chromium that is installed on this machine."""

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
class LoadedPage:
    """A page in the browser, and a record of what a report must not do."""

    page: Page
    address: str
    messages: list[str] = field(default_factory=list)
    """What it wrote to the console, uncaught errors included."""
    requests: list[str] = field(default_factory=list)
    """All requested addresses, the page's own included."""
    dialogs: list[str] = field(default_factory=list)

    def scroll_through(self) -> None:
        """Unfold everything and scroll in steps to the end until all charts are plotted.

        On a busy machine a step may render nothing, so that several rounds are necessary.
        """
        self.page.evaluate(
            """async () => {
                document.querySelectorAll("details").forEach((part) => (part.open = true));
                const svgs = ".plot .main-svg:first-child";
                const plotted = () => document.querySelectorAll(svgs).length;
                const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
                const num = document.querySelectorAll(".plot").length;
                for (let turn = 0; turn < 5 && plotted() < num; turn++) {
                    for (let y = 0; y < document.documentElement.scrollHeight; y += 800) {
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

    def fits_its_window(self) -> bool:
        """Return whether the page does not scroll sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    def scrolling_parts(self) -> list[str]:
        """Return the class or name of each part that scrolls sideways, charts excepted."""
        found: list[str] = self.page.evaluate(
            """() => [...document.querySelectorAll("body, body *")]
                .filter((part) => !part.closest(".plot, .narrow, .wide, thead"))
                .filter((part) => part.scrollWidth > part.clientWidth + 1 && part.clientWidth > 0)
                .filter((part) => getComputedStyle(part).display !== "inline")
                .map((part) => part.className || part.tagName)"""
        )
        return found

    def check_is_passive(self) -> None:
        """Check that the page has loaded nothing, written nothing and opened no dialog."""
        allowed = (self.address, "data:", "blob:")  # the page itself makes the latter two
        assert [url for url in self.requests if not url.startswith(allowed)] == []
        assert self.messages == [], self.messages
        assert self.dialogs == [], self.dialogs


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; skip the test if none is installed."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no {PROGRAMS[0]} on the PATH (on Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # Containers do not grant the rights that the sandbox requires; the page is our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def load_page(
    browser: Browser,
    path: Path,
    *,
    width: int = 1280,
    height: int = 900,
    scheme: Scheme = "light",
    has_touch: bool = False,
) -> Iterator[LoadedPage]:
    """Load a file in a window of its own; check at the end that the page was passive."""
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        has_touch=has_touch,
        is_mobile=has_touch,
    )
    found = LoadedPage(page=page, address=path.absolute().as_uri())
    page.on("console", lambda message: found.messages.append(message.text))
    page.on("pageerror", lambda error: found.messages.append(str(error)))
    page.on("dialog", lambda dialog: (found.dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(found.address)
    try:
        yield found
    finally:
        page.close()
    found.check_is_passive()
