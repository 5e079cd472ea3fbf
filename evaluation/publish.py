"""`python -m evaluation.publish`: upload a model to the Hugging Face Hub, private unless asked."""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import argparse
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from evaluation.published_files import list_files, problems_of_files, stage_files
from results.errors import RunError
from results.log import log_to_file, log_to_terminal
from results.recommendation import recommend
from results.run import TEST_REPORT, Run
from results.trial_states import VerdictKind
from training.cli import printable, shorten
from training.errors import InputError

logger = logging.getLogger(__name__)


class PublishError(RuntimeError):
    """The Hub cannot be reached, or refuses the upload; the message is one line for the user."""


class Hub(Protocol):
    """The part of `huggingface_hub.HfApi` that publishing needs."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> object:
        """Make a repository of models, or accept one that exists as it is."""

    def repo_info(self, repo_id: str) -> "RepoInfo":
        """Describe a repository."""

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> object:
        """Upload the files of a directory whose names match."""


class RepoInfo(Protocol):
    """The part of the Hub's description of a repository that is read."""

    private: bool | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the evaluation of a model found."""

    kind: VerdictKind | None
    """None: there is no evaluation."""
    sentence: str


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    log_to_terminal()
    return publish(options, HfApi(), token=get_token())


def publish(options: argparse.Namespace, hub: Hub, *, token: str | None) -> int:
    """Check everything, and upload; return the exit code.

    Raises:
        InputError: one line for each reason not to upload.
        PublishError: the Hub cannot be reached, or refuses the upload.
    """
    directory, reason = Path(options.model), " ".join((options.anyway or "").split())
    judged = judge(directory)
    is_advised = judged.kind == VerdictKind.USE_MODEL
    problems = [*_problems_of_repo(options.repo), *problems_of_files(directory)]
    if options.anyway is not None and not reason:
        problems.append("--anyway is empty, but must be the reason for publishing the model")
    elif not is_advised and not reason:
        problems.append(
            f"--model is {str(directory)!r}, whose verdict is not to use it: {judged.sentence}"
            ' Follow it, or give --anyway "REASON", which the card will state'
        )
    if token is None and not options.dry_run:
        problems.append(
            "no token of the Hub: run hf auth login, or set HF_TOKEN to one that may write"
        )
    if problems:
        raise InputError(*problems)
    note = "" if is_advised else f"Published although: {judged.sentence} Reason: {reason}"
    if options.dry_run:
        _print_plan(options, directory)
        return ExitCode.DONE
    _log(directory, f"uploading {directory} to {options.repo}. {note}")
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".publish-") as staged:
        stage_files(directory, Path(staged), repo=options.repo, note=note)
        _upload(hub, options, Path(staged))
    visibility = "public" if options.public else "private"
    print(f"Next: https://huggingface.co/{options.repo} ({visibility})")
    return ExitCode.DONE


def judge(directory: Path) -> Judged:
    """Return the verdict on the model in a directory, from the evaluation beside it."""
    run = Run(directory.absolute().parent.parent)
    try:
        text = (directory.parent / "reports" / TEST_REPORT).read_text("utf-8")
        record = run.read_record()
        found = recommend(run, record, json.loads(text), directory=directory.absolute().parent)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        return Judged(kind=None, sentence=f"no evaluation of it can be read ({problem}).")
    return Judged(kind=found.kind, sentence=found.sentence)


def _upload(hub: Hub, options: argparse.Namespace, staged: Path) -> None:
    names = sorted(path.name for path in staged.iterdir())
    try:
        hub.create_repo(options.repo, private=not options.public, exist_ok=True)
        if not options.public and not hub.repo_info(options.repo).private:
            raise InputError(
                f"--repo {options.repo} exists and is public; make it private, choose another"
                " name, or give --public"
            )
        hub.upload_folder(
            repo_id=options.repo,
            folder_path=staged,
            allow_patterns=names,
            commit_message="Upload the model",
        )
    except InputError:
        raise
    except Exception as error:  # httpx's, hf_xet's or an answer of the Hub; they share no class
        lines = " ".join(printable(str(error)).split())
        raise PublishError(
            f"--repo {options.repo}: the Hub did not take the model ({lines[:300]}); check the"
            " network, the token's rights and the name, and run the command again"
        ) from error
    logger.info("uploaded %s", ", ".join(names))


def _print_plan(options: argparse.Namespace, directory: Path) -> None:
    visibility = "public" if options.public else "private"
    print(f"would upload to {options.repo} ({visibility}):")
    for path in list_files(directory):
        print(f"  {path.name}  {path.stat().st_size:,} bytes")
    left_out = {path.name for path in directory.iterdir()} - {p.name for p in list_files(directory)}
    print(f"not uploaded: {', '.join(sorted(left_out)) or 'nothing'}")
    print("Nothing was uploaded. Next: the same command without --dry-run")


def _problems_of_repo(repo: str) -> list[str]:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        rule = " ".join(str(error).split())
        return [f"--repo is {shorten(repo)}, but must be OWNER/NAME ({rule})"]
    return []


def _log(directory: Path, line: str) -> None:
    """Log a line beside the evaluation's own log, where there is one."""
    logs = directory.parent / "logs"
    if logs.is_dir():
        log_to_file(logs / "publish.log")
    logger.info("%s", line)


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m evaluation.publish",
        description="Upload a model to the Hugging Face Hub: weights, tokenizer, configuration,"
        " ONNX and card, and nothing else. Refused while the verdict is not to use the model.",
    )
    parser.add_argument(
        "--model", required=True, metavar="DIR", help="directory of the model, such as final/model"
    )
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="repository on the Hub")
    parser.add_argument(
        "--public", action="store_true", help="make the repository public [it is private]"
    )
    parser.add_argument(
        "--anyway",
        metavar="REASON",
        help="upload a model although the verdict is not to use it; the card states the reason",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be uploaded; upload nothing"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(RunError,), environment=(PublishError,)))
