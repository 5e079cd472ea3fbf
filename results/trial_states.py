"""States of a search and its trials, and its verdict, as they are written in a run's files."""

from enum import StrEnum


class Status(StrEnum):
    """State of a trial: running, or how it ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    DIVERGED = "diverged"
    COLLAPSED = "collapsed"


class StoppedBy(StrEnum):
    """What ended a trial before its last epoch."""

    NOBODY = ""
    SCHEDULER = "scheduler"
    PATIENCE = "patience"
    END_OF_SEARCH = "end of search"
    CONFIRMATION = "confirmation"
    """It reached the last rung; the best of those trials are trained afresh on replicates."""


class Source(StrEnum):
    """Where the hyperparameters of a trial come from."""

    DEFAULT = "default"
    SEARCH = "search"
    CONFIRM = "confirm"


class SearchStatus(StrEnum):
    """State of a search: running, or how it ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    ABORTED = "aborted"


class VerdictKind(StrEnum):
    """What to do with the model of a run."""

    USE_MODEL = "use_model"
    USE_BASELINE = "use_baseline"
    NO_DIFFERENCE = "no_difference"
    DO_NOT_TRUST = "do_not_trust"
    NOT_EVALUATED = "not_evaluated"
