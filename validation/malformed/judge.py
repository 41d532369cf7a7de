"""Whether an answer to malformed arguments will do: the library's own message, or the right result."""

from __future__ import annotations

import contextlib
import re
import signal
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.extend
import numpy as np
from hypothesis import strategies as st

import jaxrnn
from validation.malformed.kinds import Bad, Fixed, Kind, materialised

__all__ = ["Answer", "Call", "answer", "bad_calls"]

LIBRARY = Path(jaxrnn.__file__).parent
PUBLIC = {
    "Cell",
    *re.findall(
        r"jaxrnn\.(?:\w+\.)*(\w+)\n", (LIBRARY.parent / "docs" / "api.md").read_text(encoding="utf-8")
    ),
}
_SECONDS = 30


_MOST = 6
_compared: Counter = Counter()
"""How many programs of a call were run for their numbers, a compilation each; further ones do not count."""


class _Unjudged(Exception):
    """A result that is not compared."""


class Call(NamedTuple):
    """A valid call of a public function; `eager` where it reads values, which no tracer has."""

    name: str
    function: Callable[..., Any]
    arguments: dict[str, Kind]
    eager: bool = False

    def given(self, bad: dict[str, Any]) -> Any:
        """The result, with some arguments replaced."""
        valid = {name: kind.value for name, kind in self.arguments.items()}
        return self.function(**{name: materialised(value) for name, value in (valid | bad).items()})


class Answer(NamedTuple):
    """How a call was answered: "message", "result", "failure" and why; "unjudged" does not count."""

    kind: str
    reason: str = ""


def bad_calls(call: Call) -> st.SearchStrategy[dict[str, Bad]]:
    """One malformed argument, or two that cannot make up for each other."""
    names = sorted(name for name, kind in call.arguments.items() if not isinstance(kind, Fixed))
    bad = {name: call.arguments[name].bad for name in names}
    if call.eager:  # where nothing is traced
        bad = {name: one.filter(lambda found: "traced" not in found.label) for name, one in bad.items()}

    def of(chosen):
        return st.fixed_dictionaries({name: bad[name] for name in chosen})

    one = st.sampled_from(names).flatmap(lambda name: of([name]))
    if len(names) < 2:
        return one
    pairs = st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True).flatmap(of)
    return st.one_of(one, one, pairs.filter(_must_be_refused))


def _must_be_refused(bad):
    """Whether one of them is wrong by itself, and they are no two shapes that fit together."""
    of_shape = [
        any(word in one.label for word in ("shape", "swapped", "transposed", "empty")) for one in bad.values()
    ]
    return any(one.verdict == "refuse" for one in bad.values()) and sum(of_shape) < 2


def answer(call: Call, bad: dict[str, Bad]) -> Answer:
    """Call it, and judge what comes back."""
    with _at_most(_SECONDS), _as_users_have_it():
        try:
            result = _traced(call, {name: one.value for name, one in bad.items()})
        except Exception as error:
            return _of_exception(error)
        labels = ", ".join(f"{name}: {one.label}" for name, one in bad.items())
        if any(one.verdict == "refuse" for one in bad.values()):
            return Answer("failure", f"no message for {labels}")
        try:
            wrong = _difference(call, bad, result)
        except _Unjudged:
            return Answer("unjudged")
        except Exception as error:
            return _of_exception(error)
    return Answer("failure", f"{labels}: {wrong}") if wrong else Answer("result")


def _traced(call, bad):
    """The jaxpr of a call, or the result of one that reads values."""
    if call.eager:
        return call.given(bad)
    closed, shapes = jax.make_jaxpr(lambda: call.given(bad), return_shape=True)()
    return closed, jax.tree.structure(shapes)


@cache
def _valid(call_name, name, label, call, pair):
    del call_name, name, label
    return _traced(call.of, pair.of), {}


class _Held(NamedTuple):
    """What a cache does not look at: names and labels tell calls apart."""

    of: Any

    def __hash__(self):
        return 0

    def __eq__(self, other):
        return True


def _difference(call, bad, result):
    """Why the result is not that of the canonical arguments; "" if it is."""
    canonical = {name: one.canonical for name, one in bad.items()}
    labels = tuple((name, one.label) for name, one in sorted(bad.items()))
    expected, values = _valid(call.name, labels, id(call.arguments), _Held(call), _Held(canonical))
    flagged = any(one.verdict == "flag" for one in bad.values())
    if not flagged and not call.eager and _same_program(result, expected):
        return ""
    if "wrong" not in values:
        if _compared[call.name] >= _MOST:
            raise _Unjudged
        _compared[call.name] += 1
        got, right = (values_of(call, program) for program in (result, expected))
        eps = max(float(jax.numpy.finfo(one.dtype).eps) if _floating(one) else 0 for one in bad.values())
        values["wrong"] = _unlike(got, right, 1e3 * max(eps, 1e-15), flagged)
    return values["wrong"]


