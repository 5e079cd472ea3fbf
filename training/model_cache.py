"""Keep a built model and its captured steps from one training to the next in the same process.

Building IndoBERT takes a second and capturing its steps as CUDA graphs takes a few; both are the
same for all trials of a search. A worker therefore builds the model once, and each further trial
resets it to its initial weights. On CPU a training with a model cache gives the same curve and the
same weights, to the last bit, as one without.
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
class _Initialised:
    """Tensors of the initial model that depend on the seed."""

    seed: int
    tensors: Tensors
    """Parameters and buffers that the encoder's weights do not contain, on the CPU."""


@dataclass(kw_only=True)
class ModelCache:
    """At most one built model, borrowed by one training at a time."""

    _key: tuple[str, bool] = field(default=("", False), init=False)
    """Digest of the encoder, and whether steps are captured."""
    _optimizer_step: OptimizerStep | None = field(default=None, init=False)
    _layer: nn.Module | None = field(default=None, init=False)
    """The layer that is computed for the first token alone."""
    _initialised: _Initialised | None = field(default=None, init=False)
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
        """Yield the optimizer step of a model that is equal to `encoder.build(seed)`.

        After an error in the `with` block the model is discarded.

        Args:
            encoder: of the model.
            seed: of the new head and of everything random in the training.
            most_tokens: of the longest row.
            padding: of the model's tokenizer.
            captures: whether steps run as CUDA graphs where there is a GPU.

        Raises:
            InputError: the model cannot be built.
        """
        key = (encoder.digest, captures)
        if self._key != key:
            self.clear()
        with self._capturing_stream(captures=captures):
            try:
                if self._optimizer_step is None:
                    model = self._build(encoder, seed)
                    graphs = self._captured_steps(most_tokens, padding) if captures else None
                    self._optimizer_step, self._key = OptimizerStep(model, graphs=graphs), key
                else:
                    self._reset(self._optimizer_step.model, encoder, seed)
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
        """Discard the model."""
        self._key, self._optimizer_step = ("", False), None
        self._layer, self._initialised = None, None

    @contextmanager
    def _capturing_stream(self, *, captures: bool) -> Iterator[None]:
        if captures and self._graphs is None and training_device().type == "cuda":
            self._graphs = CudaGraphs()
        with self._graphs.capturing_stream() if self._graphs else nullcontext():
            yield

    def _build(self, encoder: Encoder, seed: int) -> PreTrainedModel:
        model = encoder.build(seed)
        self._initialised = _initialised(model, encoder, seed)
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

    def _reset(self, model: PreTrainedModel, encoder: Encoder, seed: int) -> None:
        """Copy the initial weights of `encoder` and `seed` into the model's memory."""
        if self._initialised is None or self._initialised.seed != seed:
            self._initialised = None  # frees its memory before the next is built
            self._initialised = _initialised(encoder.build(seed), encoder, seed)
        state = _state_of(model)
        with torch.no_grad():
            for name, array in (encoder.weights or {}).items():
                state[name].copy_(torch.tensor(array))
            for name, tensor in self._initialised.tensors.items():
                state[name].copy_(tensor)


def _state_of(model: PreTrainedModel) -> Tensors:
    """Return all parameters and buffers, including those that are not saved in files."""
    return {**dict(model.named_buffers()), **dict(model.named_parameters()), **model.state_dict()}


def _initialised(model: PreTrainedModel, encoder: Encoder, seed: int) -> _Initialised:
    pretrained = encoder.weights or {}
    state = _state_of(model).items()
    tensors = {name: t.detach().clone() for name, t in state if name not in pretrained}
    return _Initialised(seed=seed, tensors=tensors)
