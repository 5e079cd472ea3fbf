"""What a policy answers, and what it is at."""

from enum import Enum, StrEnum, auto


class Phase(StrEnum):
    """What a search is at; rungs are judged in all but the last."""

    SEARCH = "search"
    CONFIRMATION = "confirmation"
    FINISHED = "finished"


class NoTrial(Enum):
    """Why there is no next trial."""

    WAIT = auto()
    """Not now: it depends on trials that run."""
    DONE = auto()
    """None will come."""


class Decision(Enum):
    """What a running trial is to do."""

    CONTINUE = auto()
    STOP = auto()
