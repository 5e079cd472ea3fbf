"""What a process keeps of one training for the next: the model as built, and its steps.

Building IndoBERT takes a second, and capturing its steps as graphs a few; the trials of a search
differ in neither. So the worker of a search builds once, and each further trial copies the state
back that a training starts with. A training with a model cache gives, on CPU, the same curve and
the same weights, to the last bit, as one without.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import nn
from transformers import PreTrainedModel, set_seed

from training.batches import Padding
from training.cuda_graphs import CapturedSteps, CudaGraphs
from training.device import training_device
from training.encoder import Encoder
from training.first_token import first_token_alone, reducible_layer
from training.optimizer_step import OptimizerStep

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class _Start:
    """What a training with one seed begins with, beside what every one does."""

    seed: int
    drawn: Tensors
    """Parameters and buffers that the encoder's weights do not give, on the CPU."""


@dataclass(kw_only=True)
class ModelCache:
    """One built model of one encoder, lent to one training at a time."""

    _of: tuple[str, bool] = field(default=("", False), init=False)
    """Digest of the encoder, and whether steps are captured."""
    _optimizer_step: OptimizerStep | None = field(default=None, init=False)
    _layer: nn.Module | None = field(default=None, init=False)
    """The one that is computed for the first token alone."""
    _start: _Start | None = field(default=None, init=False)
    _graphs: CudaGraphs | None = field(default=None, init=False)

    @contextmanager
    def borrow(
        self,
        encoder: Encoder,
        *,
        seed: int,
        most_tokens: int,
        padding: Padding,
        captures: bool = True,
    ) -> Iterator[OptimizerStep]:
        """The steps of a model as `encoder.build(seed)` gives it, for the time of a `with` block.

        What an error leaves is not used again.

        Args:
            encoder: of the model.
            seed: of the drawn parts, and of the training's own draws, which begin anew.
            most_tokens: longest row that the model is given.
            padding: of its tokenizer.
            captures: whether steps run as CUDA graphs where there is a GPU.

        Raises:
            InputError: the model cannot be built.
        """
        wanted = (encoder.digest, captures)
        if self._of != wanted:
            self.clear()
        with self._at_work(captures=captures):
            try:
                if self._optimizer_step is None:
                    model = self._build(encoder, seed)
                    captured = self._captured_steps(most_tokens, padding) if captures else None
                    self._optimizer_step, self._of = OptimizerStep(model, captured=captured), wanted
                else:
                    self._set_back(self._optimizer_step.model, encoder, seed)
                reduced = first_token_alone(self._layer) if self._layer else nullcontext()
                with reduced:
                    set_seed(seed)
                    yield self._optimizer_step
            except Exception:
                self.clear()
                raise
            finally:
                if self._optimizer_step is not None:
                    self._optimizer_step.end()

    def clear(self) -> None:
        """Keep nothing."""
        self._of, self._optimizer_step, self._layer, self._start = ("", False), None, None, None

    @contextmanager
    def _at_work(self, *, captures: bool) -> Iterator[None]:
        if captures and self._graphs is None and training_device().type == "cuda":
            self._graphs = CudaGraphs()
        with self._graphs.at_work() if self._graphs else nullcontext():
            yield

    def _build(self, encoder: Encoder, seed: int) -> PreTrainedModel:
        model = encoder.build(seed)
        self._start = _start_of(model, encoder, seed)
        self._layer = reducible_layer(model)
        model.to(training_device())  # type: ignore[arg-type]
        return model

    def _captured_steps(self, most_tokens: int, padding: Padding) -> CapturedSteps | None:
        if self._graphs is None:
            return None
        return CapturedSteps(
            record=self._graphs,
            device=training_device(),
            most_tokens=most_tokens,
            padding=padding,
        )

    def _set_back(self, model: PreTrainedModel, encoder: Encoder, seed: int) -> None:
        if self._start is None or self._start.seed != seed:
            self._start = None  # its memory is free for the next
            self._start = _start_of(encoder.build(seed), encoder, seed)
        places = _state_of(model)
        with torch.no_grad():
            for name, array in (encoder.weights or {}).items():
                places[name].copy_(torch.tensor(array))
            for name, tensor in self._start.drawn.items():
                places[name].copy_(tensor)


def _state_of(model: PreTrainedModel) -> Tensors:
    """Parameters and buffers, those that no file holds among them."""
    return {**dict(model.named_buffers()), **dict(model.named_parameters()), **model.state_dict()}


def _start_of(model: PreTrainedModel, encoder: Encoder, seed: int) -> _Start:
    known = encoder.weights or {}
    drawn = {n: t.detach().clone() for n, t in _state_of(model).items() if n not in known}
    return _Start(seed=seed, drawn=drawn)
