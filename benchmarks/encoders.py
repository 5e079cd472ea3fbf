"""`python -m benchmarks.encoders`: does a search over encoders name the better of two?

Both are BERTs of one layer with random weights. One has a vocabulary learnt from the texts, the
other one was cut to 300 tokens, which leaves characters. Each search has other seeds; trial 0 has
the worse encoder in every other search. Each runs in a process of its own, and a search that has
finished is not run again, so that an interrupted benchmark continues where it was.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.figures import describe_machine, write_figures
from benchmarks.planned import first_rows, minilm_directory
from evaluation.streams import open_output
from training.tokenizer import learn_vocabulary, save_tokenizer

GOOD, BAD = "words", "characters"
_SIZES = {GOOD: 8000, BAD: 300}
"""Tokens of the vocabulary; the most frequent characters are the first."""
_TRIALS = 8
_MAX_LENGTH = 128
_SPACE = "learning_rate: {log_uniform: [1e-4, 5e-3]}"


class EncodersError(RuntimeError):
    """A search failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    directory = Path(options.directory).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    tweets = first_rows(Path(options.tweets), options.rows, directory)
    texts = pd.read_csv(tweets, dtype=str, keep_default_na=False)["text"].tolist()
    encoders = {name: make_encoder(directory / name, texts, size) for name, size in _SIZES.items()}
    figures: dict[str, Any] = {"machine": describe_machine(), "rows": len(texts), "searches": []}
    print(HEADER)
    for number in range(options.searches):
        found = run_joint(directory, tweets, encoders, number)
        figures["searches"].append(found)
        print(as_row(found), flush=True)
        _write(options.output, figures)
    figures["separate"] = run_separate(directory, tweets, encoders)
    if options.with_minilm:
        few = first_rows(Path(options.tweets), 600, directory)
        figures["with_minilm"] = run_with_minilm(directory, few, encoders)
    _write(options.output, figures)
    print(*summary_of(figures), sep="\n")
    return ExitCode.DONE


def _parser() -> OptionParser:
    parser = OptionParser(prog="python -m benchmarks.encoders", description=__doc__)
    parser.add_argument(
        "--tweets", required=True, metavar="FILE", help="CSV with at least 3,000 labelled rows"
    )
    parser.add_argument("--rows", type=int, default=3_000, metavar="N", help="of them [3000]")
    parser.add_argument("--searches", type=int, default=10, metavar="N", help="searches [10]")
    parser.add_argument(
        "--with-minilm",
        action="store_true",
        help="one more search, on 600 rows, with all-MiniLM-L6-v2 as the third encoder",
    )
    parser.add_argument(
        "--directory",
        default="results/runs/encoders",
        metavar="DIR",
        help="where the runs are; finished ones are not repeated [results/runs/encoders]",
    )
    parser.add_argument(
        "--output",
        default="results/runs/benchmark-encoders.json",
        metavar="FILE",
        help="where the figures are written as JSON, after each search",
    )
    return parser


def _write(path: str, figures: Mapping[str, Any]) -> None:
    with open_output(path) as file:
        write_figures(file, figures)


def make_encoder(directory: Path, texts: Iterable[str], size: int) -> Path:
    """Write a BERT of one layer with random weights, and its tokenizer; return the directory.

    Args:
        directory: where to write it; one that has weights is left as it is.
        texts: from which the vocabulary is learnt.
        size: most tokens of the vocabulary.
    """
    from transformers import BertConfig, BertForSequenceClassification, set_seed

    if (directory / "model.safetensors").exists():
        return directory
    tokens = learn_vocabulary(texts, size=size)
    save_tokenizer(tokens, directory, max_length=_MAX_LENGTH)
    set_seed(0)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=256,
        max_position_embeddings=_MAX_LENGTH,
        hidden_dropout_prob=0.3,
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    return directory


def run_joint(
    directory: Path, tweets: Path, encoders: Mapping[str, Path], number: int
) -> dict[str, Any]:
    """Search both encoders at once with the seeds of this number; return the figures.

    The default has the worse encoder if the number is even.
    """
    order = (BAD, GOOD) if number % 2 == 0 else (GOOD, BAD)
    paths = [str(encoders[name]) for name in order]
    run, seconds = _search(
        directory / f"joint-{number}",
        *_options(tweets, paths[0], number),
        *("--search.space", _space(paths), "--trials", str(_TRIALS)),
    )
    return {"number": number, **figures_of(run, seconds)}


def run_separate(
    directory: Path, tweets: Path, encoders: Mapping[str, Path]
) -> dict[str, dict[str, Any]]:
    """Search each encoder alone, with as many trials; return the figures of each."""
    found = {}
    for name, path in encoders.items():
        run, seconds = _search(
            directory / f"separate-{name}",
            *_options(tweets, str(path), 0),
            *("--search.space", f"{{{_SPACE}}}", "--trials", str(_TRIALS)),
        )
        found[name] = figures_of(run, seconds)
    return found


