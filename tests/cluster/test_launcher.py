"""The launcher's files, given to Ray's own launcher."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import jsonschema
import pytest
from ray.autoscaler._private.commands import _set_up_config_for_head_node

from tests.cluster.launchers import FILES, FOLDER, Config, accept, read, start_commands

TOKEN = "~/.ray/auth_token"


def changed(name: str, path: str, value: Any) -> Config:
    """A file with one value replaced (None: removed); `path` joins keys by dots."""
    config = read(name)
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
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
