"""Whole optimizer steps as CUDA graphs, one a number of rows and length.

A step of a small batch is a thousand small kernels, and starting them one by one takes the host
longer than running them takes the card. A graph starts them all at once. What differs between
steps and between trainings (rows, learning rate, class weights, clipping) stands in tensors that
keep their place, so that one graph serves all configurations of a batch size. PyTorch's guide to
CUDA graphs, "Whole-network capture", has the rules that this follows.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch

from training.batches import Batch, Padding, to_device, widen

logger = logging.getLogger(__name__)

Shape = tuple[int, int]
"""Rows of a batch, and word pieces a row."""
Step = Callable[[Batch], None]
Replay = Callable[[], None]
Record = Callable[[Callable[[], None]], Replay]
"""Notes what a function does on the device, without doing it; what it returns does it."""

_MOST_GRAPHS = 48
"""Each takes some memory of the driver's; the rarer kinds of batches run as they are."""

_FINE, _COARSE, _FINE_UP_TO = 8, 16, 64


def width_of(longest: int, *, most: int) -> int:
    """The length that a batch is padded to: few lengths, so that few graphs are captured.

    A multiple of 8 up to 64 word pieces, of 16 above, and never more than `most`.
    """
    grain = _FINE if longest <= _FINE_UP_TO else _COARSE
    return min(-(-longest // grain) * grain, most)


@dataclass(kw_only=True)
class CapturedSteps:
    """Runs steps from graphs where it has them.

    The first step of each kind of batch runs as it is, which makes what the capture may not make
    (the optimizer's state, workspaces of libraries); the second one is captured. Where a step
    cannot be captured, it and all that follow run as they are.
    """

    record: Record
    device: torch.device
    most_tokens: int
    """Longest row that the model takes."""
    padding: Padding
    is_refused: bool = field(default=False, init=False)
    """Whether some step could not be captured."""
    _ran: set[Shape] = field(default_factory=set, init=False)
    _graphs: dict[Shape, tuple[Batch, Replay]] = field(default_factory=dict, init=False)
    """The places that a graph reads its rows from, and the graph."""

    def run(self, batch: Batch, *, step: Step, plain: Step) -> None:
        """Take one step.

        Args:
            batch: on the CPU.
            step: takes the step for a batch on the device, doing only what can be captured.
            plain: takes it for a batch on the CPU, doing whatever it needs.
        """
        rows, longest = batch["input_ids"].shape
        wide = widen(batch, width_of(longest, most=self.most_tokens), padding=self.padding)
        shape = rows, wide["input_ids"].shape[1]
        is_new = shape in self._ran and shape not in self._graphs
        if is_new and not self.is_refused and len(self._graphs) < _MOST_GRAPHS:
            self._capture(shape, wide, step)
        self._ran.add(shape)
        if shape not in self._graphs:
            plain(wide)
            return
        places, replay = self._graphs[shape]
        for name, values in to_device(wide, self.device).items():
            places[name].copy_(values)
        replay()

    def give_up(self) -> bool:
        """Drop all graphs and capture no more; whether there was one."""
        had_some, self.is_refused = bool(self._graphs), True
        self.forget()
        return had_some

    def forget(self) -> None:
        """Drop all graphs: what they read or write has another place or value now."""
        self._ran.clear()
        self._graphs.clear()

    def _capture(self, shape: Shape, wide: Batch, step: Step) -> None:
        places = to_device(wide, self.device)
        try:
            self._graphs[shape] = places, self.record(lambda: step(places))
        except RuntimeError as error:  # torch has no class of its own for it
            self.give_up()
            logger.warning(
                "training steps run without CUDA graphs, which is slower: one cannot be captured"
                " (%s)",
                " ".join(str(error).split())[:200],
            )


class CudaGraphs:
    """Captures with CUDA; all graphs of a process share one pool, for they never run at once."""

    def __init__(self) -> None:
        """Make the stream that everything runs on, captured or not, as PyTorch advises."""
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's own

    def __call__(self, function: Callable[[], None]) -> Replay:
        """Capture what `function` starts on the device.

        Raises:
            RuntimeError: it waits for the device, or does what else cannot be captured.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                function()
        except RuntimeError:
            # Where CUDA itself ended the capture, torch would go on allocating from its pool.
            with suppress(RuntimeError):
                torch._C._cuda_endAllocateToPool(self._stream.device_index, self._pool)
            self._pool = torch.cuda.graph_pool_handle()
            raise
        return graph.replay

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Run all work of a `with` block on the stream that captures."""
        outside = torch.cuda.current_stream()
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)
