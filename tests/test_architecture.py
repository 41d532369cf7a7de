"""The floors of the house: a file imports only from floors below, or from its own package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "jaxrnn"
FLOORS = [
    {
        "types",
        "_pytree",
        "_checks",
        "_compiled",
        "_display",
        "_export",
        "_result_type",
        "_sharding",
        "_operations",
        "_trace",
        "_sums",
        "_stages",
        "weights",
        "losses",
        "results",
    },
    {"cells", "tasks", "precision", "recurrence"},
    {"adapters", "jacobians", "gradients"},
    {"training"},
    {"diagnosis"},
    {"remedies"},
    {"plots"},
    {"report", "cli", "data_options", "env_command", "oracle_command", "train_command", "__main__"},
]
OPEN = {0, len(FLOORS) - 1}
"""The ground and the roof are one room each: single files that use each other."""
ABOVE_SIBLINGS = {"dynamics": ({"jacobians"}, 2)}
"""package -> (siblings it may import, its floor)."""
HOMES = {
    "optax": {"dynamics", "losses", "remedies", "training"},
    "matplotlib": {"plots", "report"},
    "orbax": {"training"},
    "tensorboardX": {"training"},
    **{name: {"adapters"} for name in ("flax", "equinox", "haiku", "keras", "safetensors")},
    **{name: {"tasks"} for name in ("babel", "faker", "pyphen", "sklearn")},
}
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def house(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def floor(name):
    if name in ABOVE_SIBLINGS:
        return ABOVE_SIBLINGS[name][1]
    return next((i for i, names in enumerate(FLOORS) if name in names), None)


def imports(path):
    """Dotted names of everything imported, at any depth; relative imports are not used."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@every_file
def test_a_file_imports_only_from_floors_below_or_its_own_package(path):
    home = house(path)
    assert floor(home) is not None, f"{home} stands on no floor"
    for name in imports(path):
        root, _, rest = name.partition(".")
        if root != "jaxrnn":
            continue
        target = rest.split(".")[0]
        if floor(target) is None:  # a name of jaxrnn/__init__.py, which imports everything
            assert target == "__version__" or floor(home) == len(FLOORS) - 1, f"imports {name}"
            continue
        siblings = ABOVE_SIBLINGS.get(home, (FLOORS[floor(home)] if floor(home) in OPEN else set(), 0))[0]
        assert target == home or target in siblings or floor(target) < floor(home), f"imports {name}"


@every_file
def test_a_library_is_imported_only_where_it_lives(path):
    for name in imports(path):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or house(path) in homes, f"imports {name}"


@every_file
def test_every_module_names_what_it_exports(path):
    tree = ast.parse(path.read_text())
    assigned = {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if hasattr(t, "id")}
    assert "__all__" in assigned or path.name == "__main__.py"


@pytest.mark.parametrize("path", sorted((ROOT / "plots").glob("*.py")), ids=lambda path: path.name)
def test_plots_call_no_jax_transform(path):
    used = {n.attr if isinstance(n, ast.Attribute) else n.id for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, ast.Attribute | ast.Name)}  # fmt: skip
    assert not used & {"jit", "vmap", "grad", "value_and_grad", "jacfwd", "jacrev", "scan", "vjp", "jvp"}


def test_importing_the_library_imports_no_plotting_and_no_other_framework():
    foreign = ["matplotlib", "flax", "equinox", "haiku", "torch", "keras", "mpmath"]
    foreign += ["babel", "faker", "pyphen", "sklearn"]
    code = f"import jaxrnn, sys; print([m for m in {foreign} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
