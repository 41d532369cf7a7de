"""Tasks, files, adapters, remedies and sequences."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import adapters, cells, tasks
from validation.malformed.judge import Call
from validation.malformed.kinds import Choice, Count, Fixed, Function, Key, Number, Opaque, Real, refused

__all__ = ["calls"]

_SIZES = {"length": Count(12, 3), "batch_size": Count(2, 1)}


def _drawn(make):
    """What a task draws from one key."""

    def sampled(key=None, **options):
        task = make(**options)
        batch = task.sample(jax.random.key(0) if key is None else key)
        return jax.tree.map(lambda leaf: leaf, (batch.xs, batch.targets))

    return sampled


def _tasks():
    made = {
        "adding": _SIZES | {"length": Count(12, 2)},
        "copying": {
            "items": Count(2, 1),
            "symbols": Count(3, 2),
            "length": Count(12, 5),
            "batch_size": Count(2, 1),
        },
        "sequential_parity": _SIZES | {"targets": Choice("every", ("end", "every")), "length": Count(12, 1)},
        "delayed_copy": {
            "delay": Count(2, 0),
            "symbols": Count(3, 2),
            "length": Count(12, 3),
            "batch_size": Count(2, 1),
        },
        "temporal_order": {"length": Count(40, 1), "batch_size": Count(2, 1)},
        "linear_process": {"length": Count(12, 1), "batch_size": Count(2, 1)},
        "flip_flop": _SIZES
        | {"bits": Count(2, 1), "pulses": Number(0.3, lambda x: 0 <= x <= 1), "length": Count(12, 1)},
        "sine_generator": _SIZES
        | {
            "frequencies": Count(3, 1),
            "lowest": Number(0.05, lambda x: 0 < x <= 0.2),
            "highest": Number(0.2, lambda x: 0.05 <= x <= 0.5),
            "length": Count(12, 1),
        },
        "influence_balancing": {"length": Count(12, 1), "batch_size": Count(2, 1)},
    }
    for name, options in made.items():
        call = _drawn(getattr(tasks, name))
        yield Call(f"tasks.{name}", call, options | {"key": Key(optional=True)})
    text = "To be, or not to be: That is the Question. " * 20
    folder = Path(tempfile.mkdtemp())
    (folder / "text.txt").write_text(text, encoding="utf-8")
    (folder / "series.csv").write_text(
        "a,b\n" + "\n".join(f"{i},{i * i}" for i in range(60)), encoding="utf-8"
    )
    real = {
        "text": {"path": Fixed(folder / "text.txt"), "alphabet": Choice("all", ("all", "letters"))},
        "series": {"path": Fixed(folder / "series.csv"), "column": Choice("a", ("a", "b"))},
        "case_restoration": {"characters": Fixed(text)},
    }
    for name, options in real.items():
        sizes = {"length": Count(8, 1, 500), "batch_size": Count(2, 1)}
        yield Call(f"tasks.{name}", _drawn(getattr(tasks, name)), options | sizes)
    digits = {"by": Choice("row", ("pixel", "row")), "batch_size": Count(2, 1)}
    yield Call("tasks.digits", _drawn(tasks.digits), {name: refused(kind) for name, kind in digits.items()})
    dates = {"locales": Opaque(("en",), (), ("en", "en"), ("xx",), (3,)), "batch_size": Count(2, 1)}
    dates |= {"years": Opaque((2000, 2001), (2001, 2000), (2000,), (1, 2), ("a", "b"), (2000.5, 2001))}
    yield Call("tasks.dates", _drawn(tasks.dates), {name: refused(kind) for name, kind in dates.items()})
    names = {"locales": Opaque(("de_DE", "fr_FR"), ("de_DE",), ("x", "y"), (1, 2)), "length": Count(8, 1)}
    yield Call(
        "tasks.surnames", _drawn(tasks.surnames), {name: refused(kind) for name, kind in names.items()}
    )
    words = [f"state{a}{b}" for a in "abcdefgh" for b in "abcdefgh"]
    hyphens = {"words": Opaque(words, ["a1"] * 30, [1, 2], 3, optional=True), "length": Count(8, 1)}
    hyphens |= {"language": Choice("en_US", ("en_US", "en_GB", "de_DE"))}
    yield Call(
        "tasks.hyphenation",
        _drawn(tasks.hyphenation),
        {name: refused(kind) for name, kind in hyphens.items()},
    )


def _files():
    path = Path(tempfile.mkdtemp()) / "result.npz"
    jaxrnn.save(path, {"a": np.ones(2)})
    foreign = path.with_name("foreign.npz")
    np.savez(foreign, a=np.ones(2))
    text = path.with_name("text.npz")
    text.write_text("no archive", encoding="utf-8")
    missing = path.with_name("missing.npz")
    paths = Opaque(path, foreign, text, missing, path.parent, but=("a string", "an empty string"))
    yield Call("load", lambda path: jaxrnn.load(path)["a"], {"path": paths}, eager=True)
    trees = ({1: np.ones(2)}, {"a": {1, 2}}, [object()], {"a": jnp.ones(2, jnp.bfloat16)}, len, (b"x",),
             np.array([object()]))  # fmt: skip
    results = Opaque({"a": np.ones(2)}, *trees, scalars=True, but=_SAVED, optional=True)

    def saved(path, result):
        jaxrnn.save(path, result)
        return jaxrnn.load(path)["a"]

    results.bad = results.bad.filter(lambda bad: bad.label not in ("of another type", "an array"))
    written = {"path": Opaque(path, but=("a string", "an empty string")), "result": results}
    written["path"].bad = written["path"].bad.filter(lambda bad: not isinstance(bad.value, str))
    yield Call("save", saved, written, eager=True)


_SAVED = ("a string", "an empty string", "a dict", "an empty dict", "an empty list", "a ragged list",
          "a list of strings", "an array of strings", "a huge integer", "None")  # fmt: skip


def _adapters():
    step = lambda params, h, x: params * h + x  # noqa: E731
    started = lambda **o: adapters.from_step(**o).step(2.0, jnp.ones(2), jnp.ones(2))[0]  # noqa: E731
    plain = {"step": Function(step), "init_state": Fixed(jnp.ones(2)), "has_output": Fixed(False)}
    yield Call("adapters.from_step", started, plain)
    rng = np.random.default_rng(6)
    weights = {"weight_ih_l0": rng.normal(size=(3, 2)), "weight_hh_l0": rng.normal(size=(3, 3))}
    weights |= {"bias_ih_l0": rng.normal(size=3), "bias_hh_l0": rng.normal(size=3)}
    wrong = [
        weights | {name: value} for name in weights for value in (np.ones(()), np.ones((2, 2, 2)), "a", None)
    ]
    wrong += [{name: leaf for name, leaf in weights.items() if name != out} for out in list(weights)[:2]]
    torch = {"weights": Opaque(weights, *wrong), "activation": Choice("tanh", cells.activations.NAMES)}
    torch |= {"prefix": Choice("", ("",)), "readout": Choice(None, ())}
    read = lambda **o: adapters.from_torch(**o).init(jax.random.key(0))  # noqa: E731
    yield Call("adapters.from_torch", read, {name: refused(kind) for name, kind in torch.items()})
    linen = {"module": Opaque(SimpleNamespace(init=len, apply=len), but=()), "input_size": Count(3, 1)}
    linen = {name: refused(kind) for name, kind in linen.items()}
    yield Call("adapters.flax_linen", adapters.flax_linen, linen)
    yield Call("adapters.haiku", adapters.haiku, {"make": Function(len), "input_size": refused(Count(3, 1))})
    for name in ("equinox", "flax_nnx", "keras"):
        argument = "layer" if name == "keras" else "module"
        yield Call(
            f"adapters.{name}",
            getattr(adapters, name),
            {argument: refused(Opaque(None, but=("a class", "a function")))},
        )


def _remedies():
    from jaxrnn import remedies

    task = tasks.adding(length=8, batch_size=2)
    options = {"task": Opaque(task), "remedies": Opaque(["lstm"], ["nothing"], [3], 3, optional=True)}
    options |= {
        "hidden_size": Count(4, 1),
        "steps": Count(1, 1),
        "seeds": Count(1, 1),
        "key": Key(optional=True),
    }
    options |= {"learning_rate": Number(1e-3), "solved_below": Number(0.1, optional=True)}
    yield Call(
        "remedies.bench", remedies.bench, {name: refused(kind) for name, kind in options.items()}, eager=True
    )
    known = tuple(remedies.REMEDIES)
    yield Call(
        "remedies.remedy", lambda name: remedies.remedy(name).name and 0.0, {"name": Choice(known[0], known)}
    )


def _sequences():
    # Keys are inputs too, which may be turned round.
    xs = Real(np.ones((4, 2)), fits=lambda shape: len(shape) == 2)
    nothing = ("keys", "None", "an empty dict", "an empty list")
    xs.bad = xs.bad.filter(
        lambda bad: (
            bad.label not in nothing and not any(word in bad.label for word in ("complex", "shape", "arrays"))
        )
    )
    yield Call("cells.both_ways", cells.both_ways, {"xs": xs, "axis": Count(0, -2, 1)})
    ys = Real(np.ones((4, 6)), fits=lambda shape: len(shape) == 2 and shape[1] >= 3)
    ys.bad = ys.bad.filter(lambda bad: bad.label not in nothing and "complex" not in bad.label)
    yield Call("cells.aligned", cells.aligned, {"ys": ys, "split": Count(3, 0, 6)})


def calls():
    """Every call of this room."""
    for room in (_tasks, _files, _adapters, _remedies, _sequences):
        yield from room()
