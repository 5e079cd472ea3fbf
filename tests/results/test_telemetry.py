"""The trackers' libraries connect to nobody: a proxy on loopback receives every attempt."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Variables that MLflow takes as a sign of CI, where its telemetry is off anyway.
_SIGNS_OF_CI = ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "DO_NOT_TRACK", "JENKINS_URL")

_TRACK = """
import sys
from pathlib import Path
from results.run import Run
from results.tracking import RunEnding, make_tracker, prepare_library
from tests.results.tracked import make_outcome, make_trial
kind, directory = sys.argv[1], Path(sys.argv[2]) / "run"
(directory / "logs").mkdir(parents=True)
prepare_library(kind)
tracker = make_tracker(kind, Run(directory))
tracker.open({"seed": 42}, [])
tracker.sync(make_trial(ending=RunEnding.FINISHED))
tracker.conclude(make_outcome())
"""

# Whether the process that sends for W&B was started without reports of its own errors.
_PRINT_OPTION = """
import psutil
from results.tracking import prepare_library
prepare_library("wandb")
import wandb
wandb.init(settings=wandb.Settings(silent=True))
words = [word for child in psutil.Process().children() for word in child.cmdline()]
assert any("wandb-core" in word for word in words), words
print("--no-observability" in words)
"""


@dataclass
class Proxy:
    """An HTTP proxy that notes who is asked for, and answers nothing."""

    server: socket.socket
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:  # it is closed
                return
            with connection:
                self.asked.append(connection.recv(4096).decode("latin-1").partition("\r\n")[0])


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Proxy(server)
        threading.Thread(target=found.serve, daemon=True).start()
        yield found
        server.shutdown(socket.SHUT_RDWR)


def _run(script: str, proxy: Proxy, tmp_path: Path, *arguments: str, **more: str) -> str:
    inherited = {k: v for k, v in os.environ.items() if k not in _SIGNS_OF_CI}
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy"), proxy.address)
    environment = {
        **inherited,
        **proxies,
        **{"NO_PROXY": "", "no_proxy": "", "HOME": str(tmp_path), "WANDB_MODE": "offline"},
        **{"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}", "PYTHONPATH": str(ROOT)},
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_tracked_search_on_this_machine_connects_to_nobody(
    kind: str, proxy: Proxy, tmp_path: Path
) -> None:
    _run(_TRACK, proxy, tmp_path, kind, str(tmp_path))
    assert proxy.asked == []


def test_mlflow_s_telemetry_is_on_if_the_user_turns_it_on(proxy: Proxy, tmp_path: Path) -> None:
    _run(_TRACK, proxy, tmp_path, "mlflow", str(tmp_path), MLFLOW_DISABLE_TELEMETRY="false")
    assert any("mlflow" in line for line in proxy.asked), proxy.asked


def test_wandb_reports_its_errors_only_if_the_user_turns_it_on(
    proxy: Proxy, tmp_path: Path
) -> None:
    assert _run(_PRINT_OPTION, proxy, tmp_path) == "True\n"
    assert _run(_PRINT_OPTION, proxy, tmp_path, WANDB_ERROR_REPORTING="true") == "False\n"
