"""The remedies of E20 to E22, each a switch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import optax

from jaxrnn import _checks, cells
from jaxrnn.cells.initializers import glorot, he, identity, orthogonal, spectral_radius
from jaxrnn.remedies.setup import Remedy, Setup, layer_of
from jaxrnn.training import flossing_penalty, pascanu_penalty, spectral_norm_penalty

__all__ = ["MAX_NORM", "REMEDIES", "remedy"]

MAX_NORM = 1.0
"""To which norm gradients are clipped, and from which on a step of the bench counts as clipped."""
_STEPS_AGO = 10
_LAG, _RATES = 10, 10


@_checks.signature("remedies.remedy")
def remedy(name: str) -> Remedy:
    """The remedy of that name, or several, as ``"irnn + clip_norm"``.

    Raises
    ------
    ValueError
        If there is none of a name.

    Example
    -------
    >>> remedy("irnn + clip_norm").name
    'irnn + clip_norm'
    """
    first, *rest = name.split(" + ")
    _checks.choice("remedies.remedy", "name", first, REMEDIES)
    found = REMEDIES[first]
    for other in rest:
        found = found + remedy(other)
    return found


def _options(**options) -> Callable[[Setup], Setup]:
    return lambda setup: setup._replace(options={**setup.options, **options})


def _start(recurrent_init) -> Callable[[Setup], Setup]:
    return lambda setup: setup._replace(initializers={"recurrent_init": recurrent_init})


def _layer(layer) -> Callable[[Setup], Setup]:
    """Another layer, with its own defaults."""
    return lambda setup: setup._replace(layer=layer, options={}, initializers={})


def _both(first, second) -> Callable[[Setup], Setup]:
    return lambda setup: second(first(setup))


def _before(transformation) -> Callable[[Setup], Setup]:
    return lambda setup: setup._replace(before=(*setup.before, transformation))


def _penalty(penalty, weight) -> Callable[[Setup], Setup]:
    return lambda setup: setup._replace(penalty=penalty, penalty_weight=weight)


def _wrapped(wrap) -> Callable[[Setup], Setup]:
    return lambda setup: setup._replace(layer_wrappers=(*setup.layer_wrappers, wrap))


def _spectral_norm(cell, _, sizes):
    return spectral_norm_penalty(cell, lag=min(_LAG, sizes.length))


def _flossing(cell, _, sizes):
    return flossing_penalty(cell, k=min(_RATES, sizes.hidden_size))


def _noisy(wrap) -> Callable[[Setup], Setup]:
    return lambda setup: setup._replace(noise=(*setup.noise, wrap))


def _chrono(sizes, **options):
    return cells.lstm(sizes.input_size, sizes.hidden_size, chrono=max(sizes.length, 2), **options)


def _l2(rate):
    return optax.chain(optax.add_decayed_weights(1e-4), optax.adam(rate))


def _remedy(name, change, reference):
    return name, Remedy(name, change, reference)


REMEDIES: dict[str, Remedy] = dict(
    [
        _remedy("none", lambda setup: setup, "the control: tanh, Glorot, Adam"),
        # E20: activations
        _remedy("sigmoid", _options(activation="sigmoid"), "E13, the worst case: γ = 1/4"),
        _remedy("relu", _both(_options(activation="relu"), _start(he())), "E20; He et al. 2015"),
        _remedy("leaky_relu", _options(activation="leaky_relu"), "E20; Maas et al. 2013"),
        _remedy("elu", _options(activation="elu"), "E20; Clevert et al. 2016"),
        # E20: initialisations
        _remedy("glorot", _start(glorot()), "E20; Glorot & Bengio 2010"),
        _remedy("he", _start(he()), "E20; He et al. 2015"),
        _remedy("orthogonal", _start(orthogonal()), "E20; Saxe et al. 2014"),
        _remedy("identity", _start(identity()), "E20"),
        _remedy("irnn", _both(_options(activation="relu"), _start(identity())), "E20; Le et al. 2015"),
        _remedy("spectral_radius", _start(spectral_radius(1.0)), "E20; Jaeger 2001"),
        # E20: gates
        _remedy("lstm", _layer(layer_of(cells.lstm)), "E16, E20; Hochreiter & Schmidhuber 1997"),
        _remedy("lstm_chrono", _layer(_chrono), "E16, E20; Tallec & Ollivier 2018"),
        _remedy("coupled_lstm", _layer(layer_of(cells.coupled_lstm)), "E16, E20; Greff et al. 2017"),
        _remedy("peephole_lstm", _layer(layer_of(cells.peephole_lstm)), "E16, E20; Gers & Schmidhuber 2000"),
        _remedy("gru", _layer(layer_of(cells.gru)), "E16, E20; Cho et al. 2014"),
        _remedy("mgu", _layer(layer_of(cells.mgu)), "E16, E20; Zhou et al. 2016"),
        # E20: connections and constrained recurrences
        _remedy("skip", _wrapped(partial(cells.skip, steps=_STEPS_AGO)), "E20; Lin et al. 1996"),
        _remedy("leaky", _layer(layer_of(cells.leaky)), "E20; Jaeger et al. 2007"),
        _remedy("orthogonal_rnn", _layer(layer_of(cells.orthogonal_rnn)), "E20; Lezcano-Casado 2019"),
        _remedy("antisymmetric", _layer(layer_of(cells.antisymmetric)), "E20; Chang et al. 2019"),
        _remedy("lru", _layer(layer_of(cells.lru)), "Orvieto et al. 2023"),
        _remedy("min_gru", _layer(layer_of(cells.min_gru)), "Feng et al. 2024"),
        # E20: normalisation and noise
        _remedy("layer_norm", _options(normalization=cells.layer_norm()), "E20; Ba et al. 2016"),
        _remedy("batch_norm", _options(normalization=cells.batch_norm()), "E20; Cooijmans et al. 2017"),
        _remedy("zoneout", _noisy(partial(cells.zoneout, rate=0.1)), "Krueger et al. 2017"),
        _remedy("dropout", _noisy(partial(cells.dropout, rate=0.1)), "Zaremba et al. 2014"),
        # E21
        _remedy("clip_norm", _before(optax.clip_by_global_norm(MAX_NORM)), "E21; Pascanu et al. 2013"),
        _remedy("clip_value", _before(optax.clip(0.1)), "E21; Mikolov 2012"),
        _remedy("clip_block", _before(optax.clip_by_block_rms(0.1)), "E21; Shazeer & Stern 2018"),
        _remedy("clip_adaptive", _before(optax.adaptive_grad_clip(0.1)), "E21; Brock et al. 2021"),
        _remedy(
            "small_rate", lambda setup: setup._replace(schedule=lambda rate, _: rate / 10), "E21"
        ),
        _remedy(
            "cosine",
            lambda setup: setup._replace(schedule=optax.cosine_decay_schedule),
            "E21; Loshchilov & Hutter 2017",
        ),
        _remedy("l2", lambda setup: setup._replace(optimizer=_l2), "E21"),
        _remedy(
            "weight_decay",
            lambda setup: setup._replace(optimizer=partial(optax.adamw, weight_decay=1e-2)),
            "E21; Loshchilov & Hutter 2019",
        ),
        _remedy("noise", _before(optax.add_noise(0.01, 0.55, 0)), "Neelakantan et al. 2015"),
        _remedy(
            "pascanu", _penalty(lambda cell, task, _: pascanu_penalty(cell, task.step_loss), 1e-2),
            "E21; Pascanu et al. 2013",
        ),
        _remedy(
            "spectral_norm", _penalty(_spectral_norm, 1e-2),
            "E21; the norm of ∂h_t/∂h_{t-10} held at 1",
        ),
        _remedy(
            "flossing", _penalty(_flossing, 1.0), "E21; Engelken 2023"
        ),
        # E22
        _remedy("sgd", lambda setup: setup._replace(optimizer=optax.sgd), "E22"),
        _remedy(
            "momentum", lambda setup: setup._replace(optimizer=partial(optax.sgd, momentum=0.9)), "E22"
        ),
    ]
)  # fmt: skip
"""name -> Remedy."""
