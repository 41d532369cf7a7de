"""What `test_sharding` runs on 4 virtual devices: ``python sharded_program.py float64`` prints JSON.

The second argument is a JSON list of [kind of mesh, case]. For each: how far the result is from that on one
device, relative to its largest entry, and the collectives of the compiled program.
"""

import json
import sys
from contextlib import nullcontext
from functools import partial

import faster
import jax
import jax.numpy as jnp
import numpy as np
from collectives import collectives
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn as jr

G, J, squared_error = jr.gradients, jr.jacobians, jr.losses.squared_error
B, T, D = 8, 12, 4
CELL = jr.cells.stack(jr.cells.elman(3, 4), jr.cells.dense(4, 2))
NORMED = jr.cells.stack(jr.cells.elman(3, 4, normalization=jr.cells.batch_norm()), jr.cells.dense(4, 2))


def setting(dtype, cell=CELL):
    """(params, h_0 [B, ...], Batch), with steps of weight 0."""
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), cell.init(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(1), 2)
    xs, targets = (jax.random.normal(k, (B, T, d), dtype) for k, d in zip(keys, (3, 2), strict=True))
    weights = jnp.full((B, T), 1 / T, dtype).at[:3, -2:].set(0)
    return params, cell.initial_states(params, B), jr.Batch(xs, targets, weights)


def estimate(constructor, cell=CELL, **options):
    estimator = constructor(cell.step, squared_error, **options)

    def run(params, h_0, batch, key):
        return estimator.estimate(params, estimator.init(params, h_0), batch, key)

    return run


def chains(params, h_0, xs):
    """js [B, T, n, n]."""

    def of_sequence(h_0, xs):
        trajectory = jr.unroll(CELL.step, params, h_0, xs)
        return J.step_jacobians(CELL.step, params, trajectory)

    return jax.vmap(of_sequence)(h_0, xs)


def of_chains(measure):
    return lambda params, h_0, xs: jax.vmap(measure)(chains(params, h_0, xs))


def leading(params, _, xs):
    """Of states that are not placed anywhere."""
    h_0 = CELL.init_state(params)

    def of_sequence(xs):
        trajectory = jr.unroll(CELL.step, params, h_0, xs)
        return J.leading_growth_rates(CELL.step, params, trajectory, k=2)

    return jax.vmap(of_sequence)(xs)


def fidelity(params, h_0, batch, key):
    found = G.fidelity(G.chunked(CELL.step, squared_error, window=3), G.full(CELL.step, squared_error),
                       params, batch, key, h_0=h_0)  # fmt: skip
    return found.bias, found.cosine, found.norm_ratio


def over_keys(params, h_0, batch, keys):
    """Probe vectors: one a key."""
    run = estimate(G.forward)
    grads = jax.vmap(lambda key: run(params, h_0, batch, key)[0].grads)(keys)
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), grads)


def over_seeds(params, h_0, batch, keys):
    return jax.vmap(estimate(G.uoro), in_axes=(0, None, None, 0))(params, h_0, batch, keys)


def cases(dtype):
    """name -> (function, arguments, how they are sharded)."""
    params, h_0, batch = setting(dtype)
    key = jax.random.key(2)
    of_batch = (params, h_0, batch, key), (P(), P("d"), P("d"), P())
    estimators = {
        "full": estimate(G.full),
        "full from init_state": estimate(G.full, init_state=CELL.init_state),
        "chunked": estimate(G.chunked, window=5),
        "sliding": estimate(G.sliding, window=3),
        "randomized": estimate(G.randomized, keep=0.7),
        "rtrl": estimate(G.rtrl),
        "uoro": estimate(G.uoro),
        "forward": estimate(G.forward, directions=3),
        "adaptive": estimate(G.adaptive, tolerance=0.2, max_window=3),
        "loss": lambda *args: G.loss(CELL.step, squared_error, *args[:3]),
        "fidelity": fidelity,
    }
    analyses = {
        "step_jacobians": chains,
        "norms": of_chains(J.norms),
        "norms at": of_chains(lambda js: J.norms(js, at=[T], lags=[1, 5])),
        # Its error is a spread of a few roundings, which has no digits of its own.
        "spectrum": of_chains(lambda js: J.spectrum(js).log_sigma),
        "growth_rates": of_chains(J.growth_rates),
        "leading_growth_rates": leading,
    }
    js = 0.7 * jax.random.normal(key, (T, 5, 5), dtype)
    split = jax.random.split(key, D)
    seeds = jax.tree.map(
        lambda leaf: leaf * jnp.linspace(0.5, 1, D, dtype=dtype).reshape(-1, *[1] * leaf.ndim), params
    )
    normed = setting(dtype, NORMED)
    by_step = (params, h_0, batch), (P(), P(), P(None, "d"))
    return {
        **{name: (run, *of_batch) for name, run in estimators.items()},
        **{name: (run, (params, h_0, batch.xs), (P(), P("d"), P("d"))) for name, run in analyses.items()},
        "batch_norm": (estimate(G.full, NORMED), (*normed, key), of_batch[1]),
        "probe vectors": (over_keys, (params, h_0, batch, split), (P(), P(), P(), P("d"))),
        "seeds": (over_seeds, (seeds, h_0, batch, split), (P("d"), P(), P(), P("d"))),
        "norms over t": (J.norms, (js,), (P("d"),)),
        "spectra over t": (J.spectra, (js,), (P("d"),)),
        "decompose over t": (partial(G.decompose, CELL.step, squared_error), *by_step),
        "lag_profile over t": (partial(G.lag_profile, CELL.step, squared_error), *by_step),
    }  # fmt: skip


def relative(found, expected):
    """The largest difference of a leaf, relative to its largest finite entry; inf where infinities differ."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        a, b = (np.asarray(x, np.float64) for x in (a, b))
        finite = np.isfinite(b)
        if not np.array_equal(a[~finite], b[~finite]):
            return float("inf")
        if finite.any():
            size = max(np.abs(b[finite]).max(), 1e-30)
            worst = max(worst, float(np.abs(a[finite] - b[finite]).max() / size))
    return worst


def main(dtype, wanted):
    jax.config.update("jax_enable_x64", dtype == "float64")
    assert jax.device_count() == D
    results = {}
    for kind, name in wanted:
        fn, args, specs = cases(dtype)[name]
        axis_type = AxisType.Explicit if kind in ("explicit", "in context") else AxisType.Auto
        mesh = jax.make_mesh((D,), ("d",), (axis_type,))
        expected = jax.jit(fn)(*args)
        placed = [
            jax.device_put(arg, NamedSharding(mesh, spec)) for arg, spec in zip(args, specs, strict=True)
        ]
        if kind == "made explicit":
            fn = jax.sharding.explicit_axes(fn, in_sharding=specs)
        with jax.set_mesh(mesh) if kind in ("in context", "made explicit") else nullcontext():
            program = jax.jit(fn).lower(*placed).compile()
            found = program(*placed)
        results[f"{kind}: {name}"] = relative(found, expected), collectives(program.as_text())
    print(json.dumps(results))


if __name__ == "__main__":
    faster.pytest_configure()
    main(sys.argv[1], json.loads(sys.argv[2]))
