"""The README's picture, from a report: ``python tools/readme_picture.py report/results.npz OUT.png``."""

import io
import sys

import jax
from matplotlib.figure import Figure
from PIL import Image

import jaxrnn as jr


def main(results_path, picture_path):
    studies = jr.load(results_path)["studies"]
    figure = Figure(figsize=(13.2, 7.0), layout="constrained")
    grid = figure.subplots(2, len(studies), squeeze=False)
    for column, (name, study) in enumerate(studies.items()):
        diagnosis = study.diagnosis
        first = jax.tree.map(lambda table: table[0], diagnosis.norms)
        jr.plots.plot_norms(first, log_bound_rate=diagnosis.log_bound_rate, ax=grid[0, column])
        jr.plots.plot_spectrum_fan(diagnosis.fan_lags, diagnosis.fan, ax=grid[1, column])
        grid[0, column].set_title(name)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=80)
    Image.open(buffer).convert("RGB").quantize(96).save(picture_path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
