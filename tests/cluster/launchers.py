"""The launcher's files, read and completed as `ray up` does it."""

import copy
import subprocess
import sys
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


_TOOLS = Path(sys.executable).parent
"""Packages put programs beside the interpreter, also where that is not on the PATH."""


def lint(script: str, *, leave_out: str = "SC1090,SC1091") -> str:
    """Findings on a bash script, one a paragraph; empty: none.

    Args:
        script: text of the script.
        leave_out: codes; by default that a sourced file is not there to be read.
    """
    command = [str(_TOOLS / "shellcheck"), "--shell=bash", f"--exclude={leave_out}", "-"]
    ended = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.stdout
