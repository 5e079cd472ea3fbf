"""Which version of this program made a run, and whether this one can go on with it."""

from collections.abc import Mapping
from typing import Any

from results.errors import RunError
from results.run import Run

VERSION = "0.3.0"
"""Of this program, as in pyproject.toml: known without the package being installed."""

_BEFORE_IT_WAS_RECORDED = "0.1.0"


def made_by(record: Mapping[str, Any]) -> str:
    """The version that began a run, from the content of its `search.json`."""
    return str((record.get("environment") or {}).get("version") or _BEFORE_IT_WAS_RECORDED)


def check_data_rules(run: Run, record: Mapping[str, Any], rules: int, *, goal: str) -> None:
    """Refuse a run whose rows were dropped and held together by other rules than now.

    Args:
        run: named in the error.
        record: content of its `search.json`.
        rules: number of the rules now, `training.data_summary.RULES`.
        goal: what the version that made the run would be used for, such as "evaluate it".

    Raises:
        RunError: its split may come out otherwise.
    """
    if record["data"].get("rules", 1) == rules:
        return
    version = made_by(record)
    raise RunError(
        f"run {run.directory}: it was searched by version {version}, whose rules for duplicate rows"
        f" were others, so that this version ({VERSION}) need not make its split again; {goal} with"
        f" version {version}, or search again"
    )
