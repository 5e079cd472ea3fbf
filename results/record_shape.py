"""What `search.json` must hold for its readers: checked once, where it is read."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from results.trial_states import SearchStatus


class _Part(BaseModel):
    """Values of the types that JSON has for them; what else is there is let through."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Objective(_Part):
    name: str
    label: str
    higher_is_better: bool


class _Candidate(_Part):
    trial_id: str
    parameters: dict[str, int | float]
    search_score: float | None = None
    score: float | None
    epochs: float = 0


class _Best(_Candidate):
    score: float
    fixed_rows_loss: list[float] = []


class _Trials(_Part):
    requested: int
    completed: int = 0
    stopped_early: int = 0
    failed: int = 0


class _Record(_Part):
    status: Annotated[SearchStatus, Field(strict=False)]
    objective: _Objective
    seconds: float
    started_at: str = ""
    command: str = ""
    data: dict[str, Any]
    trials: _Trials
    best: _Best | None
    default: _Candidate | None
    confirmation: dict[str, Any] | None = None


def problem_of_record(record: Any) -> str | None:
    """What keeps the content of `search.json` from being read, in a clause; None: nothing."""
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        rule = first["msg"].removeprefix("Input ").replace("should", "must", 1)
        return f"{place} is {repr(first['input'])[:60]}, but {rule[0].lower()}{rule[1:]}"
    return None
