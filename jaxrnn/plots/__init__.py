"""Pictures: a result in, matplotlib Axes out. Nothing here computes with JAX."""

from jaxrnn.plots.gradients import plot_gradient_by_lag, plot_saturation
from jaxrnn.plots.jacobians import plot_norm_by_lag, plot_norms, plot_spectrum_fan
from jaxrnn.plots.truncation import plot_loss_curves, plot_window_error

__all__ = [
    "plot_gradient_by_lag",
    "plot_loss_curves",
    "plot_norm_by_lag",
    "plot_norms",
    "plot_saturation",
    "plot_spectrum_fan",
    "plot_window_error",
]
