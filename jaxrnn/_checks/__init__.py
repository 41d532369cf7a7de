"""Trace-time checks, with every message that more than one function needs.

They look at shapes, dtypes and Python values only, so that they cost nothing at run time.
"""

from jaxrnn._checks.sequences import (
    batch_shape,
    both,
    indices,
    input_pair,
    jacobian_chain,
    keyed,
    one_sequence,
    pair,
    same_batches,
    states_of_batch,
    step_keeps_state,
    stepped,
    trajectory,
)
from jaxrnn._checks.signature import signature
from jaxrnn._checks.trees import (
    array_leaves,
    floating_leaves,
    leading_axis,
    parameters,
    paths,
    shape,
)
from jaxrnn._checks.values import (
    NumericalError,
    array,
    at_least,
    choice,
    fraction,
    installed,
    instance,
    integer,
    key,
    number,
    numbers,
    real,
)

__all__ = [
    "NumericalError",
    "array",
    "array_leaves",
    "at_least",
    "batch_shape",
    "both",
    "choice",
    "floating_leaves",
    "fraction",
    "indices",
    "input_pair",
    "installed",
    "instance",
    "integer",
    "jacobian_chain",
    "key",
    "keyed",
    "leading_axis",
    "number",
    "numbers",
    "one_sequence",
    "pair",
    "parameters",
    "paths",
    "real",
    "same_batches",
    "shape",
    "signature",
    "states_of_batch",
    "step_keeps_state",
    "stepped",
    "trajectory",
]
