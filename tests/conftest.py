"""Settings of every test: double precision, no silent promotion, one BLAS thread."""

import inspect
import os
import zlib
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Both workers, and the next run, take from here what was compiled before.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import faster
import jax
import jaxtyping
import pytest

faster.pytest_configure()
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def _where_annotated(jaxtyped):
    """jaxtyping's decorator, for functions that have annotations to check.

    A wrapper that checks nothing costs as much as one that checks, and is made anew for every inner function
    of every call: a quarter of the time in which JAX traces.
    """

    def decorator(*, typechecker):
        def decorate(fn):
            inner = fn.fget if isinstance(fn, property) else getattr(fn, "__func__", fn)
            if inspect.isfunction(inner) and not inner.__annotations__:
                return fn
            return jaxtyped(fn, typechecker=typechecker)

        return decorate

    return decorator


jaxtyping.jaxtyped = _where_annotated(jaxtyping.jaxtyped)


def pytest_addoption(parser):
    parser.addoption(
        "--part", help="i/n: run only the i-th of n parts of the tests, dealt out by their names"
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--part"):
        part, parts = map(int, config.getoption("--part").split("/"))
        items[:] = [item for item in items if zlib.crc32(_dealt_as(item).encode()) % parts == part - 1]


def _dealt_as(item):
    """A test by its own name; one that shares what a fixture makes with others of its file, with them."""
    file, _, _ = item.nodeid.partition("::")
    definitions = item._fixtureinfo.name2fixturedefs.values()
    shares = any(found[-1].scope == "module" and found[-1].baseid == file for found in definitions)
    return file if shares else item.nodeid


_MAPS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Every compiled program holds memory maps, of which Linux gives a process 65530; XLA crashes without."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > 45_000:
        jax.clear_caches()


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def unchecked_types():
    """Switch jaxtyping's checks off, so that bad input meets the library's own error."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
