"""`python -m training.check_shipping`: one check of `training.shipping`, in a process of its own.

Reads from standard input, once its libraries are loaded, the path of a pickled pair of a
`Shipment` and a directory, and writes a line of JSON: {"warning": ...}, {"problem": ...} for what
the user can change, or {"environment": ...}. It gives way to all other processes, and uses no
GPU.
"""

import json
import os
import pickle
import signal
import sys
from pathlib import Path

import torch
from transformers import logging as transformers_logging

from training.errors import InputError
from training.shipping import check_shipping

_YIELDS = 10
"""Steps of `nice`: trials that start meanwhile are not to wait for it."""


def main() -> None:
    """Wait for what is to be checked, check it and say what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search, which gets it too, ends this
    os.nice(_YIELDS)
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # transformers' own
    path = sys.stdin.readline().strip()
    if not path:
        return  # the search ended before it came to this
    # Written by the search that started this process, into a directory of its own.
    shipment, directory = pickle.loads(Path(path).read_bytes())
    try:
        said = {"warning": check_shipping(shipment, directory)}
    except InputError as error:
        said = {"problem": error.problems[0]}
    except OSError as error:
        place = error.filename or directory
        said = {"environment": f"{error.strerror or error}: {place}"}
    except MemoryError:
        said = {"environment": "out of memory while a small model was tried"}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
