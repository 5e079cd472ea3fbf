"""Loggers used for a time and given back as they were."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def logging_kept(lent: Sequence[str], *others: str) -> Iterator[None]:
    """Give loggers their handlers, levels and propagation back after a `with` block.

    Args:
        lent: names of loggers that are without handlers when it begins.
        others: names of loggers that are left as they are until something changes them.
    """
    loggers = [logging.getLogger(name) for name in (*lent, *others)]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    for name in lent:
        logging.getLogger(name).handlers = []
    try:
        yield
    finally:
        kept = {handler for handlers, _, _ in before for handler in handlers}
        for handler in {handler for logger in loggers for handler in logger.handlers} - kept:
            handler.close()
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
