"""Hosts of a real network on one machine: network namespaces on a bridge, each with its own Ray.

Root and iproute2 make them. A host has its own address and its own processes; it shares the disk,
but for directories that are hidden from it. Its interpreter has the libraries and not this project.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PORT = 6379


def _why_not() -> str:
    """What keeps hosts from being made here, or nothing."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and iproute2"
    name = f"try{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"no network namespace can be made ({made.stderr.strip()})"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return ""


needs_hosts = pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "hosts can be made")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass(frozen=True, kw_only=True)
class Host:
    """One network namespace."""

    namespace: str
    link: str
    """The bridge's end of its cable."""
    address: str
    environment: dict[str, str]

    def command(self, *command: str, hidden: Sequence[Path] = ()) -> list[str]:
        """What runs a command on this host, before which directories are hidden from it."""
        inside = ["ip", "netns", "exec", self.namespace]
        if hidden:
            mounts = "; ".join(f"mount -t tmpfs none '{path}'" for path in hidden)
            inside += ["unshare", "--mount", "sh", "-ec", f'{mounts}; exec "$@"', "sh"]
        return [*inside, *command]

    def run(self, *command: str, hidden: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*command, hidden=hidden),
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
        )

    def start(self, *command: str, cwd: Path) -> subprocess.Popen[str]:
        """Start a command, its output to be read."""
        return subprocess.Popen(
            self.command(*command),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=cwd,
            start_new_session=True,
        )

    def cut_off(self) -> None:
        """Take its link down: nothing reaches it any more, and its processes continue."""
        _ip("link", "set", self.link, "down")

    def kill_all(self) -> None:
        """End all of its processes, as at power-off."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False
        )
        for pid in found.stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue


@dataclass(kw_only=True)
class Hosts:
    """Hosts on one bridge."""

    scratch: Path
    name: str = field(default_factory=lambda: f"h{secrets.token_hex(2)}")
    subnet: str = field(
        default_factory=lambda: f"10.{200 + secrets.randbelow(50)}.{os.getpid() % 250}"
    )
    hosts: list[Host] = field(default_factory=list)

    @property
    def python(self) -> Path:
        """Their interpreter."""
        return self.scratch / "python" / "bin" / "python"

    def open(self) -> None:
        """Make bridge, token and interpreter."""
        _ip("link", "add", self.name, "type", "bridge")
        _ip("addr", "add", f"{self.subnet}.254/24", "dev", self.name)
        _ip("link", "set", self.name, "up")
        (self.scratch / "token").write_text(secrets.token_hex(32))
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", self.scratch / "python"], check=True
        )
        (site,) = (self.scratch / "python" / "lib").glob("python*/site-packages")
        # Named in a .pth file a folder's own .pth files are not read: no editable project.
        (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    def add(self) -> Host:
        """One host more."""
        number = len(self.hosts) + 1
        host = Host(
            namespace=f"{self.name}n{number}",
            link=f"{self.name}v{number}",
            address=f"{self.subnet}.{number}",
            environment={
                **{k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHON"))},
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN_PATH": str(self.scratch / "token"),
                "RAY_USAGE_STATS_ENABLED": "0",
                # A lost host is noticed after seconds instead of half a minute.
                "RAY_health_check_initial_delay_ms": "1000",
                "RAY_health_check_period_ms": "1000",
                "RAY_health_check_timeout_ms": "2000",
                "RAY_health_check_failure_threshold": "3",
            },
        )
        _ip("netns", "add", host.namespace)
        self.hosts.append(host)
        _ip(
            "link",
            "add",
            host.link,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            host.namespace,
        )
        _ip("link", "set", host.link, "master", self.name, "up")
        _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", host.namespace, "link", "set", device, "up")
        return host

    def start_ray(
        self, host: Host, *arguments: str, is_head: bool = False, hidden: Sequence[Path] = ()
    ) -> None:
        """`ray start` on a host: the head, or joining it."""
        role = ["--head", "--port", str(PORT)] if is_head else ["--address", self.ray_address]
        settings = ["--node-ip-address", host.address, "--disable-usage-stats", *arguments]
        if is_head:
            settings += ["--temp-dir", str(self.scratch / "ray")]
        ray = [str(self.python), "-m", "ray.scripts.scripts", "start"]
        # It leaves processes behind that would keep a pipe open.
        with (self.scratch / f"{host.namespace}.log").open("w") as log:
            started = subprocess.run(
                host.command(*ray, *role, *settings, hidden=hidden),
                stdout=log,
                stderr=log,
                env=host.environment,
                cwd=self.scratch,
                check=False,
            )
        assert started.returncode == 0, Path(log.name).read_text()

    @property
    def ray_address(self) -> str:
        """HOST:PORT of the head."""
        return f"{self.hosts[0].address}:{PORT}"

    def close(self) -> None:
        """End all processes and take the network away."""
        for host in self.hosts:
            host.kill_all()
        time.sleep(0.2)
        for host in self.hosts:
            _ip("netns", "del", host.namespace)
        _ip("link", "del", self.name)


@contextmanager
def network(scratch: Path) -> Iterator[Hosts]:
    """Hosts for the time of a `with` block; `scratch` is short, for the paths of Ray's sockets."""
    hosts = Hosts(scratch=scratch)
    hosts.open()
    try:
        yield hosts
    finally:
        hosts.close()
