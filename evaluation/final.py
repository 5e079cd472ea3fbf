"""`python -m evaluation.final`: retrain the winner and evaluate it on the test set, once."""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from evaluation.gates import advice
from evaluation.markdown import sentence_start
from evaluation.retrain import RetrainError
from evaluation.run_evaluation import Evaluation, evaluate_run, opened
from results.errors import RunError, StorageError
from results.log import log_to_terminal, quiet_libraries
from results.run import Run
from results.score_names import describe_epochs
from results.status_text import predict_command, search_again_command


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    log_to_terminal()
    quiet_libraries()
    with opened(options.run) as run, run.lock():
        try:
            evaluation = evaluate_run(
                run,
                gates=options.gates,
                weights=options.weights,
                reopen_reason=options.reopen_test,
                with_texts=not options.without_texts,
            )
        except RetrainError as error:
            print(f"error: {error}", file=sys.stderr)
            return ExitCode.SEARCH_ABORTED
        return _print_result(run, evaluation)


def _print_result(run: Run, evaluation: Evaluation) -> int:
    report, missed = evaluation.report, evaluation.gates_missed
    print(report["summary"])
    print(_scores_side_by_side(report))
    print(f"Model {evaluation.model}\nReport {run.report}")
    if missed:
        print(
            f"Gates not met: {'; '.join(missed)}. Next: see the report; {advice(missed)}. Or search"
            " again with another data.split_seed, because these test rows have been used:"
            f" {search_again_command(run)} --data.split_seed N"
        )
        return ExitCode.GATE_NOT_MET
    print(f"Next: {predict_command(str(evaluation.model))}")
    return ExitCode.DONE


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


def _scores_side_by_side(report: Mapping[str, Any]) -> str:
    search = report["search"]
    score, confirmed = (search[f"{kind}_score"] for kind in ("search", "confirmed"))
    taken = describe_epochs(search["search_epochs"], search["epochs"])
    searched = "none" if score is None else f"{score:.4f} (selected on{taken and f', {taken}'})"
    middle = "not confirmed" if confirmed is None else f"confirmed {confirmed:.4f} (selected on)"
    label = sentence_start(report["objective"]["label"])
    return f"{label} of the winner: search {searched}, {middle}, test {report['score']:.4f}"


if __name__ == "__main__":
    raise SystemExit(
        run_command(
            main,
            bad_input=(RunError,),
            environment=(StorageError, torch.OutOfMemoryError),
            after_interrupt="run the same command again to resume",
        )
    )
