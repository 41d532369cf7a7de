"""The linear recurrent unit: a complex diagonal recurrence between two dense maps."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxrnn import _checks
from jaxrnn.cells.initializers import default_dtype
from jaxrnn.types import Cell

__all__ = ["lru"]


@_checks.signature("lru")
def lru(
    input_size: int,
    hidden_size: int,
    *,
    output_size: int | None = None,
    r_min: float = 0.0,
    r_max: float = 1.0,
    max_phase: float = 2 * math.pi,
    learned_h_0: bool = False,
) -> Cell:
    """The LRU ``h_t = λ⊙h_{t-1} + sqrt(1-|λ|²)⊙(B x_t)``, ``y_t = Re(C h_t) + D x_t``; λ, B, C, h complex.

    ``λ = exp(-exp(ν) + i exp(θ))`` lies within the unit circle, whatever ν and θ are. The state holds each
    complex unit as the pair (Re, Im), so ``J_t`` is block-diagonal, the same at every step, and unit a's
    block is a rotation by exp(θ_a), scaled by |λ_a|: singular values |λ_a|, each twice.

    The factor sqrt(1-|λ|²), which gives h_t the variance of B x_t for white x, follows λ in training; in the
    paper it is where a free parameter starts.

    Parameters
    ----------
    input_size, hidden_size : d and H, the number of complex units.
    output_size : m, the size of y_t; H by default.
    r_min, r_max : |λ| at the start, uniform on the ring between them; 0 <= r_min < r_max <= 1.
    max_phase : phases at the start are uniform in (0, max_phase); at most 2π.
    learned_h_0 : whether ``params["h_0"]`` [H, 2] is a parameter; otherwise h_0 = 0.

    Returns
    -------
    Cell
        params ``{"nu": [H], "theta": [H], "B_re", "B_im": [H, d], "C_re", "C_im": [m, H], "D": [m, d]}``,
        all real; state [H, 2].

    Raises
    ------
    ValueError
        If r_min, r_max or max_phase is out of its range, or a size below 1.

    Example
    -------
    >>> cell = lru(3, 4, r_min=0.9, r_max=0.99)
    >>> params = cell.init(jax.random.key(0))
    >>> h_1, y_1 = cell.step(params, cell.init_state(params), jnp.ones(3))
    >>> h_1.shape, y_1.shape
    ((4, 2), (4,))

    Reference
    ---------
    Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De, Resurrecting recurrent neural networks for long
    sequences, 2023.
    """
    d = _checks.at_least("lru", "input_size", input_size, 1)
    H = _checks.at_least("lru", "hidden_size", hidden_size, 1)
    m = H if output_size is None else _checks.at_least("lru", "output_size", output_size, 1)
    if not 0 <= r_min < r_max <= 1:
        raise ValueError(
            f"lru: r_min is {r_min} and r_max is {r_max}; expected radii with 0 <= r_min < r_max <= 1."
        )
    if not 0 < max_phase <= 2 * math.pi:
        raise ValueError(f"lru: max_phase is {max_phase}; expected 0 < max_phase <= 2π.")
    shapes: dict[str, tuple[int, ...]] = {"nu": (H,), "theta": (H,), "D": (m, d)}
    shapes |= {"B_re": (H, d), "B_im": (H, d), "C_re": (m, H), "C_im": (m, H)}

    def init(key):
        dtype = default_dtype()
        keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
        radii, phases = (_uniform(keys[name], H, dtype) for name in ("nu", "theta"))
        # For white x of variance 1 the mean of |h|² and of Re(C h)² is 1.
        scale = {"B": 1 / math.sqrt(2 * d), "C": 1 / math.sqrt(H), "D": 1 / math.sqrt(d)}
        params = {
            name: scale[name[0]] * jax.random.normal(keys[name], shape, dtype)
            for name, shape in shapes.items()
            if name[0] in scale
        }
        params["nu"] = jnp.log(-jnp.log(r_min**2 + radii * (r_max**2 - r_min**2)) / 2)
        params["theta"] = jnp.log(max_phase * phases)
        return params | ({"h_0": jnp.zeros((H, 2), dtype)} if learned_h_0 else {})

    def init_state(params):
        return params["h_0"] if learned_h_0 else jnp.zeros((H, 2), params["nu"].dtype)

    def step(params, h_tm1, x_t):
        _checks.parameters("lru", params, shapes)
        _checks.shape("lru", "x_t", x_t, (d,), "xs is [T, d] for one sequence.")
        _checks.shape("lru", "h_tm1", h_tm1, (H, 2), "h_0 is [H, 2], (Re, Im), for one sequence.")
        decay, phase = jnp.exp(params["nu"]), jnp.exp(params["theta"])
        # expm1 keeps the digits of 1 - |λ|² near |λ| = 1.
        norm = jnp.sqrt(-jnp.expm1(-2 * decay))
        re, im = jnp.exp(-decay) * jnp.cos(phase), jnp.exp(-decay) * jnp.sin(phase)
        h_re, h_im = h_tm1[:, 0], h_tm1[:, 1]
        h_re, h_im = (
            re * h_re - im * h_im + norm * (params["B_re"] @ x_t),
            im * h_re + re * h_im + norm * (params["B_im"] @ x_t),
        )
        y_t = params["C_re"] @ h_re - params["C_im"] @ h_im + params["D"] @ x_t
        return jnp.stack([h_re, h_im], axis=1), y_t

    return Cell(init, init_state, step)


def _uniform(key, size, dtype):
    """Above 0 and below 1, where the logarithms of radius and phase are finite."""
    return jax.random.uniform(key, (size,), dtype, minval=jnp.finfo(dtype).eps)
