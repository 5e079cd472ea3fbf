"""The launcher's files, given to Ray's own launcher."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import jsonschema
import pytest
from ray.autoscaler._private.commands import _set_up_config_for_head_node
from ray.autoscaler._private.util import with_envs

from tests.cluster.launchers import FILES, FOLDER, Config, accept, lint, read, start_commands

TOKEN = "~/.ray/auth_token"


def changed(name: str, path: str, value: Any) -> Config:
    """A file with one value replaced (None: removed); `path` joins keys by dots."""
    config = read(name)
    *parents, last = path.split(".")
    parent = config
    for key in parents:
        parent = parent[key]
    if value is None:
        del parent[last]
    else:
        parent[last] = value
    return config


@pytest.mark.parametrize("name", FILES)
def test_ray_s_launcher_accepts_the_file(name: str) -> None:
    accept(read(name))


@pytest.mark.parametrize(
    ("name", "path", "value", "error"),
    [
        ("aws.yaml", "max_wokers", 4, jsonschema.ValidationError),
        ("aws.yaml", "max_workers", "four", jsonschema.ValidationError),
        ("aws.yaml", "idle_timeout_minutes", -1, jsonschema.ValidationError),
        ("aws.yaml", "available_node_types.gpu.node_config", None, jsonschema.ValidationError),
        ("aws.yaml", "available_node_types.gpu.resources.GPU", 0.25, jsonschema.ValidationError),
        ("aws.yaml", "available_node_types.gpu.spot", True, jsonschema.ValidationError),
        ("aws.yaml", "available_node_types.gpu.min_workers", 5, ValueError),
        ("aws.yaml", "head_node_type", "heads", ValueError),
        ("on-premise.yaml", "initialization_commands", "make", jsonschema.ValidationError),
        ("on-premise.yaml", "cluster_name", 3, jsonschema.ValidationError),
        ("on-premise.yaml", "provider.worker_ips", None, click.ClickException),
        ("on-premise.yaml", "provider.head_ip", None, click.ClickException),
    ],
)
def test_a_broken_copy_is_refused(name: str, path: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        accept(changed(name, path, value))


@pytest.mark.parametrize("name", FILES)
def test_the_dashboard_listens_on_loopback_alone(name: str) -> None:
    config = read(name)
    assert "--dashboard-host=127.0.0.1 " in start_commands(config, "head")
    assert "0.0.0.0" not in (FOLDER / name).read_text("utf-8")


@pytest.mark.parametrize("name", FILES)
def test_the_head_hands_the_token_on_to_the_workers(name: str) -> None:
    provider = SimpleNamespace(prepare_for_head_node=lambda config: config)
    mounted, file = _set_up_config_for_head_node(accept(read(name)), provider, no_restart=False)
    on_the_head = json.loads(Path(file.name).read_text("utf-8"))
    assert mounted["file_mounts"][TOKEN] == TOKEN
    assert on_the_head["file_mounts"][TOKEN] == TOKEN
    for kind in ("head", "worker"):
        assert f"chmod 600 {TOKEN}" in on_the_head[f"{kind}_setup_commands"]


def started(config: Config, kind: str, home: Path) -> str:
    """Environment and arguments of the last `ray` that a node's start commands call."""
    tools = home / "severity-search" / ".venv" / "bin"
    tools.mkdir(parents=True)
    (tools / "activate").write_text(f"PATH={tools}:$PATH\n")
    (tools / "ray").write_text('#!/bin/bash\nenv | grep ^RAY_\necho "$@"\n')
    (tools / "ray").chmod(0o755)
    # What `ray up` and the autoscaler put before them.
    given = {"RAY_HEAD_IP": "192.0.2.10", "RAY_enable_autoscaler_v2": "1"}
    for command in with_envs(config[f"{kind}_start_ray_commands"], given):
        environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
        ended = subprocess.run(
            ["bash", "-c", command], check=True, capture_output=True, text=True, env=environment
        )
    return ended.stdout


@pytest.mark.parametrize("name", FILES)
def test_a_worker_joins_the_head_with_the_token(name: str, tmp_path: Path) -> None:
    lines = started(read(name), "worker", tmp_path).splitlines()
    assert lines[-1] == "start --address=192.0.2.10:6379"
    assert {"RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0"} <= set(lines)


@pytest.mark.parametrize("name", FILES)
def test_the_head_wants_the_token_and_gives_a_search_time_to_stop(
    name: str, tmp_path: Path
) -> None:
    lines = started(read(name), "head", tmp_path).splitlines()
    assert lines[-1].startswith("start --head ")
    assert {"RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0"} <= set(lines)
    (waits,) = [line for line in lines if line.startswith("RAY_JOB_STOP_WAIT_TIME_S=")]
    assert int(waits.partition("=")[2]) > 10


@pytest.mark.parametrize(("name", "is_new"), [("aws.yaml", "1"), ("on-premise.yaml", "0")])
def test_machines_of_one_s_own_are_started_by_the_autoscaler_that_can(
    name: str, is_new: str, tmp_path: Path
) -> None:
    lines = started(read(name), "head", tmp_path).splitlines()
    assert f"RAY_enable_autoscaler_v2={is_new}" in lines


def commands(config: Config) -> Iterator[str]:
    for key in ("initialization_commands", "setup_commands", "head_setup_commands"):
        yield from config.get(key, [])
    for kind in ("head", "worker"):
        yield from config[f"{kind}_start_ray_commands"]


@pytest.mark.parametrize("name", FILES)
def test_shellcheck_finds_nothing_in_the_commands(name: str) -> None:
    script = "\n".join(["RAY_HEAD_IP=192.0.2.10", *commands(read(name))])
    assert lint(script) == ""


def git(folder: Path, *arguments: str) -> str:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    ended = subprocess.run(
        ["git", *author, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return ended.stdout.strip()


def commit(checkout: Path, content: str) -> str:
    makefile = f"help:\n\t@false\ninstall:\n\t@echo {content} > installed\n"
    (checkout / "Makefile").write_text(makefile)
    git(checkout, "add", "Makefile")
    git(checkout, "commit", "--quiet", "-m", content)
    return git(checkout, "rev-parse", "HEAD")


def set_up(config: Config, checkout: Path, home: Path) -> None:
    """What the launcher does on a node with the checkout, rsync replaced by a copy."""
    excluded = {pattern.removeprefix("/") for pattern in config["rsync_exclude"]}
    shutil.copytree(
        checkout / config["file_mounts"]["~/severity-search.git"],
        home / "severity-search.git",
        ignore=lambda folder, _: excluded if Path(folder).name == ".git" else set(),
        dirs_exist_ok=True,
    )
    for command in config["setup_commands"]:
        subprocess.run(
            ["bash", "-c", command], check=True, cwd=home, env={**os.environ, "HOME": str(home)}
        )


@pytest.mark.parametrize("name", FILES)
def test_a_node_installs_the_commit_that_is_checked_out_and_later_the_next(
    name: str, tmp_path: Path
) -> None:
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    checkout.mkdir()
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("secret")
    git(checkout, "init", "--quiet")
    git(checkout, "remote", "add", "origin", "https://me:password@example.com/project")
    for content in ("one", "two"):
        latest = commit(checkout, content)
        (checkout / "keys.txt").write_text("not committed")
        set_up(read(name), checkout, home)
        node = home / "severity-search"
        assert git(node, "rev-parse", "HEAD") == latest
        assert (node / "installed").read_text() == f"{content}\n"
        assert not (node / "keys.txt").exists()
    assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert not (home / "severity-search.git" / "config").exists()
