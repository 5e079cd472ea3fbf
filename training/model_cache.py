"""Keep built models and their captured steps from one training to the next in the same process.

Building IndoBERT takes a second and capturing its steps as CUDA graphs takes a few; both are the
same for all trials with one encoder. A worker therefore builds each model once, and each further
trial resets it to its initial weights. On CPU a training with a model cache gives the same curve
and the same weights, to the last bit, as one without.
"""

import gc
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import nn
from transformers import PreTrainedModel, set_seed

from training.batches import Padding
from training.cuda_graphs import CapturedSteps, CudaGraphs
from training.device import free_memory, training_device
from training.encoder import Encoder
from training.first_token import first_token_alone, reducible_layer
from training.optimizer_step import OptimizerStep

logger = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]

_BYTES_OF_TRAINING = 24
"""Per parameter: weight, gradient and two moments of AdamW, float32, and half as much for rows."""


@dataclass(frozen=True, kw_only=True)
class _Initialised:
    """Tensors of the initial model that depend on the seed."""

    seed: int
    tensors: Tensors
    """Parameters and buffers that the encoder's weights do not contain, on the CPU."""


@dataclass(kw_only=True)
class _BuiltModel:
    """A model with its optimizer and its captured steps, and how to reset it."""

    optimizer_step: OptimizerStep
    layer: nn.Module | None
    """The layer that is computed for the first token alone."""
    initialised: _Initialised | None

    def reset(self, encoder: Encoder, seed: int) -> None:
        """Copy the initial weights of `encoder` and `seed` into the model's memory."""
        if self.initialised is None or self.initialised.seed != seed:
            self.initialised = None  # frees its memory before the next is built
            self.initialised = _initialised(encoder.build(seed), encoder, seed)
        state = _state_of(self.optimizer_step.model)
        with torch.no_grad():
            for name, array in (encoder.weights or {}).items():
                state[name].copy_(torch.tensor(array))
            for name, tensor in self.initialised.tensors.items():
                state[name].copy_(tensor)


_Key = tuple[str, bool]
"""Digest of the encoder, and whether steps are captured."""


@dataclass(kw_only=True)
class ModelCache:
    """The built models of one process, of which one training at a time borrows one.

    A model stays while the device has memory for it: before another one is built, and where memory
    runs out in a step, the one that was used least recently is discarded.
    """

    _models: dict[_Key, _BuiltModel] = field(default_factory=dict, init=False)
    """The one that was used last is at the end."""
    _graphs: CudaGraphs | None = field(default=None, init=False)

    @property
    def num_models(self) -> int:
        """Number of models that are built."""
        return len(self._models)

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
        key, started = (encoder.digest, captures), time.monotonic()
        is_switched = bool(self._models) and next(reversed(self._models)) != key
        built = self._models.pop(key, None)
        is_kept = built is not None
        with self._capturing_stream(captures=captures):
            if built is None:
                self._make_space(encoder)
                built = self._build(encoder, seed, most_tokens, padding, captures=captures)
                self._models[key] = built
            else:
                self._models[key] = built
                self._reset(key, encoder, seed)
            if is_switched:
                logger.info(
                    "switched to another encoder, %s in %.2f s; this process keeps %d",
                    *("set back" if is_kept else "built", time.monotonic() - started),
                    self.num_models,
                )
            try:
                reduced = first_token_alone(built.layer) if built.layer else nullcontext()
                with reduced:
                    set_seed(seed)
                    yield built.optimizer_step
            except Exception:
                self._models.pop(key, None)
                raise
            finally:
                built.optimizer_step.end()

    def clear(self) -> None:
        """Discard all models."""
        self._models.clear()

    def _reset(self, key: _Key, encoder: Encoder, seed: int) -> None:
        try:
            self._models[key].reset(encoder, seed)
        except Exception:
            del self._models[key]
            raise

    def _make_space(self, encoder: Encoder) -> None:
        """Discard models until the device has the memory that training a new one takes."""
        needed = _BYTES_OF_TRAINING * encoder.num_parameters
        while self._models and (free := free_memory()) is not None and free < needed:
            self._discard_oldest()

    def _release_idle(self) -> bool:
        """Discard all models but the one in use; return whether there was any."""
        has_idle = self.num_models > 1
        while self.num_models > 1:
            self._discard_oldest()
        return has_idle

    def _discard_oldest(self) -> None:
        del self._models[next(iter(self._models))]
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @contextmanager
    def _capturing_stream(self, *, captures: bool) -> Iterator[None]:
        if captures and self._graphs is None and training_device().type == "cuda":
            self._graphs = CudaGraphs()
        with self._graphs.capturing_stream() if self._graphs else nullcontext():
            yield

    def _build(
        self, encoder: Encoder, seed: int, most_tokens: int, padding: Padding, *, captures: bool
    ) -> _BuiltModel:
        model = encoder.build(seed)
        initialised, layer = _initialised(model, encoder, seed), reducible_layer(model)
        model.to(training_device())  # type: ignore[arg-type]
        graphs = self._captured_steps(most_tokens, padding) if captures else None
        step = OptimizerStep(model, graphs=graphs, release_others=self._release_idle)
        return _BuiltModel(optimizer_step=step, layer=layer, initialised=initialised)

    def _captured_steps(self, most_tokens: int, padding: Padding) -> CapturedSteps | None:
        if self._graphs is None:
            return None
        return CapturedSteps(
            record=self._graphs,
            device=training_device(),
            most_tokens=most_tokens,
            padding=padding,
        )


def _state_of(model: PreTrainedModel) -> Tensors:
    """Return all parameters and buffers, including those that are not saved in files."""
    return {**dict(model.named_buffers()), **dict(model.named_parameters()), **model.state_dict()}


def _initialised(model: PreTrainedModel, encoder: Encoder, seed: int) -> _Initialised:
    pretrained = encoder.weights or {}
    state = _state_of(model).items()
    tensors = {name: t.detach().clone() for name, t in state if name not in pretrained}
    return _Initialised(seed=seed, tensors=tensors)
