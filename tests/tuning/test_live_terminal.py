"""A real search on a real terminal, read as a user sees it."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.breaking import SHORT
from tests.results.ptys import open_terminal
from tests.tuning.searching import ROOT, Run, command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Screen:
    """A terminal of tmux, on a server of its own."""

    socket: Path
    columns: int

    def tmux(self, *arguments: str) -> str:
        line = ["tmux", "-u", "-S", str(self.socket), "-f", "/dev/null", *arguments]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    def open(self, arguments: list[str]) -> None:
        # The screen stays readable after the command has ended.
        line = f"env -u CI {shlex.join(arguments)}; echo ended with $?; sleep 600"
        self.tmux("new-session", "-d", "-x", str(self.columns), "-y", "48", line)

    def lines(self) -> list[str]:
        return self.tmux("capture-pane", "-p").rstrip("\n").split("\n")

    def wait_for(self, text: str, *, seconds: float = 150) -> list[str]:
        deadline = time.monotonic() + seconds
        while text not in "\n".join(lines := self.lines()):
            assert time.monotonic() < deadline, "\n".join(lines)
            time.sleep(0.3)
        return lines


@pytest.fixture
def open_screen(tmp_path: Path) -> Iterator[Callable[[int], Screen]]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    opened: list[Screen] = []

    def new(columns: int) -> Screen:
        opened.append(Screen(tmp_path / f"tmux-{columns}", columns))
        return opened[-1]

    yield new
    for screen in opened:
        screen.tmux("kill-server")


def test_a_search_and_its_status_have_the_same_view_on_narrow_and_wide_terminals(
    tmp_path: Path, open_screen: Callable[[int], Screen]
) -> None:
    narrow, wide = open_screen(80), open_screen(140)
    narrow.open(command(tmp_path, "seen", *SHORT))
    narrow.wait_for(" left ")
    run = tmp_path / "seen"
    wide.open([command(tmp_path, "")[0], "-m", "tuning.status", "--run", str(run), "--follow"])
    running = {screen.columns: screen.wait_for("running  t0001 ") for screen in (narrow, wide)}
    ended = {screen.columns: screen.wait_for("ended with 0") for screen in (narrow, wide)}
    for columns, lines in running.items():
        text = "\n".join(lines)
        assert "── seen · running, search · " in text
        assert "best     t0000 macro-F1 " in text
        assert "rungs " in text
        assert max(map(len, lines)) <= columns
    for lines in ended.values():
        (head,) = [line for line in lines if line.startswith("── seen")]
        assert head.startswith("── seen · completed · ")
    text = "\n".join(ended[80])
    assert text.index("last events") < text.index("trials: 2 completed, ")
    assert text.index("trials: 2 completed, ") < text.index("Next: python -m evaluation.final")


@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.long), (signal.SIGTERM, 143)],
)
def test_a_signal_leaves_the_terminal_unchanged_and_the_resume_command_on_it(
    tmp_path: Path, number: int, code: int
) -> None:
    found = open_terminal(command(tmp_path, "signalled", *SHORT))
    run, deadline = Run(directory=tmp_path / "signalled"), time.monotonic() + 120
    while not (run.directory / "curves.csv").exists():
        assert time.monotonic() < deadline, found.text
        time.sleep(0.1)
    os.kill(found.process.pid, number)
    assert found.process.wait(timeout=30) == code
    time.sleep(0.2)
    assert "\x1b[?25l" not in found.text  # the cursor was never hidden
    text = found.plain
    assert "signalled · interrupted · " in text
    assert text.index("trials write their checkpoints") < text.index("signalled · interrupted")
    assert text.rindex("signalled · interrupted") < text.index(
        "Interrupted; all results so far are"
    )
    assert "Traceback" not in text
