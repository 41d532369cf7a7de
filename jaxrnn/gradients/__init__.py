"""How the gradient is computed: estimators behind one interface, its terms, and its derivation."""

from jaxrnn.gradients import by_hand
from jaxrnn.gradients.decomposition import Decomposition, decompose
from jaxrnn.gradients.fidelity import Fidelity, fidelity
from jaxrnn.gradients.full import full
from jaxrnn.gradients.loss import loss
from jaxrnn.gradients.truncated import chunked, sliding

__all__ = [
    "Decomposition",
    "Fidelity",
    "by_hand",
    "chunked",
    "decompose",
    "fidelity",
    "full",
    "loss",
    "sliding",
]
