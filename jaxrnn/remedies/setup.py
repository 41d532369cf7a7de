"""What a network and its training are made of, and a remedy as a change of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
from jax import lax
from jaxtyping import PyTree

from jaxrnn import _checks, cells, gradients
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


@_checks.signature("remedies.layer_of")
def layer_of(constructor: Callable[..., Cell]) -> Callable[..., Cell]:
    """A constructor ``(input_size, hidden_size, **options)`` as one of `Sizes`."""
    return lambda sizes, **options: constructor(sizes.input_size, sizes.hidden_size, **options)


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
    noise: tuple[Callable[[Cell], Cell], ...] = ()
    """Around the whole network, from the inside out; each takes a key with its inputs."""
    before: tuple[Optimizer, ...] = ()
    """What becomes of the gradient before the optimizer sees it."""
    optimizer: Callable[[optax.ScalarOrSchedule], Optimizer] = optax.adam
    schedule: Callable[[float, int], optax.ScalarOrSchedule] = lambda rate, _: rate
    """The learning rate over a number of steps."""
    penalty: Callable[[Cell, Task, Sizes], Penalty] | None = None
    penalty_weight: float = 0.0

    @property
    def step_key(self) -> tuple:
        """Equal for setups whose networks have the same step, so that one compiled program serves them."""
        options = tuple(sorted(self.options.items()))
        return self.layer, options, self.layer_wrappers, self.noise

    def cell(self, task: Task, sizes: Sizes) -> Cell:
        """The whole network for a task; its encoder, where there is one, is a layer like the decoder's."""
        options = {**self.options, **self.initializers}
        try:
            layer = self.layer(sizes, **options)
        except TypeError as error:
            raise TypeError(f"remedies: this layer does not go with {', '.join(options)}: {error}") from error
        for wrap in self.layer_wrappers:
            layer = wrap(layer)
        network = cells.stack(layer, cells.dense(sizes.hidden_size, task.output_size))
        if task.encoder_decoder:
            network = cells.encoder_decoder(layer, network)
        for wrap in self.noise:
            network = wrap(network)
        return network

    def estimator(self, cell: Cell, task: Task, sizes: Sizes) -> Estimator:
        """Of the exact gradient, with the penalty's if there is one."""
        estimator = gradients.full(cell.step, task.step_loss)
        make = self.penalty
        if make is None:
            return estimator

        def penalty(params, batch):
            h_0 = cell.initial_states(params, _checks.batch_shape("remedies", batch)[0])
            # The statistics of a batch are held fixed when the penalty is differentiated.
            step, xs = self._one_by_one(cell.step, *lax.stop_gradient((params, h_0)), batch.xs)
            return make(cell._replace(step=step), task, sizes)(params, batch._replace(xs=xs))

        return penalized(estimator, penalty, self.penalty_weight)

    def evaluated(self, step: StepFn, params: Params, h_0: State, xs: PyTree) -> tuple[StepFn, PyTree]:
        """The step of one sequence without noise, and the inputs of B sequences, which come without keys."""
        for _ in self.noise:
            step = _without_key(step)
        return self._one_by_one(step, params, h_0, xs)

    def _one_by_one(self, step, params, h_0, xs):
        """Batch normalisation by the statistics of these very sequences, for each of them alone."""
        if getattr(self.options.get("normalization"), "name", "") != "batch_norm":
            return step, xs
        size = jax.tree.leaves(xs)[0].shape[0]
        moments = cells.batch_statistics(step, params, h_0, xs)
        moments = jax.tree.map(lambda leaf: leaf[None].repeat(size, 0), moments)
        return cells.with_statistics(step), (xs, moments)

    def chain(self, learning_rate: float, steps: int) -> Optimizer:
        """The optimizer with all that comes before it."""
        return optax.chain(*self.before, self.optimizer(self.schedule(learning_rate, steps)))

    def sampler(self, task: Task) -> Callable[[Key], Batch]:
        """Training batches, the same for all setups, with a key a step for each kind of noise."""

        def sample(key):
            batch = task.sample(key)
            for i in range(len(self.noise)):
                batch = cells.with_keys(batch, jax.random.fold_in(key, i))
            return batch

        return sample


def _without_key(step):
    return lambda params, h_tm1, x_t: step(params, h_tm1, (x_t, None))


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
