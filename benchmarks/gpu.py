"""`python -m benchmarks.gpu`: training speed on a GPU, compared with the Trainer and a roofline.

For a model of IndoBERT's size; its weights may be random. Without a GPU the command measures the
CPU, which tests the command and is no measurement of a GPU.

The roofline of a step is the longer of two times: the optimizer's traffic (28 bytes a parameter:
gradient read, weight and both moments read and written, float32) at the measured bandwidth, and the
operations of forward and backward pass (6 per token and parameter outside the embeddings) at
the measured rate of matrix products.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.contest import Contest, make_contest
from benchmarks.figures import describe_machine, whole_numbers, write_figures
from benchmarks.peers import make_trainer
from evaluation.streams import open_output
from training.config import SAMPLE, TINY
from training.data import file_of
from training.device import training_device
from training.errors import TrainingStoppedError
from training.finetune import Task, finetune
from training.first_token import reducible_layer
from tuning.config import Configuration
from tuning.preparation import prepare_search
from tuning.start import build

_BYTES_A_PARAMETER = 28
_OPERATIONS_A_PARAMETER = 6
_FAITHFUL_STEPS = 200


class GpuError(RuntimeError):
    """A part of the measurement failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--data", default=SAMPLE, metavar="FILE", help="rows with columns as ours")
    parser.add_argument(
        "--model",
        default=TINY,
        metavar="DIR",
        help="random weights; or `tiny`",
    )
    parser.add_argument("--batch-sizes", default="8,16,32", metavar="N,...", help="rows a step")
    parser.add_argument("--at-once", default="1,2,4,8", metavar="N,...", help="concurrent trials")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="of one turn")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="for equal scores")
    parser.add_argument("--pretrained", metavar="DIR", help="a model to run a whole search with")
    parser.add_argument(
        "--output", default="benchmarks/gpu.json", metavar="FILE", help="the figures as JSON"
    )
    options = parser.parse(arguments)
    sizes = whole_numbers(options.batch_sizes, option="--batch-sizes")
    at_once = whole_numbers(options.at_once, option="--at-once")
    with open_output(options.output) as file, tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        configuration = _configuration(options.data, options.model)
        task = _task(configuration, scratch)
        limits = measure_limits()
        figures: dict[str, Any] = {"machine": describe_machine(), "limits": limits}
        figures["steps"] = [_compare_to_limits(options, task, size, limits) for size in sizes]
        figures["peers"] = _peers(options, scratch, sizes)
        figures["at_once"] = [_run_concurrently(options, sizes[-1], number) for number in at_once]
        figures["faithful"] = compare_captured(configuration, task, num_seeds=options.seeds)
        if options.pretrained:
            figures["search"] = _search(options, scratch)
        write_figures(file, figures)
        print(json.dumps(figures, indent=2))
    if not torch.cuda.is_available():
        print("There is no GPU: these are figures of the CPU and no measurement of a GPU.")
    return ExitCode.DONE


def measure_limits() -> dict[str, float | str]:
    """Measure the limits of the device.

    Returns:
        `device`, `bytes_per_second` (of copying, reads and writes counted) and
        `operations_per_second` (of matrix products in the type that training computes in).
    """
    device = training_device()
    on_gpu = device.type == "cuda"
    one = torch.zeros((2**28 if on_gpu else 2**24), device=device)
    other = torch.empty_like(one)
    side = 8192 if on_gpu else 1024
    left = torch.randn(side, side, device=device).to(torch.bfloat16 if on_gpu else torch.float32)
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "bytes_per_second": 8 * one.numel() / _seconds(lambda: other.copy_(one)),
        "operations_per_second": 2 * side**3 / _seconds(lambda: left @ left),
    }


def compare_captured(configuration: Configuration, task: Task, *, num_seeds: int) -> dict[str, Any]:
    """Compare trainings whose steps run as CUDA graphs with trainings whose steps do not.

    Args:
        configuration: its section `training` is used.
        task: rows and model.
        num_seeds: number of trainings of each kind.

    Returns:
        `largest_loss_difference` of the mean training losses of every 20 steps over 200 steps,
        and the final `scores` of both kinds, one for each seed; without a GPU both kinds are the
        same.
    """
    training = configuration.training
    points = [training.batch_size * step for step in range(20, _FAITHFUL_STEPS + 1, 20)]

    def losses(*, captures: bool) -> list[float]:
        reported: list[float] = []
        with suppress(TrainingStoppedError):
            finetune(
                task,
                training.model_copy(update={"cuda_graphs": captures}),
                evaluate_at=points,
                on_evaluation=lambda evaluation: reported.append(evaluation.train_loss),
                should_stop=lambda: len(reported) == len(points),
            )
        return reported

    def score(seed: int, *, captures: bool) -> float:
        tuned = finetune(
            task,
            training.model_copy(update={"seed": seed, "cuda_graphs": captures}),
            evaluate_at=[len(task.train) * training.epochs],
        )
        return tuned.evaluations[-1].score

    pairs = zip(losses(captures=True), losses(captures=False), strict=True)
    return {
        "largest_loss_difference": max(abs(one - other) for one, other in pairs),
        "scores": {
            "captured": [score(seed, captures=True) for seed in range(num_seeds)],
            "plain": [score(seed, captures=False) for seed in range(num_seeds)],
        },
    }


