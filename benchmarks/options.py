"""`python -m benchmarks.options`: what each training option gains or loses, one at a time.

Every value is trained on the same replicates (seed, and split into train and validation) as the
default, by the product's own training loop, and compared with it pair by pair. Then each option is
searched once by the real command.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from benchmarks.figures import describe_machine, whole_numbers, write_figures
from benchmarks.planned import first_rows
from evaluation.streams import open_output
from training.finetune import finetune
from training.model_cache import ModelCache
from tuning.confirmation import fresh_seed
from tuning.preparation import Preparation, prepare_search
from tuning.space import Value, with_parameters
from tuning.start import build

OPTIONS: Mapping[str, tuple[Value, ...]] = {
    "label_smoothing": (0.05, 0.1, 0.2),
    "layer_decay": (0.9, 0.7),
    "dropout": (0.0, 0.1, 0.2),
    "schedule": ("cosine", "constant"),
    "class_weights": ("sqrt", "none"),
    "head_learning_rate": (0.3, 3.0, 10.0),
}
"""Values that are compared with the default."""

_ROWS = 3_000
_DEFAULT = "default"


class OptionsError(RuntimeError):
    """A search failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    (replicates,) = whole_numbers(options.replicates, option="--replicates")[:1]
    with tempfile.TemporaryDirectory() as scratch:
        table = first_rows(Path(options.tweets), _ROWS, Path(scratch))
        figures: dict[str, Any] = {
            "machine": describe_machine(),
            "rows": _ROWS,
            "default": {
                "learning_rate": float(options.learning_rate),
                "batch_size": int(options.batch_size),
            },
            "replicates": replicates,
            "values": [],
            "searches": [],
        }
        for one in compare_values(table, figures["default"], replicates):
            figures["values"].append(one)
            print(as_row(one), flush=True)
            _write(options.output, figures)
        if options.searches:
            for name in OPTIONS:
                figures["searches"].append(search_option(name, table, options))
                print(figures["searches"][-1], flush=True)
                _write(options.output, figures)
    return ExitCode.DONE


def _parser() -> OptionParser:
    parser = OptionParser(prog="python -m benchmarks.options", description=__doc__)
    parser.add_argument(
        "--tweets", required=True, metavar="FILE", help="CSV with at least 3,000 labelled rows"
    )
    parser.add_argument(
        "--replicates", default="8", metavar="N", help="trainings of each value [8]"
    )
    parser.add_argument(
        "--learning-rate", default="1e-3", metavar="RATE", help="of the default [1e-3]"
    )
    parser.add_argument("--batch-size", default="8", metavar="ROWS", help="of the default [8]")
    parser.add_argument(
        "--searches", action="store_true", help="search each option by the real command, too"
    )
    parser.add_argument(
        "--directory",
        default="results/runs/options",
        metavar="DIR",
        help="where the runs of the searches are [results/runs/options]",
    )
    parser.add_argument(
        "--output",
        default="results/runs/benchmark-options.json",
        metavar="FILE",
        help="where the figures are written as JSON",
    )
    return parser


def _write(output: str, figures: Mapping[str, Any]) -> None:
    with open_output(output) as file:
        write_figures(file, figures)


def compare_values(
    table: Path, training: Mapping[str, Any], replicates: int
) -> Iterator[dict[str, Any]]:
    """Train each value on every replicate; yield its gain over the default.

    Yields:
        {`option`, `value`, `gain` and `standard_error` (points of macro-F1), `replicates`,
        `mean` (macro-F1), `seconds` (over the default's)}, the default itself first.
    """
    prepared = _prepare(table, training, replicates)
    cache = ModelCache()
    torch.set_num_threads(1)
    default = _train(prepared, {}, replicates, cache)
    yield _compared(_DEFAULT, None, default, default)
    for name, values in OPTIONS.items():
        for value in values:
            yield _compared(
                name, value, _train(prepared, {name: value}, replicates, cache), default
            )


def _prepare(table: Path, training: Mapping[str, Any], replicates: int) -> Preparation:
    configuration = build(
        {
            "data": {"path": str(table)},
            "training": training,
            "search": {"confirm_replicates": 2, "confirm_max_replicates": replicates},
        }
    )
    with tempfile.TemporaryDirectory() as directory:
        return prepare_search(
            configuration, tokenizer_directory=Path(directory) / "tokenizer", num_threads=1
        )


def _train(
    prepared: Preparation, parameters: Mapping[str, Value], replicates: int, cache: ModelCache
) -> list[tuple[float, float]]:
    """Return macro-F1 and the seconds of the training on each replicate."""
    found = []
    for replicate in range(1, replicates + 1):
        base = prepared.configuration.training
        seed = fresh_seed(base.seed, replicate)
        training = with_parameters(base, {**parameters, "seed": seed})
        budget = prepared.search_data.replicates[replicate].evaluate_at[-1]
        started = time.monotonic()
        tuned = finetune(
            prepared.search_data.task(replicate),
            training,
            evaluate_at=[budget],
            model_cache=cache,
        )
        found.append((tuned.evaluations[-1].f1_macro, time.monotonic() - started))
    return found


def _compared(
    name: str, value: Value, found: list[tuple[float, float]], default: list[tuple[float, float]]
) -> dict[str, Any]:
    gains = [100 * (ours[0] - theirs[0]) for ours, theirs in zip(found, default, strict=True)]
    return {
        "option": name,
        "value": value,
        "gain": round(fmean(gains), 2),
        "standard_error": round(stdev(gains) / math.sqrt(len(gains)), 2)
        if len(gains) > 1
        else None,
        "replicates": len(gains),
        "mean": round(fmean(score for score, _ in found), 4),
        "seconds": round(sum(s for _, s in found) / sum(s for _, s in default), 2),
    }


def as_row(one: Mapping[str, Any]) -> str:
    """Return the figures of one value as a row of a Markdown table."""
    error = "" if one["standard_error"] is None else f" ± {one['standard_error']:.2f}"
    gain = f"{one['gain']:+.2f}{error}"
    return (
        f"| {one['option']} | {one['value']} | {gain} | {one['mean']:.3f} | {one['seconds']:.2f} |"
    )


def search_option(name: str, table: Path, options: Any) -> dict[str, Any]:
    """Search the values of one option and its default by the command; return its verdict."""
    directory = Path(options.directory)
    defaults = build({"data": {"path": str(table)}}).training
    choice = [getattr(defaults, name), *OPTIONS[name]]
    command = [
        *(sys.executable, "-m", "tuning.search", "--data", str(table)),
        *("--training.learning_rate", str(options.learning_rate)),
        *("--training.batch_size", str(options.batch_size)),
        *("--search.algorithm", "grid", "--search.space", json.dumps({name: {"choice": choice}})),
        *("--name", name, "--output.directory", str(directory)),
        *("--search.max_concurrent", "1"),
    ]
    started = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise OptionsError(f"the search of {name} failed: {ended.stderr.strip()[-300:]}")
    record = json.loads((directory / name / "search.json").read_text("utf-8"))
    return {
        "option": name,
        "best": record["best"]["parameters"][name],
        "winner_beats_default": record["confirmation"]["winner_beats_default"],
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(OptionsError,)))
