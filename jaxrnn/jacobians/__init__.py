"""What the gradient looks like: ∂h_t/∂h_k, its norms, spectrum, growth rates and bounds."""

from jaxrnn.jacobians.bounds import norm_bound, product_bound
from jaxrnn.jacobians.lyapunov import GrowthRates, growth_rates
from jaxrnn.jacobians.norms import Norms, norms
from jaxrnn.jacobians.product import product
from jaxrnn.jacobians.spectrum import Spectrum, spectrum
from jaxrnn.jacobians.step import step_jacobians

__all__ = [
    "GrowthRates",
    "Norms",
    "Spectrum",
    "growth_rates",
    "norm_bound",
    "norms",
    "product",
    "product_bound",
    "spectrum",
    "step_jacobians",
]
