"""`python -m benchmarks.report`: size of report.html, seconds to write it and to display it.

Runs are simulated; the browser is an installed Chromium, driven by the package playwright.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.figures import describe_machine, whole_numbers, write_figures
from benchmarks.simulated_run import write_simulated_run
from evaluation.streams import open_output
from results.report.page import write_report
from results.run import Run
from results.trial_states import SearchStatus
from training.errors import InputError

_NUM_VISITS = 5
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_CHARTS = """async () => {
    document.querySelectorAll('details').forEach((part) => (part.open = true));
    const started = performance.now();
    const plots = [...document.querySelectorAll('.plot')];
    for (const plot of plots) {
        plot.scrollIntoView();
        while (!plot.querySelector('.main-svg')) await new Promise(requestAnimationFrame);
    }
    return performance.now() - started;
}"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--trials", default="100,1000,5000", metavar="N,...", help="sizes of runs")
    parser.add_argument("--browser", default="chromium", metavar="PROGRAM", help="which Chromium")
    parser.add_argument(
        "--output",
        default="results/runs/benchmark-report.json",
        metavar="FILE",
        help="where the figures are written as JSON",
    )
    options = parser.parse(arguments)
    sizes = whole_numbers(options.trials, option="--trials")
    program = shutil.which(options.browser)
    if program is None:
        raise InputError(
            f"--browser is {options.browser!r}, but must be a Chromium on the PATH; install one"
            " (on Debian: apt-get install chromium)"
        )
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    with open_output(options.output) as file:
        figures = [measure(size, program) for size in sizes]
        found = {"machine": describe_machine(), "reports": figures}
        write_figures(file, found)
    print(as_table(figures))
    return ExitCode.DONE


def measure(num_trials: int, browser: str) -> dict[str, Any]:
    """Measure one report.

    Args:
        num_trials: of the simulated search.
        browser: path of Chromium.

    Returns:
        `trials`, `mib` (of the page without the chart library), `seconds_running` (to write it
        while the search runs), `seconds_completed` (with the parameters' importance),
        `first_paint_s` and `charts_s` (until all charts are visible), each the median of five page
        visits.
    """
    library = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    with tempfile.TemporaryDirectory() as directory:
        run = Run(Path(directory) / "run")
        record = write_simulated_run(run.directory, num_trials)
        running = {**record, "status": SearchStatus.RUNNING}
        write_report(run, running)  # loads what later calls keep
        seconds_running = _seconds_to_write(run, running)
        seconds_completed = _seconds_to_write(run, record)
        paints, charts = zip(*_visit(run.report, browser), strict=True)
        return {
            "trials": num_trials,
            "mib": round((run.report.stat().st_size - len(library)) / 2**20, 2),
            "seconds_running": seconds_running,
            "seconds_completed": seconds_completed,
            "first_paint_s": _median(paints),
            "charts_s": _median(charts),
        }


def _seconds_to_write(run: Run, record: Mapping[str, Any]) -> float:
    started = time.perf_counter()
    write_report(run, record)
    return round(time.perf_counter() - started, 2)


def _visit(report: Path, browser: str) -> list[tuple[float, float]]:
    """Return the milliseconds to the first paint and to all charts, a pair for each visit."""
    found = []
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(_NUM_VISITS):
            page = program.new_page(viewport={"width": 1280, "height": 900})
            page.goto(report.as_uri())
            page.wait_for_function(_PAINT)
            found.append((float(page.evaluate(_PAINT)), float(page.evaluate(_CHARTS))))
            page.close()
        program.close()
    return found


def _median(milliseconds: Sequence[float]) -> float:
    return round(sorted(milliseconds)[len(milliseconds) // 2] / 1000, 2)


def as_table(figures: Sequence[Mapping[str, Any]]) -> str:
    """Format the figures as a Markdown table."""
    lines = [
        "| trials | MiB without the library | s to write, running | completed | s to first paint |"
        " s to all charts |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['trials']:,} | {row['mib']} | {row['seconds_running']} |"
        f" {row['seconds_completed']} | {row['first_paint_s']} | {row['charts_s']} |"
        for row in figures
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
