"""How the gradient is computed: estimators behind one interface, its terms, and its derivation."""

from jaxrnn.gradients import by_hand
from jaxrnn.gradients.decomposition import Decomposition, decompose
from jaxrnn.gradients.fidelity import Fidelity, fidelity
from jaxrnn.gradients.forward import forward
from jaxrnn.gradients.full import full
from jaxrnn.gradients.loss import loss
from jaxrnn.gradients.randomized import randomized
from jaxrnn.gradients.rtrl import rtrl
from jaxrnn.gradients.truncated import chunked, sliding
from jaxrnn.gradients.uoro import uoro

__all__ = [
    "Decomposition",
    "Fidelity",
    "by_hand",
    "chunked",
    "decompose",
    "fidelity",
    "forward",
    "full",
    "loss",
    "randomized",
    "rtrl",
    "sliding",
    "uoro",
]
