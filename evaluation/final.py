"""`python -m evaluation.final`: retrain the winner and evaluate it on the test set, once."""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from evaluation.retrain import RetrainError
from evaluation.run_evaluation import Evaluation, evaluate_run, opened
from results.errors import RunError, StorageError
from results.log import log_to_terminal, quiet_libraries
from results.run import Run
from results.status_text import compare_with_plan
from results.verdict_lines import print_verdict


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    log_to_terminal()
    quiet_libraries()
    started = time.monotonic()
    with opened(options.run) as run, run.lock():
        try:
            evaluation = evaluate_run(
                run,
                gates=options.gates,
                weights=options.weights,
                reopen_reason=options.reopen_test,
                with_texts=not options.without_texts,
                encoder=options.encoder,
            )
        except RetrainError as error:
            print(f"error: {error}", file=sys.stderr)
            return ExitCode.SEARCH_ABORTED
        _print_time(evaluation.record, time.monotonic() - started)
        return _print_result(run, evaluation)


def _print_time(record: Mapping[str, Any], taken_s: float) -> None:
    """Compare the duration with the plan of the search, where it has one."""
    if planned := record.get("planned"):
        print(compare_with_plan(planned["seconds"]["final"], taken_s))


def _print_result(run: Run, evaluation: Evaluation) -> int:
    print_verdict(run, evaluation.record, evaluation.report)
    return ExitCode.GATE_NOT_MET if evaluation.gates_missed else ExitCode.DONE


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m evaluation.final",
        description="Retrain the winner of a search on the training and validation rows, and"
        " evaluate it once on the test set.",
    )
    parser.add_argument(
        "--run",
        required=True,
        metavar="DIR|URI",
        help="directory of the run, or its URI; a run at a URI is fetched into results/runs, and"
        " the results are copied back",
    )
    parser.add_argument(
        "--encoder",
        metavar="NAME",
        help="retrain and evaluate the best confirmed candidate of this encoder instead of the"
        " winner: a name of the search, or the end of one that no other has [the winner]",
    )
    parser.add_argument(
        "--gates",
        choices=("minimum", "optimal", "none"),
        default="minimum",
        help="quality gates that the model must meet, else the exit code is 3 [minimum]",
    )
    parser.add_argument(
        "--weights",
        choices=("safetensors", "bin"),
        default="safetensors",
        help="format of the weights; bin writes pytorch_model.bin as well as model.safetensors"
        " [safetensors]",
    )
    parser.add_argument(
        "--reopen-test",
        metavar="REASON",
        help="evaluate on the test set once more; the reason is recorded in the report",
    )
    parser.add_argument(
        "--without-texts",
        action="store_true",
        help="leave the texts of rows out of report.html, so that it may be shared",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(
        run_command(
            main,
            bad_input=(RunError,),
            environment=(StorageError, torch.OutOfMemoryError),
            after_interrupt="run the same command again to resume",
        )
    )
