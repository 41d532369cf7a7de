"""Pictures: every plot closes what it drew, and is given results of other kinds, rows and numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import jacobians, plots
from jaxrnn.diagnosis import Comparison
from jaxrnn.dynamics import Stability, stability
from jaxrnn.remedies import Bench
from validation.malformed.judge import Call
from validation.malformed.kinds import Count, Fixed, Opaque, Real, refused

__all__ = ["calls"]


def _drawn(plot):
    def call(**options):
        import matplotlib.pyplot as plt

        try:
            plot(**options)
        finally:
            plt.close("all")
        return 0.0

    return call


def _call(name, **kinds):
    """One that is only given what it must refuse."""
    kinds = {argument: refused(kind) for argument, kind in kinds.items()}
    return Call(f"plots.{name}", _drawn(getattr(plots, name)), kinds, eager=True)


def _empty(kind):
    """A result of that type, which no plot here gets to see."""
    return kind(*[None] * len(kind._fields))


def _same_states(shape):
    """Whether these are two states of three entries, in whatever form."""
    return shape[:1] == (2,) and np.prod(shape) == 6


def _of_results():
    js = jnp.asarray(0.5 * np.random.default_rng(0).normal(size=(4, 3, 3)))
    table = jax.jit(jacobians.norms)(js)
    yield _call("plot_norms", result=Opaque(table))
    yield _call("plot_growth_rates", rates=Opaque(jax.jit(jacobians.growth_rates)(js)))
    yield _call("plot_eigenvalues", found=Opaque(jax.jit(jacobians.eigenvalues)(js)))
    points = np.zeros((2, 3))
    modes = jax.jit(lambda h: stability(lambda _, h, x: (0.5 * h, x), (), None, h))(points)
    yield _call("plot_fixed_points", points=Real(points, nan=False, fits=_same_states), modes=Fixed(modes))
    yield _call("plot_fixed_points", points=Fixed(points), modes=Opaque(_empty(Stability)))
    yield _call("plot_norm_by_lag", result=Opaque(jax.jit(jacobians.norm_by_lag)(table)))
    spectrum = jax.jit(jacobians.spectrum)(js)
    yield _call("plot_spectrum_fan", lags=Fixed(np.array([1])), result=Opaque(spectrum))
    blocks = {"h": {"h": table}}
    wrong = ({"h": table}, {"h": {"h": 3}}, {"h": "a"}, {1: {2: None}})
    for name in ("plot_block_norms", "plot_depth_time"):
        yield _call(name, blocks=Opaque(blocks, *wrong))
    for name in ("plot_remedies", "plot_remedy_reach", "plot_remedy_training"):
        yield _call(name, bench=Opaque(_empty(Bench)))
    yield _call("plot_loss_curves", result=Opaque(_empty(Comparison)))
    yield _call("plot_saturation", saturation=Opaque({}, {"h": 3}, {"h": None}, but=("an empty dict",)))


def _of_numbers():
    def row():
        return Real(np.ones(5), fits=lambda shape: len(shape) == 1, nan=False)

    horizon = {"horizon": Count(2, 0, optional=True), "windows": Opaque((), ["a"], [1.5], 3, but=_NOTHING)}
    yield _call("plot_gradient_by_lag", lag_profile=row(), **horizon)
    yield _call("plot_window_error", window_error=row())
    fidelities = {"windows": Opaque([1], ["a"], [1.5], [1, 2], 3), "fidelities": Opaque([None], [3], ["a"])}
    yield _call("plot_fidelity", **fidelities)
    cuts = Opaque([2], [9], [0], [3, 2], but=_NOTHING)
    yield _call("plot_strategies", text=Fixed("network"), window=Count(2, 1), cuts=cuts)
    cost = {
        "costs": Opaque([1.0], [-1.0], [np.nan], [1.0, 2.0], ["a"]),
        "errors": Opaque([0.1], [-1.0], ["b"]),
    }
    for kind in cost.values():  # one number in any form is right
        kind.bad = kind.bad.filter(lambda bad: getattr(bad.value, "shape", ()) != (1,))
    yield _call("plot_cost", labels=Fixed(["a"]), **cost)


_NOTHING = ("an empty list", "a set")


def calls():
    """Every call of this room."""
    yield from _of_results()
    yield from _of_numbers()
