"""What an argument may be, as a valid value with a strategy of malformed ones.

A malformed value says what a right answer is: "refuse", only a message will do; "same", a message, or what
the canonical value gives; "flag", numbers that are not finite, which no result may pass on in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

__all__ = [
    "Bad",
    "Choice",
    "Count",
    "Fixed",
    "Function",
    "Key",
    "Kind",
    "Number",
    "Opaque",
    "Real",
    "Traced",
    "junk",
    "materialised",
    "refused",
]


class Traced(NamedTuple):
    """A number that only the compiled program knows."""

    value: Any


class Bad(NamedTuple):
    """A malformed value: what it is called, what may be answered, and the value that means the same."""

    label: str
    verdict: str
    value: Any
    canonical: Any = None
    dtype: Any = np.float64
    """The coarsest dtype on the way, which sets the tolerance."""


class Kind:
    """A valid value, and `bad`, a strategy of malformed ones."""

    value: Any
    bad: st.SearchStrategy[Bad]


def materialised(tree):
    """The value with its `Traced` numbers as tracers; to be called while tracing."""
    is_traced = lambda leaf: isinstance(leaf, Traced)  # noqa: E731
    if isinstance(tree, Traced):
        return jax.lax.optimization_barrier(jnp.asarray(tree.value))
    if isinstance(tree, list | tuple) and any(map(is_traced, tree)):
        return [materialised(leaf) for leaf in tree]
    return tree


_OBJECTS = {
    "a string": "abc",
    "an empty string": "",
    "bytes": b"abc",
    "an object": object(),
    "a function": len,
    "a class": dict,
    "a set": {1, 2},
    "a dict": {"a": 1.0},
    "an empty dict": {},
    "an empty list": [],
    "a ragged list": [[1.0], [1.0, 2.0]],
    "a list of strings": ["a", "b"],
    "an array of strings": np.array(["a", "b"]),
    "an array of objects": np.array([object(), None]),
    "a date": np.datetime64("2024-01-01"),
    "a module": np,
    "a generator": (i for i in ()),
    "not implemented": NotImplemented,
    "a huge integer": 10**40,
}


def junk(*, but=(), none=True):
    """Objects that are no argument of any function here."""
    names = [name for name in _OBJECTS if name not in but] + (["None"] if none else [])
    return st.sampled_from(names).map(lambda name: Bad(name, "refuse", _OBJECTS.get(name)))


# NumPy makes them: JAX would compile a program for every shape.
def _ones(shape, dtype=np.float64):
    return jnp.asarray(np.ones(shape, dtype))


_KEYS = [jax.random.split(jax.random.key(1), shape) for shape in ((0,), (1,), (2,), (4,), (1, 1), (2, 3))]
_SIZES = st.lists(st.integers(0, 5), max_size=4).map(tuple)
_REFUSED = ("complex64", "complex128")
_READ = ("int8", "int32", "int64", "uint8", "bool", "float16", "bfloat16", "float32")


class Real(Kind):
    """A floating array; `fits(shape)` says which other shapes are right too."""

    def __init__(
        self,
        value,
        *,
        fits: Callable[[tuple], bool] = lambda _: False,
        optional=False,
        nan=True,
        integers=True,
    ):
        self.value = jnp.asarray(value)
        shape = self.value.shape
        wrong = _shapes(shape).filter(lambda found: found != shape and not fits(found))
        parts = [
            wrong.map(self._of_shape),
            junk(none=not optional, but=_lists(fits)),
            self._dtypes(integers),
        ]
        parts += [self._containers()] + ([self._not_finite()] if nan and self.value.size else [])
        self.bad = st.one_of(*parts)

    def _of_shape(self, shape):
        made = jnp.asarray(np.resize(np.asarray(self.value), shape))
        return Bad(f"shape {shape}", "refuse", made)

    def _dtypes(self, integers):
        def of(name):
            if name == "keys":
                return Bad("keys", "refuse", keys)
            read = np.asarray(self.value).astype(jnp.dtype(name))
            if name.startswith("complex"):
                return Bad(name, "refuse", jnp.asarray(read))
            canonical = jnp.asarray(read.astype(self.value.dtype))
            return Bad(name, "same", jnp.asarray(read), canonical, jnp.dtype(name))

        keys = jax.random.split(jax.random.key(0), self.value.shape)
        read = [name for name in _READ if integers or "float" in name]
        return st.sampled_from(["keys", *_REFUSED, *read]).map(of)

    def _containers(self):
        made = {
            "NumPy": np.asarray(self.value),
            "a list": np.asarray(self.value).tolist(),
            "a transposed view": np.asarray(self.value).T.copy().T,
            "other byte order": np.asarray(self.value).astype(">f8"),
            "long double": np.asarray(self.value, np.longdouble),
        }
        if self.value.ndim > 1:
            made["a list of arrays"] = list(self.value)
            made["a tuple of arrays"] = tuple(self.value)
        return st.sampled_from(sorted(made)).map(lambda name: Bad(name, "same", made[name], self.value))

    def _not_finite(self):
        def of(drawn):
            name, place = drawn
            flat = np.array(self.value).ravel()
            flat[place] = float(name)
            return Bad(f"{name} at {place}", "flag", jnp.asarray(flat.reshape(self.value.shape)), self.value)

        return st.tuples(st.sampled_from(["nan"]), st.sampled_from([0, self.value.size - 1])).map(of)


def _lists(fits):
    return ("an empty list",) if fits((0,)) else ()


def _shapes(shape):
    """Any shapes, and more often those that are nearly right."""
    near = [(*shape, 1), (1, *shape), (*shape, 0), (2, *shape), shape[:-1], shape[1:], shape[::-1], ()]
    near += [
        (*shape[:i], size, *shape[i + 1 :]) for i, s in enumerate(shape) for size in (0, 1, s + 1, s - 1)
    ]
    return st.one_of(st.sampled_from([found for found in near if min(found, default=0) >= 0]), _SIZES)


class Count(Kind):
    """A Python integer low <= value <= high."""

    def __init__(self, value, low=None, high=None, *, optional=False):
        self.value = value
        off = [st.integers(max_value=low - 1)] if low is not None else []
        off += [st.integers(min_value=high + 1)] if high is not None else []
        objects = junk(none=not optional, but=() if high is not None else ("a huge integer",))
        others = {
            "a float": float(value),
            "a fraction": value + 0.5,
            "NaN": float("nan"),
            "infinite": float("inf"),
            "complex": complex(value),
            "a string of digits": str(value),
            "a list of it": [value],
            "a NumPy float": np.float64(value),
            "an array [1]": jnp.array([value]),
            "a float array": jnp.array(float(value)),
            "a traced integer": Traced(value),
            "a key": jax.random.key(0),
        }
        same = {"np.int64": np.int64(value), "an array": jnp.array(value), "np.uint8": np.uint8(value)}
        parts = [st.sampled_from(sorted(others)).map(lambda name: Bad(name, "refuse", others[name])), objects]
        parts += [st.sampled_from(sorted(same)).map(lambda name: Bad(name, "same", same[name], value))]
        parts += (
            [st.one_of(*off).map(lambda number: Bad("out of range", "refuse", number))] * 2 if off else []
        )
        self.bad = st.one_of(*parts)


class Number(Kind):
    """A real number for which `fits(number)` holds."""

    def __init__(self, value, fits: Callable[[float], bool] = lambda _: True, *, optional=False):
        self.value = value
        floats = st.floats().filter(lambda number: number != number or not fits(number))
        others = {
            "complex": complex(value),
            "a string of digits": str(value),
            "a list of it": [value],
            "an array [1]": jnp.array([value]),
            "traced": Traced(value),
            "a key": jax.random.key(0),
        }
        same = {"np.float64": np.float64(value), "an array": jnp.array(float(value))}
        parts = [st.sampled_from(sorted(others)).map(lambda name: Bad(name, "refuse", others[name]))]
        parts += [junk(none=not optional, but=("a huge integer",))]
        parts += [st.sampled_from(sorted(same)).map(lambda name: Bad(name, "same", same[name], value))]
        strict = not all(map(fits, (-1e300, -1.0, 0.0, 0.5, 1.0, 1e300)))
        bad = floats if strict else st.just(float("nan"))
        self.bad = st.one_of(*parts, bad.map(lambda number: Bad("out of range", "refuse", number)))


class Choice(Kind):
    """One of some strings."""

    def __init__(self, value, allowed, *, optional=False):
        self.value = value
        text = st.text(max_size=8).filter(lambda text: text not in allowed)
        near = st.sampled_from([change(name) for name in (allowed or ("",)) for change in _NEAR]).filter(
            lambda text: text not in allowed
        )
        words = st.one_of(near if allowed else text, text).map(
            lambda text: Bad("another string", "refuse", text)
        )
        numbers = st.one_of(st.integers(), st.floats(), st.booleans()).map(
            lambda number: Bad("a number", "refuse", number)
        )
        arrays = _SIZES.map(lambda shape: Bad("an array", "refuse", _ones(shape)))
        objects = junk(none=not optional, but=("a string", "an empty string"))
        self.bad = st.one_of(words, words, numbers, arrays, objects)


_NEAR = (str.upper, str.title, lambda name: name + " ", lambda name: name[:-1], lambda name: f"_{name}")


class Key(Kind):
    """A random key; old-style keys of uint32 mean the same."""

    def __init__(self, seed=0, *, optional=False):
        self.value = jax.random.key(seed)
        raw = jax.random.key_data(self.value)
        old = {"old style": raw, "old style in NumPy": np.asarray(raw)}
        same = st.sampled_from(sorted(old)).map(lambda name: Bad(name, "same", old[name], self.value))
        batches = st.sampled_from(_KEYS).map(lambda keys: Bad("a batch of keys", "refuse", keys))
        others = st.one_of(
            st.integers().map(lambda seed: Bad("a seed", "refuse", seed)),
            st.floats().map(lambda number: Bad("a float", "refuse", number)),
            _SIZES.filter(lambda shape: shape != (2,)).map(
                lambda shape: Bad("uint32", "refuse", _ones(shape, np.uint32))
            ),
            _SIZES.map(lambda shape: Bad("floats", "refuse", _ones(shape))),
            st.just(Bad("a list of a key", "refuse", [self.value])),
            junk(none=not optional),
        )
        self.bad = st.one_of(others, others, batches, same)


class Function(Kind):
    """A function."""

    def __init__(self, value, *, optional=False):
        self.value = value
        numbers = st.one_of(st.integers(), st.floats(), st.text(max_size=5))
        arrays = _SIZES.map(lambda shape: Bad("an array", "refuse", _ones(shape)))
        objects = junk(none=not optional, but=("a function", "a class"))
        self.bad = st.one_of(numbers.map(lambda x: Bad("no function", "refuse", x)), arrays, objects)


class Opaque(Kind):
    """An object of one type, such as a Cell; `more` are other ways to get it wrong."""

    def __init__(self, value, *more, optional=False, but=(), scalars=False):
        self.value = value
        others = (
            st.text(max_size=5) if scalars else st.one_of(st.integers(), st.floats(), st.text(max_size=5))
        )
        arrays = _SIZES.filter(lambda shape: shape or not scalars).map(
            lambda shape: Bad("an array", "refuse", _ones(shape))
        )
        parts = [others.map(lambda x: Bad("of another type", "refuse", x)), arrays]
        parts += [junk(none=not optional, but=but)]
        if hasattr(value, "_fields"):
            parts += [st.sampled_from([tuple(value), list(value)]).map(lambda x: Bad("a tuple", "refuse", x))]
        parts += [st.sampled_from(more).map(lambda x: Bad("wrong content", "refuse", x))] if more else []
        self.bad = st.one_of(*parts)


class Fixed(Kind):
    """An argument that is not malformed."""

    def __init__(self, value):
        self.value = value
        self.bad = st.nothing()


def refused(kind):
    """Without what may be answered by a result, which takes a compilation each."""
    if not isinstance(kind, Fixed):
        kind.bad = kind.bad.filter(lambda bad: bad.verdict == "refuse")
    return kind
