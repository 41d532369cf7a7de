"""Arguments that are trees of others: one leaf malformed, or the tree built otherwise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from hypothesis import strategies as st

from validation.malformed.kinds import Bad, Fixed, Kind, junk

__all__ = ["Tree"]

_LEAFLESS = ("an empty list", "an empty dict")


class Tree(Kind):
    """A dict, tuple or NamedTuple of kinds; `more` says that a dict may hold further leaves."""

    def __init__(self, kinds, *, more=False, optional=False):
        self.kinds = kinds
        self.names = list(kinds) if isinstance(kinds, dict) else list(range(len(kinds)))
        self.value = self._of({name: kinds[name].value for name in self.names})
        strategies = [self._leaf(name) for name in self.names]
        structure = self._structure(more) if self.names else st.nothing()
        self.bad = st.one_of(
            *strategies,
            *strategies,
            junk(none=not optional and bool(self.names), but=() if self.names else _LEAFLESS),
            structure,
        )

    def _of(self, values):
        if isinstance(self.kinds, dict):
            return dict(values)
        made = [values[name] for name in self.names]
        return type(self.kinds)(*made) if hasattr(self.kinds, "_fields") else tuple(made)

    def _leaf(self, name):
        def of(bad):
            values = {other: self.kinds[other].value for other in self.names}
            canonical = self._of(values | {name: bad.canonical})
            return bad._replace(
                label=f"{name}: {bad.label}", value=self._of(values | {name: bad.value}), canonical=canonical
            )

        return self.kinds[name].bad.map(of)

    def _structure(self, more):
        values = {name: self.kinds[name].value for name in self.names}
        made = {"a tuple of one more": (*values.values(), jnp.ones(1))}
        made["nothing"] = {} if isinstance(self.kinds, dict) else ()
        first = self.names[0]
        if isinstance(self.kinds, dict):
            made |= {"a tuple": tuple(values.values()), "a leaf renamed": {**values, "W": values[first]}}
            made["a leaf renamed"].pop(first)
        elif hasattr(self.kinds, "_fields"):
            made |= {"a plain tuple": tuple(values.values()), "a list": list(values.values())}
        else:
            made["a dict"] = {str(name): value for name, value in values.items()}
        for name in self.names if len(self.names) > 1 else ():
            rest = {other: value for other, value in values.items() if other != name}
            made[f"without {name}"] = rest if isinstance(self.kinds, dict) else tuple(rest.values())
        made["one array"] = jax.tree.leaves(self.value)[0]
        bad = st.sampled_from(sorted(made)).map(lambda name: Bad(name, "refuse", made[name]))
        if more and isinstance(self.kinds, dict):
            wider = Bad("one leaf more", "same", {**values, "more": jnp.ones(2)}, self.value)
            bad = st.one_of(bad, st.just(wider))
        return st.one_of(bad, self._swapped())

    def _swapped(self):
        """Two leaves of different shapes in each other's place, or a matrix transposed."""
        values = {name: self.kinds[name].value for name in self.names}
        made, read = {}, [name for name in self.names if not isinstance(self.kinds[name], Fixed)]
        for a in read:
            shape = getattr(values[a], "shape", ())
            if len(shape) == 2 and shape[0] != shape[1]:
                made[f"{a} transposed"] = self._of(values | {a: values[a].T})
            for b in read:
                if shape != getattr(values[b], "shape", ()):
                    made[f"{a} and {b} swapped"] = self._of(values | {a: values[b], b: values[a]})
        if not made:
            return st.nothing()
        return st.sampled_from(sorted(made)).map(lambda name: Bad(name, "refuse", made[name]))