def _configuration(data: str, model: str, **training: Any) -> Configuration:
    return build(
        {
            "data": {"path": data},
            "model": {"name": model, "weights": "random"},
            "training": {"batch_size": 16, "warmup_steps": 0.1, "epochs": 3, **training},
            "search": {"space": {"learning_rate": {"choice": [2e-5]}}},
        }
    )


def _task(configuration: Configuration, scratch: Path) -> Task:
    prepared = prepare_search(
        configuration, tokenizer_directory=scratch / "tokenizer", num_threads=os.cpu_count() or 1
    )
    return prepared.search_data.task(0)


def _compare_to_limits(
    options: Any, task: Task, size: int, limits: dict[str, Any]
) -> dict[str, Any]:
    """Measure steps with and without CUDA graphs and the bare loop's; compare to the limits."""
    found = _steps(options, size)
    parameters = _parameters_of_a_token(task.read_encoder().build(0))
    operations = _OPERATIONS_A_PARAMETER * parameters * found["padded_pieces"]
    roofline_ms = 1000 * max(
        _BYTES_A_PARAMETER * found["parameters"] / limits["bytes_per_second"],
        operations / limits["operations_per_second"],
    )
    return {
        **found,
        "plain": _steps(options, size, "--plain")["ours"],
        "rows_per_second": 1000 * size / found["ours"]["ms"],
        "roofline_ms": roofline_ms,
        "share_of_roofline": roofline_ms / found["ours"]["ms"],
    }


def _parameters_of_a_token(model: Any) -> int:
    """Return the number of parameters that compute with each token.

    Embeddings do not, nor does the part of the last layer that most tokens skip.
    """
    layer = reducible_layer(model)
    left_out = dict([] if layer is None else layer.named_parameters())
    kept = ("attention.self.key", "attention.self.value")
    skipped = sum(p.numel() for name, p in left_out.items() if not name.startswith(kept))
    embedded: int = model.get_input_embeddings().weight.numel()
    total: int = sum(p.numel() for p in model.parameters())
    return total - embedded - skipped


def _steps(options: Any, size: int, *more: str) -> dict[str, Any]:
    process = _start_steps(options, size, *more)
    output, problem = process.communicate()
    if process.returncode:
        raise GpuError(f"steps of {size} rows failed: {problem[-500:]}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def _start_steps(options: Any, size: int, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.steps", "--data", options.data]
    command += ["--model", options.model, "--batch-size", str(size), "--steps", str(options.steps)]
    return subprocess.Popen(
        [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _run_concurrently(options: Any, size: int, number: int) -> dict[str, Any]:
    """Run concurrent trials on one card: rows a second of all together, memory of one.

    They start at the same time, but their measurements overlap only in part: an estimate.
    """
    processes = [_start_steps(options, size, "--alone") for _ in range(number)]
    outputs = [process.communicate() for process in processes]
    if any(process.returncode for process in processes):
        return {"trials": number, "error": " ".join(problem[-200:] for _, problem in outputs)}
    found = [json.loads(text.splitlines()[-1]) for text, _ in outputs]
    return {
        "trials": number,
        "rows_per_second": sum(1000 * size / one["ours"]["ms"] for one in found),
        "device_mib_of_one": found[0]["device_mib"],
        "under_mps": "CUDA_MPS_PIPE_DIRECTORY" in os.environ,
    }


def _peers(options: Any, scratch: Path, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Measure a training of the Trainer, as the study used it and tuned: rows a second."""
    table = pd.read_csv(file_of(options.data))
    contest = make_contest(
        table, scratch / "peers", epochs=1, seed=42, with_asha=False, model=options.model
    )
    return [
        {"side": side, "rows": size, "rows_per_second": _rate(contest, size, side == "B")}
        for size in sizes
        for side in "AB"
    ]


def _rate(contest: Contest, size: int, tuned: bool) -> float:
    moments = contest.directory / "moments.jsonl"
    trainer = make_trainer(
        contest,
        tuned=tuned,
        moments=moments,
        per_device_train_batch_size=size,
        eval_strategy="no",
        max_steps=100,
    )
    for _ in range(2):  # the first warms up
        trainer.train()
    last = json.loads(moments.read_text(encoding="utf-8").splitlines()[-1])
    seconds: float = last["ended"] - last["began"]  # the model is built before
    return 100 * size / seconds


def _search(options: Any, scratch: Path) -> dict[str, Any]:
    """Run a whole search, its confirmation included."""
    command = [sys.executable, "-m", "tuning.search", "--data", options.data]
    command += ["--model", options.pretrained, "--output.directory", str(scratch / "runs")]
    started = time.perf_counter()
    done = subprocess.run([*command, "--name", "gpu"], capture_output=True, text=True)
    if done.returncode:
        raise GpuError(f"the search failed: {done.stderr[-500:]}")
    return {"seconds": time.perf_counter() - started, "last_lines": done.stdout.splitlines()[-6:]}


def _seconds(work: Callable[[], object], *, times: int = 20) -> float:
    """Return the mean seconds of a call, after as many calls to warm up."""

    def run() -> float:
        started = time.perf_counter()
        for _ in range(times):
            work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / times

    run()
    return run()


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(GpuError,)))
