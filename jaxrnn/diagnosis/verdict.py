"""The verdict on a table of log norms, and the notes' advice for each (E20, E21)."""

from __future__ import annotations

from math import exp, log
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxrnn._result_type import result_type
from jaxrnn.jacobians import Norms

__all__ = ["ADVICE", "Verdict", "judge"]

ADVICE = {
    "vanishing": (
        "Use gates: an LSTM or GRU carries ∂c_t/∂c_{t-1} ⊇ diag(f_t) instead of powers of W (E16).",
        "Initialise W_hh orthogonal, or as the identity with a relu-like activation (E20).",
        "Replace sigmoid or tanh by relu, leaky relu or elu (E20).",
        "Add skip connections or normalisation (E20).",
        "Truncated BPTT with a window beyond the horizon loses little here: the far terms are gone anyway.",
    ),
    "exploding": (
        "Clip the gradient by norm: optax.clip_by_global_norm (E21).",
        "Lower the learning rate or schedule it (E21).",
        "Shrink W_hh at the start (initializers.orthogonal or spectral_radius), or add weight decay (E21).",
        "Use an LSTM or GRU, or penalise the Jacobian's norm (E21).",
    ),
    "stable": ("Nothing needs curing at this length; look again at the longest sequences you will use.",),
    "unknown": ("Mend what the reason names and diagnose again; no conclusion is drawn from these numbers.",),
}


@result_type
class Verdict(NamedTuple):
    """One word, why, and what the notes advise."""

    verdict: str
    reason: str
    advice: tuple[str, ...]


def judge(table: Norms, median_by_lag: Float[np.ndarray, " T1"], log_threshold: float) -> Verdict:
    """Judge tables [S, T+1, T+1] by their median norm at each lag; NaN is never a verdict."""
    length = len(median_by_lag) - 1
    if length < 2:
        return _verdict("unknown", f"T = {length} is too short to tell growth from one step's norm.")
    if np.isnan(table.log_norm).any():
        return _verdict(
            "unknown", "a step Jacobian is not finite: NaN or infinity in inputs, weights or states."
        )
    word = _word(median_by_lag, log_threshold)
    each = [_certain_word(*row, log_threshold) for row in zip(table.log_norm, table.log_error, strict=True)]
    if each.count("uncertain") > len(each) / 4:
        return _verdict(
            "unknown",
            f"rounding may have decided it: in {each.count('uncertain')} of {len(each)} sequences the norms' "
            "error bounds allow two verdicts. Use float64 (jax_enable_x64) or shorter sequences.",
        )
    if each.count(word) < 0.75 * len(each):
        return _verdict(
            "unknown",
            f"the sequences disagree: {', '.join(f'{w} {each.count(w)}' for w in sorted(set(each)))} "
            f"of {len(each)}. Diagnose more sequences, or longer ones.",
        )
    peak = int(np.argmax(median_by_lag))
    lag = peak if word == "exploding" else length
    value = median_by_lag[lag]
    size = "exactly 0" if value == -np.inf else f"{_power_of_ten(value)} (e^{value:.1f})"
    return _verdict(word, f"the median ‖∂h_t/∂h_k‖ at lag {lag} is {size}.")


def _word(by_lag, log_threshold):
    if by_lag.max() > log_threshold:
        return "exploding"
    return "vanishing" if by_lag[-1] < -log_threshold else "stable"


def _certain_word(log_norm, log_error, log_threshold):
    """The word for one sequence, by its last row; "uncertain" if the error bounds allow another."""
    row, error = log_norm[-1, ::-1], log_error[-1, ::-1]
    low = np.where(np.isfinite(row), row - error, row)
    high = np.where(np.isfinite(error), row + np.where(np.isfinite(error), error, 0), np.inf)
    words = {_word(low, log_threshold), _word(high, log_threshold)}
    return words.pop() if len(words) == 1 else "uncertain"


def _power_of_ten(log_value):
    # From 9.95 on the mantissa would be printed as 10.0.
    exponent = int(np.floor((log_value - log(9.95)) / log(10))) + 1
    return f"{exp(log_value - exponent * log(10)):.1f}e{exponent:+d}"


def _verdict(word, reason):
    return Verdict(word, reason, ADVICE[word])
