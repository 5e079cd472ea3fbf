"""What the commands say: plain lines on the terminal, the same with times in the run's log."""

import logging
import sys
import warnings
from pathlib import Path

PACKAGES = ("tuning", "training", "evaluation", "cluster", "results")


def log_to_terminal() -> None:
    """Print what our packages say, and nothing of what libraries say below a warning."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        for old in logger.handlers:
            old.close()
        logger.handlers = [handler]


def log_to_file(path: Path) -> None:
    """Append the same lines, and finer ones, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in PACKAGES:
        logging.getLogger(name).addHandler(handler)


def quiet_libraries() -> None:
    """No progress bars and advice of libraries between our lines."""
    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
