"""`python -m evaluation.final`: retrain the winner, open the test rows once, write the result."""

from training.command import DONE, GATE_NOT_MET, SEARCH_ABORTED, interrupts_end_at_once, run_command

if __name__ == "__main__":
    interrupts_end_at_once()  # while the libraries below are loaded

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evaluation.evaluate import evaluate_winner, remove_checkpoints
from evaluation.gates import all_unmet
from evaluation.openings import TestLock
from evaluation.retrain import RetrainError
from evaluation.winner import load_winner
from results.errors import RunError
from results.log import log_to_file, log_to_terminal, quiet_libraries
from results.run import Run, open_run
from training.options import OptionParser


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    log_to_terminal()
    quiet_libraries()
    run = open_run(Path(options.run))
    run.read_record()  # before a lock is left in some other directory
    with run.held():
        return _conclude(run, options)


def _conclude(run: Run, options: argparse.Namespace) -> int:
    lock = TestLock(run)
    remove_checkpoints(lock)
    directory = lock.next_directory(options.reopen_test)
    winner = load_winner(run)
    log_to_file(directory / "logs" / "training.log")
    try:
        report = evaluate_winner(
            winner,
            lock,
            directory,
            gates=options.gates,
            weights=options.weights,
            reopen_reason=options.reopen_test,
        )
    except RetrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return SEARCH_ABORTED
    missed = all_unmet(options.gates, report)
    print(report["summary"])
    print(_scores_side_by_side(report))
    print(f"Model {directory / 'model'}\nReport {run.report}")
    if missed:
        print(
            f"Gates not met: {'; '.join(missed)}. Next: see the report; label more rows of the"
            " weakest classes, or search again with another data.split_seed, since these test rows"
            " were seen"
        )
        return GATE_NOT_MET
    print(
        f"Next: python -m evaluation.predict --model {directory / 'model'} --input FILE --output -"
    )
    return DONE


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m evaluation.final",
        description="Retrain the winner of a search on train + validation and test it once.",
    )
    parser.add_argument("--run", required=True, metavar="DIR", help="directory of the run")
    parser.add_argument(
        "--gates",
        choices=("minimum", "optimal", "none"),
        default="minimum",
        help="quality that must be reached, else exit code 3",
    )
    parser.add_argument(
        "--weights",
        choices=("safetensors", "bin"),
        default="safetensors",
        help="bin: pytorch_model.bin beside model.safetensors",
    )
    parser.add_argument(
        "--reopen-test", metavar="REASON", help="open the test rows once more; it is written down"
    )
    return parser


def _scores_side_by_side(report: Mapping[str, Any]) -> str:
    score, confirmed = (report["search"][f"{kind}_f1_macro"] for kind in ("search", "confirmed"))
    searched = "none" if score is None else f"{score:.4f} (selected on)"
    middle = "not confirmed" if confirmed is None else f"confirmed {confirmed:.4f} (selected on)"
    return f"Macro-F1 of the winner: search {searched}, {middle}, test {report['f1_macro']:.4f}"


if __name__ == "__main__":
    raise SystemExit(
        run_command(main, bad_input=(RunError,), environment=(torch.OutOfMemoryError,))
    )
