"""Plain functions as cells."""

from __future__ import annotations

from collections.abc import Callable

from jaxrnn.types import Cell, Key, Params, State, StepFn

__all__ = ["from_step"]


def from_step(
    step: StepFn | Callable[..., State],
    init_state: State | Callable[[Params], State],
    *,
    init: Params | Callable[[Key], Params] = (),
    has_output: bool = True,
) -> Cell:
    """A function of your own as a `Cell`, for what asks for one, such as `compare` or `cells.stack`.

    Parameters
    ----------
    step : ``(params, h_tm1, x_t) -> (h_t, y_t)`` for one sequence.
    init_state : h_0 of one sequence, or a function of params.
    init : the parameters, or a function of a key that makes them.
    has_output : False if step gives h_t alone; y_t is then h_t.

    Example
    -------
    >>> import jax, jax.numpy as jnp
    >>> cell = from_step(
    ...     lambda W, h, x: jnp.tanh(W @ h + x), jnp.zeros(2), init=jnp.eye(2), has_output=False
    ... )
    >>> cell.step(cell.init(jax.random.key(0)), cell.init_state(()), jnp.zeros(2))[1]
    Array([0., 0.], dtype=float32)
    """
    if not callable(step):
        raise TypeError(f"adapters.from_step: step is a {type(step).__name__}; expected a function.")

    def with_output(params, h_tm1, x_t):
        h_t = step(params, h_tm1, x_t)
        return h_t, h_t

    return Cell(
        init if callable(init) else lambda _: init,
        init_state if callable(init_state) else lambda _: init_state,
        step if has_output else with_output,
    )
