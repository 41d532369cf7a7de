"""How the gradient is computed: estimators behind one interface, its terms, and its derivation."""

from jaxrnn.gradients import by_hand
from jaxrnn.gradients.adaptive import AdaptiveCarry, adaptive
from jaxrnn.gradients.decay import GeometricDecay, geometric_decay
from jaxrnn.gradients.decomposition import Decomposition, decompose
from jaxrnn.gradients.fidelity import Fidelity, Measures, fidelity
from jaxrnn.gradients.forward import forward
from jaxrnn.gradients.full import full
from jaxrnn.gradients.kept import KeptLags, kept_lags
from jaxrnn.gradients.lag_profile import LagProfile, lag_profile
from jaxrnn.gradients.loss import loss
from jaxrnn.gradients.randomized import artbp, randomized
from jaxrnn.gradients.rtrl import rtrl
from jaxrnn.gradients.snap import InfluencePattern, influence_pattern, snap
from jaxrnn.gradients.start import restart
from jaxrnn.gradients.truncated import chunked, sliding
from jaxrnn.gradients.uoro import uoro

__all__ = [
    "AdaptiveCarry",
    "Decomposition",
    "Fidelity",
    "GeometricDecay",
    "InfluencePattern",
    "KeptLags",
    "LagProfile",
    "Measures",
    "adaptive",
    "artbp",
    "by_hand",
    "chunked",
    "decompose",
    "fidelity",
    "forward",
    "full",
    "geometric_decay",
    "influence_pattern",
    "kept_lags",
    "lag_profile",
    "loss",
    "randomized",
    "restart",
    "rtrl",
    "sliding",
    "snap",
    "uoro",
]
