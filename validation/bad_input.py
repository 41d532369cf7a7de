"""Malformed arguments of every public function, answered by the library's own message or a right result."""

from __future__ import annotations

import functools
import os
from collections import Counter
from importlib import import_module

import jax
from hypothesis import HealthCheck, Phase, given, seed, settings

from validation.harness import pool, table
from validation.malformed.judge import answer, bad_calls

TITLE = "Bad input"
ROOMS = ("cells", "jacobians", "dynamics", "gradients", "training", "plots", "rest")
SEEDS = (0, 1)
EXAMPLES = 260
"""Of each call and seed; fewer where a call has no more."""
AT_LEAST = 100_000


def run() -> tuple[str, list[str]]:
    """One row a function, and the failures."""
    counts: dict[str, Counter] = {}
    failures: Counter = Counter()
    jobs = [(room, i, number) for number in SEEDS for room in ROOMS for i in range(len(calls_of(room)))]
    # Nearly all of the time is compilation.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    with pool() as workers:
        for name, found, reasons in workers.map(campaign, *zip(*jobs, strict=True)):
            counts.setdefault(name, Counter()).update(found)
            failures.update({f"{name}: {reason}": count for reason, count in reasons.items()})
    total = sum(counts.values(), Counter())
    rows = [(name, *_columns(found)) for name, found in sorted(counts.items())]
    header = ("function", "bad inputs", "own message", "right result", "failures")
    text = (
        f"{total.total():,} malformed calls by hypothesis, seeds {', '.join(map(str, SEEDS))}, one or two "
        "arguments at a time. A result is right if it is that of the canonical arguments, or says itself "
        "where it is not finite or not certified."
    )
    broken = [f"{reason} ({count} times)" for reason, count in failures.most_common(20)]
    if total.total() < AT_LEAST:
        broken.append(f"{total.total()} bad inputs; expected at least {AT_LEAST}")
    return f"{text}\n\n{table(header, [('all', *_columns(total)), *rows])}", broken


def _columns(found):
    return tuple(
        f"{count:,}" for count in (found.total(), found["message"], found["result"], found["failure"])
    )


@functools.cache
def calls_of(room: str) -> list:
    """The calls of one room, made once a process."""
    jax.config.update("jax_enable_x64", True)
    return list(import_module(f"validation.malformed.{room}").calls())


def campaign(room: str, i: int, number: int, examples: int = EXAMPLES) -> tuple[str, Counter, Counter]:
    """(name, how often each kind of answer came, why some are failures) of one call and seed."""
    call = calls_of(room)[i]
    found: Counter = Counter()
    reasons: Counter = Counter()

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(bad_calls(call))
    def judged(bad):
        kind, reason = answer(call, bad)
        if kind != "unjudged":
            found[kind] += 1
        if reason:
            reasons[reason] += 1

    judged()
    jax.clear_caches()  # every call has traced functions of its own, which JAX would all keep
    return call.name.partition(":")[0], found, reasons
