"""What the gradient looks like: ∂h_t/∂h_k, its norms, spectrum, growth rates and bounds."""

from jaxrnn.jacobians.bounds import norm_bound, product_bound
from jaxrnn.jacobians.by_lag import NormByLag, norm_by_lag
from jaxrnn.jacobians.lyapunov import GrowthRates, growth_rates
from jaxrnn.jacobians.norms import Norms, norms
from jaxrnn.jacobians.product import product
from jaxrnn.jacobians.spectrum import Spectrum, spectrum, spectrum_fan
from jaxrnn.jacobians.step import step_jacobians

__all__ = [
    "GrowthRates",
    "NormByLag",
    "Norms",
    "Spectrum",
    "growth_rates",
    "norm_bound",
    "norm_by_lag",
    "norms",
    "product",
    "product_bound",
    "spectrum",
    "spectrum_fan",
    "step_jacobians",
]
