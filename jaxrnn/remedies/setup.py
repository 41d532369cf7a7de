"""What a network and its training are made of, and a remedy as a change of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from jaxrnn import cells, gradients
from jaxrnn.cells.initializers import Initializer, glorot
from jaxrnn.tasks import Task
from jaxrnn.training import Optimizer, Penalty, penalized
from jaxrnn.types import Batch, Cell, Estimator, Key, Params, State, StepFn

__all__ = ["Remedy", "Setup", "Sizes", "layer_of"]


class Sizes(NamedTuple):
    """What the constructor of a layer may need to know."""

    input_size: int
    hidden_size: int
    length: int
    """T, the steps of a sequence."""


def layer_of(constructor: Callable[..., Cell]) -> Callable[..., Cell]:
    """A constructor ``(input_size, hidden_size, **options)`` as one of `Sizes`."""
    return lambda sizes, **options: constructor(sizes.input_size, sizes.hidden_size, **options)


def _as_it_is(step, params, h_0, xs):
    del params, h_0
    return step, xs


class Setup(NamedTuple):
    """A recurrent layer under a dense readout, an optimizer, and what is added to the loss.

    The defaults are the network of the lecture: a tanh layer whose weights are Glorot's, and Adam.
    """

    layer: Callable[..., Cell] = layer_of(cells.elman)
    """``layer(sizes, **options)``."""
    options: Mapping[str, Any] = {"activation": "tanh"}
    initializers: Mapping[str, Initializer] = {"recurrent_init": glorot()}
    """More options of the layer, apart from the others since the step does not depend on them."""
    layer_wrappers: tuple[Callable[[Cell], Cell], ...] = ()
    """Around the layer, from the inside out."""
    network_wrappers: tuple[Callable[[Cell], Cell], ...] = ()
    """Around layer and readout together, such as noise, whose keys come with the inputs."""
    before: tuple[Optimizer, ...] = ()
    """What becomes of the gradient before the optimizer sees it."""
    optimizer: Callable[[optax.ScalarOrSchedule], Optimizer] = optax.adam
    schedule: Callable[[float, int], optax.ScalarOrSchedule] = lambda rate, _: rate
    """The learning rate over a number of steps."""
    penalty: Callable[[Cell, Task, Sizes], Penalty] | None = None
    penalty_weight: float = 0.0
    with_keys: bool = False
    """Whether the inputs carry keys."""
    evaluated: Callable[[StepFn, Params, State, Any], tuple[StepFn, Any]] = _as_it_is
    """The step of one sequence and its inputs [B, T, ...] when nothing is trained: from ``(step, params, h_0,
    xs)``."""

    @property
    def step_key(self) -> tuple:
        """Equal for setups whose networks have the same step, so that one compiled program serves them."""
        options = tuple(sorted(self.options.items()))
        return self.layer, options, self.layer_wrappers, self.network_wrappers, self.evaluated

    def cell(self, task: Task, sizes: Sizes) -> Cell:
        """The whole network for a task."""
        layer = self.layer(sizes, **self.options, **self.initializers)
        for wrap in self.layer_wrappers:
            layer = wrap(layer)
        network = cells.stack(layer, cells.dense(sizes.hidden_size, task.output_size))
        for wrap in self.network_wrappers:
            network = wrap(network)
        return network

    def estimator(self, cell: Cell, task: Task, sizes: Sizes) -> Estimator:
        """Of the exact gradient, with the penalty's if there is one."""
        estimator = gradients.full(cell.step, task.step_loss)
        if self.penalty is None:
            return estimator
        return penalized(estimator, self.penalty(cell, task, sizes), self.penalty_weight)

    def chain(self, learning_rate: float, steps: int) -> Optimizer:
        """The optimizer with all that comes before it."""
        return optax.chain(*self.before, self.optimizer(self.schedule(learning_rate, steps)))

    def sampler(self, task: Task) -> Callable[[Key], Batch]:
        """Training batches, with keys where they are needed."""
        if not self.with_keys:
            return task.sample

        def sample(key):
            key_data, key_noise = jax.random.split(key)
            return cells.with_keys(task.sample(key_data), key_noise)

        return sample


class Remedy(NamedTuple):
    """A named change of a `Setup`; ``a + b`` makes both changes, a's first."""

    name: str
    change: Callable[[Setup], Setup]
    reference: str
    """The SPEC's equation and who proposed it."""

    def __add__(self, other: Remedy) -> Remedy:  # ty: ignore[incompatible-method-override]
        """Both changes."""
        return Remedy(
            f"{self.name} + {other.name}",
            lambda setup: other.change(self.change(setup)),
            f"{self.reference}; {other.reference}",
        )
