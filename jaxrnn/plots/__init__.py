"""Pictures: a result in, matplotlib Axes out. Nothing here computes with JAX."""

from jaxrnn.plots.dynamics import plot_bifurcations, plot_fixed_points
from jaxrnn.plots.gradients import plot_gradient_by_lag, plot_saturation
from jaxrnn.plots.heatmaps import plot_depth_time, plot_norms
from jaxrnn.plots.jacobians import plot_block_norms, plot_norm_by_lag, plot_spectrum_fan
from jaxrnn.plots.remedies import plot_remedies, plot_remedy_reach, plot_remedy_training
from jaxrnn.plots.spectra import plot_eigenvalues, plot_growth_rates
from jaxrnn.plots.strategies import plot_strategies
from jaxrnn.plots.truncation import plot_cost, plot_fidelity, plot_loss_curves, plot_window_error

__all__ = [
    "plot_bifurcations",
    "plot_block_norms",
    "plot_cost",
    "plot_depth_time",
    "plot_eigenvalues",
    "plot_fidelity",
    "plot_fixed_points",
    "plot_gradient_by_lag",
    "plot_growth_rates",
    "plot_loss_curves",
    "plot_norm_by_lag",
    "plot_norms",
    "plot_remedies",
    "plot_remedy_reach",
    "plot_remedy_training",
    "plot_saturation",
    "plot_spectrum_fan",
    "plot_strategies",
    "plot_window_error",
]
