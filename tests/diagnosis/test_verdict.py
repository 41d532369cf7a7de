"""The verdict on tables of norms made by hand."""

from math import log

import numpy as np
import pytest

from jaxrnn.diagnosis.verdict import ADVICE, judge
from jaxrnn.jacobians import Norms

T = 6


def judged(rates, error=0.0, threshold=100.0, edit=None):
    """Tables whose norms grow by the given rates in nats per step, one a sequence."""
    lag = np.arange(T + 1)[:, None] - np.arange(T + 1)[None, :]
    log_norm = np.stack([np.where(lag >= 0, rate * lag, -np.inf) for rate in rates])
    if edit:
        edit(log_norm)
    log_error = np.broadcast_to(np.where(lag > 0, error, 0.0), log_norm.shape)
    table = Norms(log_norm, log_error, log_error < 0.23)
    return judge(table, np.median(rates) * np.arange(T + 1.0), log(threshold))


@pytest.mark.parametrize(
    ("rate", "word"), [(-2.0, "vanishing"), (2.0, "exploding"), (0.5, "stable"), (-0.5, "stable")]
)
def test_the_word_follows_the_rate_and_brings_its_advice(rate, word):
    verdict = judged([rate] * 3)
    assert verdict.verdict == word and verdict.advice == ADVICE[word]


def test_the_threshold_lies_exactly_at_the_norm():
    assert judged([1.0], threshold=np.exp(T) * 0.999).verdict == "exploding"
    assert judged([1.0], threshold=np.exp(T) * 1.001).verdict == "stable"
    assert judged([-1.0], threshold=np.exp(T) * 0.999).verdict == "vanishing"
    assert judged([-1.0], threshold=np.exp(T) * 1.001).verdict == "stable"


def test_a_few_dissenters_do_not_change_the_verdict_but_many_make_it_unknown():
    assert judged([-2.0] * 3 + [2.0]).verdict == "vanishing"
    verdict = judged([-2.0, -2.0, -2.0, 2.0, 2.0])
    assert verdict.verdict == "unknown"
    assert "the sequences disagree: exploding 2, vanishing 3 of 5" in verdict.reason


def test_rounding_that_could_change_the_word_makes_it_unknown():
    assert judged([-1.0] * 4, error=1.0).verdict == "vanishing"
    verdict = judged([-1.0] * 4, error=2.0)
    assert verdict.verdict == "unknown" and "rounding may have decided it: in 4 of 4" in verdict.reason
    assert judged([-1.0] * 4, error=np.inf).verdict == "unknown"


def test_nan_anywhere_is_unknown():
    def spoil(log_norm):
        log_norm[0, 3, 1] = np.nan

    verdict = judged([-2.0] * 8, edit=spoil)
    assert verdict.verdict == "unknown" and "not finite" in verdict.reason


def test_a_norm_of_exactly_zero_vanishes():
    log_norm = np.where(np.eye(T + 1, dtype=bool), 0.0, -np.inf)[None]
    zero_error = np.zeros_like(log_norm)
    verdict = judge(Norms(log_norm, zero_error, zero_error == 0), log_norm[0, :, 0], log(100))
    assert verdict.verdict == "vanishing" and "exactly 0" in verdict.reason
