"""The public names, and which of them the documentation leaves out."""

import importlib
from collections.abc import Iterator, Set

PUBLIC_MODULES = (
    "jaxrnn",
    "jaxrnn.adapters",
    "jaxrnn.cells",
    "jaxrnn.cells.activations",
    "jaxrnn.cells.initializers",
    "jaxrnn.jacobians",
    "jaxrnn.gradients",
    "jaxrnn.gradients.by_hand",
    "jaxrnn.losses",
    "jaxrnn.training",
    "jaxrnn.training.callbacks",
    "jaxrnn.tasks",
    "jaxrnn.diagnosis",
    "jaxrnn.remedies",
    "jaxrnn.plots",
)


def public_names() -> Iterator[str]:
    """Every name in the `__all__` of a public module that is not a module itself."""
    for module_name in PUBLIC_MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if type(value).__name__ != "module":
                yield f"{module_name}.{name}"


def undocumented(documented: Set[str]) -> list[str]:
    """The public names that are not among those, such as ``jaxrnn.jacobians.norms``."""
    # What jaxrnn itself offers is documented under that shorter name.
    shorter = {name.rsplit(".", 1)[1] for name in documented if name.count(".") == 1}
    return [n for n in public_names() if n not in documented and n.rsplit(".", 1)[1] not in shorter]
