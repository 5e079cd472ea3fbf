"""`python -m benchmarks.pictures`: make README's pictures from a real search on the bundled sample.

The search runs in a terminal of tmux, which is captured when some trials have ended; then its
winner is tested, and Chromium opens the report. Both programs must be installed.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import io
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.text import Text

from results.files import read_csv
from results.trial_states import Status
from training.errors import InputError

_COLUMNS, _LINES = 110, 34
_MIN_ENDED = 8
"""Trials that have ended when the terminal is captured."""
_WIDTH, _HEIGHT = 1280, 900
_NUM_COLOURS = 128


class PictureError(RuntimeError):
    """The search or its test failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument(
        "--output", default="benchmarks/pictures", metavar="DIR", help="where the pictures go"
    )
    output = Path(parser.parse(arguments).output)
    missing = [name for name in ("tmux", "chromium") if shutil.which(name) is None]
    if missing:
        raise InputError(f"{missing[0]} is not on the PATH; install it, for the pictures alone")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        screen = _search_on_a_terminal(Path(directory))
        run = Path(directory) / "sample"
        _test(run)
        with _chromium() as browser:
            _save_terminal(browser, screen, output / "terminal.png")
            _save_report(browser, run / "report.html", output)
    for name in ("terminal.png", "report.png", "report-dark.png"):
        _compress(output / name)
    print(f"{output}/terminal.png, report.png, report-dark.png")
    return ExitCode.DONE


def _search_on_a_terminal(directory: Path) -> str:
    """Run the search to its end; return the screen of its terminal on the way, with colours."""
    command = [sys.executable, "-m", "tuning.search", "--name", "sample"]
    command += ["--output.directory", str(directory)]
    session = f"pictures-{time.time_ns()}"
    size = ["-x", str(_COLUMNS), "-y", str(_LINES)]
    line = f"env -u CI {shlex.join(command)}; echo $? > {shlex.quote(str(directory))}/code"
    tmux("new-session", "-d", "-s", session, *size, line)
    screen, code = "", directory / "code"
    while not code.exists():
        time.sleep(1)
        if not screen and _num_ended(directory / "sample" / "trials.csv") >= _MIN_ENDED:
            screen = tmux("capture-pane", "-e", "-p", "-t", session)
    if (found := code.read_text().strip()) != "0":
        raise PictureError(f"the search ended with {found}")
    return screen


def tmux(*arguments: str) -> str:
    """Run a command of tmux; return its output."""
    return subprocess.run(["tmux", *arguments], check=True, capture_output=True, text=True).stdout


def _num_ended(trials: Path) -> int:
    return sum(row["status"] != Status.RUNNING for row in read_csv(trials))


def _test(run: Path) -> None:
    command = [sys.executable, "-m", "evaluation.final", "--run", str(run), "--gates", "none"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != ExitCode.DONE:
        raise PictureError(f"the final evaluation ended with {ended.returncode}: {ended.stderr}")


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )


def _save_terminal(browser: Browser, screen: str, path: Path) -> None:
    console = Console(record=True, width=_COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(screen.rstrip()))
    page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
    page.set_content(console.export_svg(title="python -m tuning.search"))
    page.locator("svg").screenshot(path=path)


def _save_report(browser: Browser, report: Path, output: Path) -> None:
    """Save the verdict in light mode, parameters and curves in dark mode."""
    light = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
    light.goto(report.as_uri())
    light.screenshot(path=output / "report.png")
    dark = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme="dark")
    dark.goto(report.as_uri())
    _scroll_to(dark, "configurations-tried")
    dark.screenshot(path=output / "report-dark.png")


def _compress(path: Path) -> None:
    """Reduce the picture to a palette, which text and flat areas do not need more than."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(_NUM_COLOURS).save(path, optimize=True)


def _scroll_to(page: Page, section: str) -> None:
    plots = page.locator(f"#{section} .plot")
    page.locator(f"#{section}").evaluate("part => part.scrollIntoView({behavior: 'instant'})")
    plots.first.locator(".main-svg").first.wait_for()
    page.wait_for_timeout(500)  # charts further down come into view


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(PictureError,)))
