"""A head of Ray with a dashboard on loopback, beside any other that runs here."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Head:
    """Its addresses, and what its users have in their environment."""

    address: str
    dashboard: str
    token: str
    environment: dict[str, str]
    scratch: Path

    def python(self, module: str, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
        """Start `python -m MODULE` as a user of the cluster."""
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment | changes,
            start_new_session=True,
        )

    def ask(self, path: str) -> Any:
        """What the dashboard answers, JSON or text."""
        request = urllib.request.Request(
            f"{self.dashboard}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read().decode()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return json.loads(text) if is_json else text

    def metrics(self) -> dict[str, dict[str, float]]:
        """Our metrics as Prometheus would scrape them: name, labels as text, value."""
        found: dict[str, dict[str, float]] = {}
        for group in self.ask("/api/prometheus/sd"):
            for target in group["targets"]:
                with urllib.request.urlopen(f"http://{target}/metrics", timeout=30) as answer:
                    text = answer.read().decode()
                for name, labels, value in re.findall(
                    r"^ray_(severity_search_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE
                ):
                    ours = re.findall(r'((?:run|slot|state)="[^"]*")', labels)
                    found.setdefault(name, {})[",".join(sorted(ours))] = float(value)
        return found


def _free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@contextmanager
def ray_head(*arguments: str) -> Iterator[Head]:
    """`ray start --head` with a token of its own, for the time of a `with` block."""
    scratch = Path(tempfile.mkdtemp(prefix="head"))  # short, for the paths of Ray's sockets
    token, port, dashboard = secrets.token_hex(32), _free_port(), _free_port()
    (scratch / "token").write_text(token)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(scratch / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    ports = {
        "port": port,
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": _free_port(),
        "ray-client-server-port": _free_port(),
    }
    with (scratch / "start.log").open("w") as log:
        started = subprocess.run(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head"),
                *("--node-ip-address", "127.0.0.1", "--temp-dir", str(scratch / "ray")),
                *(f"--{name}={value}" for name, value in ports.items()),
                *("--disable-usage-stats", *arguments),
            ],
            stdout=log,
            stderr=log,
            env=environment,
            cwd=scratch,
            check=False,
        )
    try:
        assert started.returncode == 0, (scratch / "start.log").read_text()
        yield Head(
            address=f"127.0.0.1:{port}",
            dashboard=f"http://127.0.0.1:{dashboard}",
            token=token,
            environment=environment,
            scratch=scratch,
        )
    finally:
        _kill_all(scratch)
        shutil.rmtree(scratch, ignore_errors=True)


def _kill_all(scratch: Path) -> None:
    """Everything that this head started; `ray stop` would end every Ray of this machine."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("RAY_AUTH_TOKEN_PATH") == str(scratch / "token"):
                process.kill()
        except psutil.Error:
            continue
