"""One file a claim, each against plain JAX; `python -m benchmarks` runs all and writes a dated table."""
