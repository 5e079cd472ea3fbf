"""What to run after looking at a run: the last line of the commands that read one."""

import os
import shlex
from collections.abc import Mapping
from typing import Any

from results.run import Run
from results.trial_states import SearchStatus


def next_step(run: Run, record: Mapping[str, Any], *, lives: bool, uri: str | None = None) -> str:
    """The command that takes a run further, after `Next: `.

    Args:
        run: on this machine.
        record: content of its `search.json`.
        lives: whether a process is searching.
        uri: of what `run` is a copy, if it is one.
    """
    place = uri or os.fspath(run.directory)
    if lives:
        return _command("tuning.status", "--run", place, "--follow")
    if record["status"] in (SearchStatus.RUNNING, SearchStatus.INTERRUPTED):
        return resume_command(run) if uri is None else _command("tuning.search", "--resume", uri)
    if record["status"] == SearchStatus.ABORTED:
        return f"correct what {run.log} says, then {search_again_command(run)}"
    model = newest_model(run)
    if model is None:
        return _command("evaluation.final", "--run", place)
    return predict_command(model)


def resume_command(run: Run) -> str:
    """The command that goes on with a search."""
    where = ("--name", run.directory.name, "--output.directory", os.fspath(run.directory.parent))
    return _command("tuning.search", "--resume", *where)


def predict_command(model: str) -> str:
    """The command that classifies with a model, a directory."""
    return f"{_command('evaluation.predict', '--model', model)} --input FILE --output -"


def newest_model(run: Run) -> str | None:
    """Directory of the model that was tested last; None: none was yet."""
    reports = run.newest_reports()
    return None if reports is None else os.fspath(reports.with_name("model"))


def search_again_command(run: Run) -> str:
    """The command that repeats a search under a name of its own."""
    return f"{_command('tuning.search', '--config', os.fspath(run.config))} --name NAME"


def _command(module: str, *arguments: str) -> str:
    return shlex.join(["python", "-m", module, *arguments])
