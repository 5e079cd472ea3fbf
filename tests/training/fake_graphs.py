"""Fakes of CUDA graphs for machines without a GPU: one burns numbers in, one calls again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from training.batches import Padding
from training.cuda_graphs import CapturedSteps, Record, Replay
from training.encoder import Encoder
from training.model_cache import ModelCache
from training.optimizer_step import OptimizerStep

_WAITS = {
    torch.ops.aten._local_scalar_dense.default,  # item(), float(), bool()
    torch.ops.aten.equal.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.masked_select.default,
}
"""Operations whose result the host waits for, which a capture does not permit."""


@dataclass(frozen=True, kw_only=True)
class _Operation:
    """One operation of PyTorch's core with all that it was called with."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    made: list[torch.Tensor]
    """Tensors with memory of their own that it returned."""

    def repeat(self) -> None:
        """Compute it from what its tensors hold now, into the same memory as before."""
        found = self.function(*self.arguments, **self.keywords)
        if self.made:
            for tensor, values in zip(self.made, _tensors(found), strict=True):
                tensor.copy_(values)


@dataclass
class _Tape(TorchDispatchMode):
    """Notes each operation of a `with` block below autograd, those of `backward` among them."""

    operations: list[_Operation] = field(default_factory=list)
    _overwritten: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _WAITS:
            raise RuntimeError("fake: operation not permitted when stream is capturing")
        keywords = kwargs or {}
        self._keep_overwritten(func, args, keywords)
        found = func(*args, **keywords)
        is_view = any(returned.alias_info is not None for returned in func._schema.returns)
        made = [] if is_view else _tensors(found)
        self.operations.append(
            _Operation(function=func, arguments=args, keywords=keywords, made=made)
        )
        return found

    def _keep_overwritten(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                written = _tensors(named.get(argument.name))
                self._overwritten += [(tensor, tensor.clone()) for tensor in written]

    def undo(self) -> None:
        """Give all memory that the operations wrote to its former content."""
        with torch.no_grad():
            for tensor, before in reversed(self._overwritten):
                tensor.copy_(before)
        self._overwritten.clear()


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class BurningGraphs:
    """A fake of CUDA graphs that holds what theirs do: operations, numbers and memory addresses.

    The operations of a function are noted below autograd with their plain numbers and their
    tensors, and what they changed is set back, as a capture computes nothing. A replay calls no
    code of ours or of a model: it repeats the operations with the numbers of then and what the
    tensors hold now. New random numbers come from the generator, which a capture leaves
    as it was.

    What it can show: that a step depends on a number, a branch or a tensor that the next training
    replaces. What it cannot: that CUDA can capture the step.
    """

    def __init__(self) -> None:
        """Start without a graph."""
        self.recorded = self.replayed = 0

    def __call__(self, function: Callable[[], None]) -> Replay:
        """Note what `function` does, without doing it.

        Raises:
            RuntimeError: it waits for the device.
        """
        self.recorded += 1
        generator, tape = torch.get_rng_state(), _Tape()
        try:
            with tape:
                function()
        finally:
            tape.undo()
            torch.set_rng_state(generator)

        def replay() -> None:
            self.replayed += 1
            with torch.no_grad():
                for operation in tape.operations:
                    operation.repeat()

        return replay


class FakeModelCache(ModelCache):
    """A model_cache whose steps run from fake graphs, as those of a GPU from real ones."""

    def __init__(self, graphs: Record) -> None:
        super().__init__()
        self.graphs = graphs
        self.captured: CapturedSteps | None = None

    @contextmanager
    def borrow(self, encoder: Encoder, **settings: Any) -> Iterator[OptimizerStep]:
        """As the real one, in a process that captures."""
        capturing = patch("torch.cuda.is_current_stream_capturing", return_value=True)
        with super().borrow(encoder, **settings) as optimizer_step, capturing:
            yield optimizer_step

    def _captured_steps(self, most_tokens: int, padding: Padding) -> CapturedSteps:
        self.captured = CapturedSteps(
            record=self.graphs,
            device=torch.device("cpu"),
            most_tokens=most_tokens,
            padding=padding,
        )
        return self.captured
