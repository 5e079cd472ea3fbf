"""What shellcheck says of commands that the cluster descriptions hold."""

import subprocess
import sys
from pathlib import Path

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
