"""Real-time recurrent learning: dh_t/dw as it is, E9."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.gradients.online import Rule, online
from jaxrnn.gradients.start import InitState
from jaxrnn.types import Estimator, StepFn, StepLoss

__all__ = ["rtrl"]


@_checks.signature("gradients.rtrl")
def rtrl(step: StepFn, step_loss: StepLoss, *, init_state: InitState | None = None) -> Estimator:
    """Real-time recurrent learning: the exact gradient, forward in time (E9).

    ``a_t = b_t + c_t a_{t-1}`` is dh_t/dw, with b_t = ∂⁺h_t/∂w and c_t = ∂h_t/∂h_{t-1}. Each loss adds
    ``∂ℓ_{t+1}/∂h_t · a_t`` when it comes; nothing is stored for a way back.

    Parameters
    ----------
    step, step_loss : of one sequence and one step.
    init_state : where sequences start, as for `full`.

    Returns
    -------
    Estimator
        A stream's carry is an `OnlineCarry`, the states and a_t. No border between batches cuts the
        gradient: with fixed parameters the gradients of all batches add up to that of the whole stream.
        Where parameters change meanwhile, a_t is that of the older ones.

    Notes
    -----
    Time B·T·n²·P for n entries of the state and P parameters; memory B·n·P, however long the sequence.

    Example
    -------
    >>> from jaxrnn.losses import squared_error
    >>> from jaxrnn.types import Batch
    >>> running_sum = lambda w, h, x: (h + w * x, h + w * x)
    >>> estimator = rtrl(running_sum, squared_error)
    >>> batch = Batch(xs=jnp.ones((1, 2, 1)), targets=jnp.zeros((1, 2, 1)))
    >>> w = jnp.float32(1.0)
    >>> estimate, carry = estimator.estimate(
    ...     w, estimator.init(w, jnp.zeros((1, 1))), batch, jax.random.key(0)
    ... )
    >>> estimate.grads, carry.influence  # h_2 = 2w
    (Array(2.5, dtype=float32), Array([[2.]], dtype=float32))

    Reference
    ---------
    Williams & Zipser, A learning algorithm for continually running fully recurrent neural networks, 1989.
    """
    return online("gradients.rtrl", step, step_loss, _RULE, init_state)


def _zero(params, h):
    dtypes = {str(leaf.dtype) for leaf in (h, *jax.tree.leaves(params))}
    if len(dtypes) > 1:
        raise TypeError(
            f"gradients.rtrl: params and h_0 are of {', '.join(sorted(dtypes))}; expected one dtype."
        )
    return jax.tree.map(lambda leaf: jnp.zeros((len(h), *leaf.shape), leaf.dtype), params)


def _advance(F, params, h, a, noise):
    del noise
    b, c = jax.jacrev(F)(params, h), jax.jacfwd(F, argnums=1)(params, h)
    return jax.tree.map(lambda b, a: b + (c @ a.reshape(len(h), -1)).reshape(b.shape), b, a)


def _pull(params, a, from_h):
    del params
    return jax.tree.map(lambda a: jnp.tensordot(from_h, a, axes=1), a)


_RULE = Rule(zero=_zero, draw=lambda *_: (), advance=_advance, pull=_pull)
