"""Run whole optimizer steps as CUDA graphs, one graph for each shape of a batch.

The step of a small batch consists of about a thousand small kernels. Launching them one by one
takes the CPU longer than the GPU needs to run them; a graph launches all of them at once. What
differs between steps and between trainings (rows, learning rates, class weights, label smoothing,
clipping) is in tensors whose memory never changes, so that one graph serves all configurations of a
batch size and a dropout.
The rules are those of "Whole-network capture" in PyTorch's guide to CUDA graphs.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch

from training.batches import Batch, Padding, to_device, widen

logger = logging.getLogger(__name__)

Shape = tuple[int, int, float | None]
"""Number of rows of a batch, of tokens in each row, and the dropout: what a graph holds as numbers
and differs between the steps of a model."""
Step = Callable[[Batch], None]
Replay = Callable[[], None]
Record = Callable[[Callable[[], None]], Replay]
"""Records what a function does on the device, without doing it; the result does it."""

_MOST_GRAPHS = 48
"""Each graph takes some memory of the driver; batches of further shapes run without a graph."""

_FINE, _COARSE, _FINE_UP_TO = 8, 16, 64


def width_of(longest: int, *, most: int) -> int:
    """Return the length to pad a batch to; there are few lengths, so that few graphs are captured.

    It is a multiple of 8 up to 64 tokens and of 16 above, and at most `most`.
    """
    grain = _FINE if longest <= _FINE_UP_TO else _COARSE
    return min(-(-longest // grain) * grain, most)


@dataclass(kw_only=True)
class CapturedSteps:
    """Runs steps, from a graph where the shape of the batch has one.

    The first step of each shape runs without a graph and allocates what must not be allocated
    during a capture (the optimizer's state, workspaces of libraries); the second step is captured.
    If a step cannot be captured, it and all later steps run without graphs.
    """

    record: Record
    device: torch.device
    most_tokens: int
    """Length of the longest row."""
    padding: Padding
    is_refused: bool = field(default=False, init=False)
    """Whether some step could not be captured."""
    _dropout: float | None = field(default=None, init=False)
    """Of the present training: a graph holds it as a number."""
    _ran: set[Shape] = field(default_factory=set, init=False)
    _graphs: dict[Shape, tuple[Batch, Replay]] = field(default_factory=dict, init=False)
    """The tensors that a graph reads its batch from, and its replay."""

    def run(self, batch: Batch, *, step: Step, plain: Step) -> None:
        """Take one step.

        Args:
            batch: on the CPU.
            step: takes the step for a batch on the device; everything it does can be captured.
            plain: takes the step for a batch on the CPU, without that restriction.
        """
        rows, longest = batch["input_ids"].shape
        wide = widen(batch, width_of(longest, most=self.most_tokens), padding=self.padding)
        shape = rows, wide["input_ids"].shape[1], self._dropout
        is_new = shape in self._ran and shape not in self._graphs
        if is_new and not self.is_refused and self._has_capacity():
            self._capture(shape, wide, step)
        self._ran.add(shape)
        if shape not in self._graphs:
            plain(wide)
            return
        inputs, replay = self._graphs[shape]
        for name, values in to_device(wide, self.device).items():
            inputs[name].copy_(values)
        replay()

    def serve(self, *, dropout: float | None) -> None:
        """Run the steps of a training from now on, with the graphs of its dropout."""
        self._dropout = dropout

    def give_up(self) -> bool:
        """Drop all graphs and capture no more; return whether there was one."""
        had_graphs, self.is_refused = bool(self._graphs), True
        self.forget()
        return had_graphs

    def forget(self) -> None:
        """Drop all graphs, because memory or values that they contain have changed."""
        self._ran.clear()
        self._graphs.clear()

    def _has_capacity(self) -> bool:
        """Return whether one more graph may be captured; those of other dropouts make way."""
        if len(self._graphs) >= _MOST_GRAPHS:
            self._graphs = {k: v for k, v in self._graphs.items() if k[-1] == self._dropout}
        return len(self._graphs) < _MOST_GRAPHS

    def _capture(self, shape: Shape, wide: Batch, step: Step) -> None:
        inputs = to_device(wide, self.device)
        try:
            self._graphs[shape] = inputs, self.record(lambda: step(inputs))
        except RuntimeError as error:  # torch has no more specific class for it
            self.give_up()
            logger.warning(
                "training steps run without CUDA graphs, which is slower: a step cannot be captured"
                " (%s)",
                " ".join(str(error).split())[:200],
            )


class CudaGraphs:
    """Captures CUDA graphs; those of a process share a memory pool, as one runs at a time."""

    def __init__(self) -> None:
        """Create the stream that all work runs on, captured or not, as PyTorch advises."""
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's own

    def __call__(self, function: Callable[[], None]) -> Replay:
        """Capture what `function` launches on the device.

        Raises:
            RuntimeError: it waits for the device, or does something else that cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                function()
        except RuntimeError:
            # Where CUDA itself ended the capture, torch would keep allocating from its pool.
            with suppress(RuntimeError):
                torch._C._cuda_endAllocateToPool(self._stream.device_index, self._pool)
            self._pool = torch.cuda.graph_pool_handle()
            raise
        return graph.replay

    @contextmanager
    def capturing_stream(self) -> Iterator[None]:
        """Run all work of a `with` block on the stream that captures."""
        outside = torch.cuda.current_stream()
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)
