"""The launcher's files, read and completed as `ray up` does it."""

import copy
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

Config = dict[str, Any]

FOLDER = Path(__file__).parents[2] / "cluster" / "launcher"
FILES = ["aws.yaml", "on-premise.yaml"]


def read(name: str) -> Config:
    config: Config = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return config


def accept(config: Config) -> Config:
    """The configuration as `ray up` completes it, checked as it does."""
    prepared: Config = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def start_commands(config: Config, kind: str) -> str:
    return " ".join(config[f"{kind}_start_ray_commands"])
