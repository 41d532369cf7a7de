"""The verdict on a table of log norms, and the notes' advice for each (E20, E21)."""

from __future__ import annotations

from math import exp, log
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

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
    uncertified = 1 - np.mean(table.certified[..., -1, :])
    if uncertified > 0.25:
        return _verdict(
            "unknown",
            f"{uncertified:.0%} of the norms ‖∂h_T/∂h_k‖ are not certified: rounding may have changed them. "
            "Use float64 (jax_enable_x64) or shorter sequences.",
        )
    word = _word(median_by_lag, log_threshold)
    each = [_word(_last_row_by_lag(log_norm), log_threshold) for log_norm in table.log_norm]
    agreement = each.count(word) / len(each)
    if agreement < 0.75:
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


def _last_row_by_lag(log_norm):
    return log_norm[-1, ::-1]


def _power_of_ten(log_value):
    exponent = int(np.floor(log_value / log(10)))
    return f"{exp(log_value - exponent * log(10)):.1f}e{exponent:+d}"


def _verdict(word, reason):
    return Verdict(word, reason, ADVICE[word])
