"""What the gradient looks like: ∂h_t/∂h_k, its norms, blocks, spectrum, growth rates and bounds."""

from jaxrnn.jacobians import oracle
from jaxrnn.jacobians.blocks import block_norms, input_jacobians, input_norms
from jaxrnn.jacobians.bounds import norm_bound, product_bound
from jaxrnn.jacobians.by_lag import NormByLag, norm_by_lag
from jaxrnn.jacobians.eigenvalues import Eigenvalues, eigenvalues
from jaxrnn.jacobians.last_products import last_products
from jaxrnn.jacobians.log_norm import log_norm
from jaxrnn.jacobians.lyapunov import GrowthRates, growth_rates, leading_growth_rates
from jaxrnn.jacobians.norms import Norms, norms
from jaxrnn.jacobians.product import product
from jaxrnn.jacobians.spectra import spectra
from jaxrnn.jacobians.spectrum import Spectrum, leading_spectrum, spectrum, spectrum_fan
from jaxrnn.jacobians.step import step_jacobians

__all__ = [
    "Eigenvalues",
    "GrowthRates",
    "NormByLag",
    "Norms",
    "Spectrum",
    "block_norms",
    "eigenvalues",
    "growth_rates",
    "input_jacobians",
    "input_norms",
    "last_products",
    "leading_growth_rates",
    "leading_spectrum",
    "log_norm",
    "norm_bound",
    "norm_by_lag",
    "norms",
    "oracle",
    "product",
    "product_bound",
    "spectra",
    "spectrum",
    "spectrum_fan",
    "step_jacobians",
]