def run_with_minilm(directory: Path, few: Path, encoders: Mapping[str, Path]) -> dict[str, Any]:
    """Search both encoders and a pretrained one on a few rows; return the figures."""
    paths = [str(encoders[BAD]), str(encoders[GOOD]), str(minilm_directory())]
    run, seconds = _search(
        directory / "with-minilm",
        *_options(few, paths[0], 0, epochs=4),
        *("--search.space", _space(paths, "learning_rate: {log_uniform: [2e-5, 5e-3]}")),
        *("--trials", "9", "--model.max_length", "64"),
    )
    return figures_of(run, seconds)


def _options(tweets: Path, model: str, number: int, *, epochs: int = 8) -> tuple[str, ...]:
    seed = str(100 + number)
    return (
        *("--data", str(tweets), "--data.split_seed", seed),
        *("--model", model, "--model.max_length", str(_MAX_LENGTH)),
        *("--training.epochs", str(epochs), "--training.batch_size", "16"),
        *("--training.learning_rate", "5e-4", "--training.warmup_steps", "0.1"),
        *("--training.seed", seed, "--search.seed", seed, "--search.max_concurrent", "1"),
    )


def _space(paths: Sequence[str], learning_rate: str = _SPACE) -> str:
    return f"{{model: {{choice: {json.dumps(paths)}}}, {learning_rate}}}"


def _search(run: Path, *options: str) -> tuple[Path, float]:
    """Run a search, or continue it; return its directory and the seconds of the command."""
    timed = run.with_suffix(".seconds")
    if not timed.exists():
        output = ("--output.directory", str(run.parent), "--name", run.name)
        given = ("--resume",) if (run / "config.yaml").exists() else options
        started = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", "tuning.search", *given, *output],
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise EncodersError(f"{run.name}: {ended.stderr.strip()[-500:]}")
        timed.write_text(f"{time.monotonic() - started:.1f}\n", encoding="utf-8")
    return run, float(timed.read_text("utf-8"))


def figures_of(run: Path, seconds: float) -> dict[str, Any]:
    """Return what a search found: encoders of default and winner, verdict, scores, seconds.

    Args:
        run: its directory.
        seconds: of its command.
    """
    record = json.loads((run / "search.json").read_text("utf-8"))
    best = yaml.safe_load((run / "best.yaml").read_text("utf-8"))
    config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    trials = pd.read_csv(run / "trials.csv")
    confirmation = record["confirmation"] or {}
    candidates = confirmation.get("candidates") or []
    return {
        "default": Path(config["model"]["name"]).name,
        "winner": Path(best["model"]["name"]).name,
        "learning_rate": best["training"]["learning_rate"],
        "comparison": _shortened(confirmation.get("winner_beats_default") or {}),
        "candidates": [
            {
                **_shortened(one["parameters"]),
                **{name: one[name] for name in ("mean", "standard_error", "f1_macro")},
            }
            for one in candidates
        ],
        "trials": len(trials),
        "examples_trained": record["examples_trained"],
        "encoders": record.get("encoders", []),
        "seconds": seconds,
    }


def _shortened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the last part of paths, also within parameters."""
    return {
        name: _shortened(value)
        if isinstance(value, dict)
        else (Path(value).name if isinstance(value, str) else value)
        for name, value in values.items()
    }


def is_right(found: Mapping[str, Any]) -> bool:
    """Return whether the better encoder is named with a confirmed verdict.

    It replaced the default by a significant lead, or the default has it.
    """
    comparison = found["comparison"]
    is_confirmed = found["default"] == GOOD or (
        comparison.get("replaces_default") and comparison.get("distinguishable")
    )
    return bool(found["winner"] == GOOD and found["candidates"] and is_confirmed)


HEADER = (
    "| search | default | winner | confirmed mean of the best of each | right | seconds |\n"
    "|---|---|---|---|---|---|"
)


def as_row(found: Mapping[str, Any]) -> str:
    """Return a row of the table."""
    means = {
        name: max(
            (one["mean"] for one in found["candidates"] if one.get("model") == name), default=None
        )
        for name in _SIZES
    }
    listed = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items() if mean is not None)
    cells = (
        *(str(found["number"]), found["default"], found["winner"], listed),
        *("yes" if is_right(found) else "no", f"{found['seconds']:.0f}"),
    )
    return f"| {' | '.join(cells)} |"


def summary_of(figures: Mapping[str, Any]) -> list[str]:
    """Return the lines that follow the table."""
    searches, separate = figures["searches"], figures["separate"]
    lines = [f"{sum(map(is_right, searches))} of {len(searches)} name the better encoder"]
    if searches:
        alone = sum(one["seconds"] for one in separate.values())
        lines.append(
            f"{searches[0]['seconds']:.0f} s for both encoders in one search of {_TRIALS} trials,"
            f" {alone:.0f} s in a search of as many trials each"
        )
    if third := figures.get("with_minilm"):
        lines.append(f"with MiniLM: {third['winner']} in {third['seconds']:.0f} s")
    return lines


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(EncodersError,)))
