"""What Ray's servers tell the driver, as lines of ours: Ray would print its own into them."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from ray._private import worker as ray_worker

logger = logging.getLogger(__name__)

_TOLD_BY_THE_SEARCH = ("A worker died or was killed",)
"""Beginnings of messages about what a search says itself, with the trial that it happened to."""
_NUMBERS = re.compile(r"\b[0-9a-f]{8,}\b|\d+")
_MOST_CHARACTERS = 300


def log_messages() -> None:
    """Log what Ray's servers tell instead of printing it: whole in detail, a kind once in short."""
    # Ray has no setting for these, unlike for what workers print.
    ray_worker.print_to_stdstream = message_logger()


def message_logger() -> Callable[..., None]:
    """A function that takes Ray's messages, and remembers which kinds it has told."""
    told: set[str] = set()

    def log(data: Mapping[str, Any], **_: Any) -> None:
        for message in map(str, data["lines"]):
            text = " ".join(message.split())
            logger.debug("Ray: %s", text)
            kind = _NUMBERS.sub("#", text)[:80]
            if kind not in told and not text.startswith(_TOLD_BY_THE_SEARCH):
                told.add(kind)
                logger.warning("Ray says: %s", text[:_MOST_CHARACTERS])

    return log