def _floating(one):
    return jax.numpy.issubdtype(one.dtype, jax.numpy.floating)


def values_of(call, program):
    """Numbers of a traced or of an eager result."""
    if call.eager:
        return jax.tree.map(np.asarray, program)
    closed, tree = program
    run = _compiled(str(closed.jaxpr), _Held(closed.jaxpr))
    return jax.tree.map(np.asarray, jax.tree.unflatten(tree, run(closed.consts)))


@lru_cache(maxsize=64)
def _compiled(text, jaxpr):
    """What differs in numbers only is one program."""
    del text
    return jax.jit(lambda consts: jax.extend.core.jaxpr_as_fun(_closed(jaxpr.of, consts))())


def _closed(jaxpr, consts):
    return jax.extend.core.ClosedJaxpr(jaxpr, consts)


def _same_program(a, b):
    (a, tree_a), (b, tree_b) = a, b
    if tree_a != tree_b or len(a.consts) != len(b.consts) or str(a.jaxpr) != str(b.jaxpr):
        return False
    return all(_equal(x, y) for x, y in zip(a.consts, b.consts, strict=True))


def _equal(x, y):
    plain = [not jax.dtypes.issubdtype(getattr(v, "dtype", np.float64), jax.dtypes.extended) for v in (x, y)]
    return all(plain) and np.array_equal(np.asarray(x), np.asarray(y))


def _unlike(got, right, tolerance, flagged):
    if jax.tree.structure(got) != jax.tree.structure(right):
        return "another structure than that of the canonical call"
    vouched = _vouched(got)
    for (path, a), b in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(right), strict=True):
        name = jax.tree_util.keystr(path)
        if np.shape(a) != np.shape(b):
            return f"{name} has shape {np.shape(a)} instead of {np.shape(b)}"
        if a.dtype.kind not in "biufc" or name.endswith((".certified", ".log_error")):
            continue
        a, b = np.asarray(a, np.complex128), np.asarray(b, np.complex128)
        finite = np.isfinite(b)
        size = np.max(np.abs(b[finite]), initial=1.0)
        with np.errstate(all="ignore"):
            agree = (a == b) | (np.abs(a - b) <= tolerance * size) | (np.isnan(a) & np.isnan(b))
        if flagged:
            agree |= ~np.isfinite(a) | ~_mask(vouched, path, a)
        if not np.all(agree):
            return f"{name} is {a[~agree][0]} instead of {b[~agree][0]}"
    return ""


def _vouched(tree):
    """path of a result -> its `certified`."""
    return {
        path[:-1]: leaf
        for path, leaf in jax.tree.leaves_with_path(tree)
        if jax.tree_util.keystr(path).endswith(".certified")
    }


def _mask(vouched, path, values):
    certified = vouched.get(path[:-1])
    if certified is None:
        return np.ones(values.shape, bool)
    if certified.shape != values.shape:
        return np.full(values.shape, bool(np.all(certified)))
    return certified


def _of_exception(error):
    """A message of the library's own begins with a public name and is raised in its own lines."""
    place = error.__traceback__
    while place.tb_next:
        place = place.tb_next
    path = Path(place.tb_frame.f_code.co_filename)
    own = LIBRARY in path.parents
    name = re.match(r"([\w.]+)", str(error))
    named = name is not None and not PUBLIC.isdisjoint(name[1].split("."))
    kinds = (ValueError, TypeError, IndexError, ImportError, FileNotFoundError, IsADirectoryError)
    if own and named and isinstance(error, kinds):
        return Answer("message")
    where = f"{path.name}:{place.tb_lineno}"
    return Answer("failure", f"{type(error).__name__} from {where}: {str(error)[:160]}")


@contextlib.contextmanager
def _at_most(seconds):
    def stop(*_):
        raise TimeoutError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _as_users_have_it():
    """JAX's own settings, which broadcast and promote in silence; tests have stricter ones."""
    filtering = jax.config.jax_traceback_filtering
    # JAX would take longer to shorten a traceback than the library to refuse.
    jax.config.update("jax_traceback_filtering", "off")
    try:
        with (
            jax.numpy_rank_promotion("allow"),
            jax.numpy_dtype_promotion("standard"),
            warnings.catch_warnings(category=DeprecationWarning, action="ignore"),
        ):
            yield
    finally:
        jax.config.update("jax_traceback_filtering", filtering)
