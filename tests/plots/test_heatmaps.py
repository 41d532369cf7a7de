"""What the heatmaps show is what was measured, and what cannot be trusted is marked."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb

from jaxrnn.jacobians import NormByLag, Norms
from jaxrnn.plots import plot_depth_time, plot_norm_by_lag, plot_norms

LN10 = np.log(10)


def norms_of(rate, T=6):
    lag = np.arange(T + 1)[:, None] - np.arange(T + 1)[None, :]
    log_norm = np.where(lag >= 0, rate * lag + 0.1 * np.sin(lag), -np.inf)
    return Norms(log_norm, np.zeros_like(log_norm), np.ones(lag.shape, bool))


def image_of(ax):
    return ax.images[-1].get_array()


def labels(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def contours(ax):
    return [item for item in ax.collections if hasattr(item, "levels")]


def hatched(ax):
    """The cells (row, column) under a hatch, of the first axis number on."""
    cells = set()
    for boxes in ax.collections:
        if isinstance(boxes, PolyCollection) and boxes.get_hatch():
            for path in boxes.get_paths():
                (left, low), (right, high) = path.vertices.min(axis=0), path.vertices.max(axis=0)
                assert high - low == 1
                cells |= {
                    (round(low + 0.5), column) for column in range(round(left + 0.5), round(right + 0.5))
                }
    return cells


@pytest.mark.parametrize("rate", [-1.0, 1.0, 0.0])
@pytest.mark.parametrize("T", [1, 6])
def test_heatmap_shows_decades_below_the_diagonal_and_nothing_above(ax, rate, T):
    norms = norms_of(rate, T)
    assert plot_norms(norms, ax=ax) is ax
    image, below = image_of(ax), np.tri(T + 1, dtype=bool)
    np.testing.assert_allclose(image[below], norms.log_norm[below] / LN10, atol=1e-15)
    assert image.mask[~below].all() or np.isnan(image.data[~below]).all()
    assert "k (step" in ax.get_xlabel() and "t (step" in ax.get_ylabel()
    assert (
        r"\log_{10}" in ax.figure.axes[1].get_ylabel()
        and r"\partial h_t/\partial h_k" in ax.figure.axes[1].get_ylabel()
    )


def test_heatmap_is_white_at_no_change_blue_below_and_red_above(ax):
    table = norms_of(0.0, 2)
    table.log_norm[1, 0], table.log_norm[2, 0] = -2.0, 3.0
    plot_norms(table, ax=ax)
    red, _, blue, _ = np.moveaxis(ax.images[-1].cmap(ax.images[-1].norm(image_of(ax))), -1, 0)
    assert blue[1, 0] > red[1, 0] and red[2, 0] > blue[2, 0]
    assert min(red[0, 0], blue[0, 0]) > 0.95


def test_heatmap_hatches_what_is_not_certified_and_names_it(ax):
    table = norms_of(-1.0)
    flagged = {(4, 1), (4, 2), (6, 0), (6, 6), (1, 0)}
    for pair in flagged:
        table.certified[pair] = False
    plot_norms(table, ax=ax)
    assert hatched(ax) == flagged and labels(ax) == ["not certified"]
    np.testing.assert_allclose(image_of(ax)[4, 1], table.log_norm[4, 1] / LN10)


def test_heatmap_of_certified_pairs_has_no_marks(ax):
    table = norms_of(-1.0)
    table.certified[np.triu_indices(7, 1)] = False  # no pairs
    plot_norms(table, ax=ax)
    assert not hatched(ax) and not labels(ax)


def test_heatmap_tells_zero_from_nan(ax):
    table = norms_of(-1.0)
    table.log_norm[5, 2], table.log_norm[6, 3], table.log_norm[6, 2] = np.nan, -np.inf, -np.inf
    table.certified[5, 2] = table.certified[6, 2] = False
    plot_norms(table, ax=ax)
    hidden = np.ma.getmaskarray(image_of(ax)) | np.isnan(image_of(ax).data)
    assert {tuple(pair) for pair in np.argwhere(hidden & np.tri(7, dtype=bool))} == {(5, 2), (6, 3), (6, 2)}
    assert hatched(ax) == {(6, 2)}  # a product that merely came out as zero
    ground = ax.images[0].get_array()
    colors = {entry.get_text(): patch for entry, patch in zip(*legend_of(ax), strict=True)}
    np.testing.assert_allclose(ground[5, 2], to_rgb(colors["NaN"].get_facecolor()))
    np.testing.assert_allclose(ground[6, 3], to_rgb(colors["exactly 0"].get_facecolor()))
    np.testing.assert_allclose(ground[0, 6], 1)
    assert len({tuple(ground[pair]) for pair in ((5, 2), (6, 3), (0, 6))}) == 3


def legend_of(ax):
    return ax.get_legend().get_texts(), ax.get_legend().get_patches()


def test_heatmap_of_nothing_that_can_be_drawn_still_draws(ax):
    table = norms_of(-1.0)
    plot_norms(
        table._replace(log_norm=np.full((7, 7), np.nan), certified=np.zeros((7, 7), bool)),
        log_bound_rate=-1.0,
        ax=ax,
    )
    assert np.ma.getmaskarray(image_of(ax)).all() and labels(ax) == ["NaN"]


@pytest.mark.parametrize("rate", [-2.0, 2.0])
def test_bound_contours_stand_at_powers_of_ten_of_the_bound(ax, rate):
    plot_norms(norms_of(rate), log_bound_rate=rate, ax=ax)
    (contour,) = contours(ax)
    levels = np.asarray(contour.levels)
    assert len(levels) >= 2 and (np.sign(levels) == np.sign(rate)).all()
    np.testing.assert_array_equal(levels, levels.round())
    for level, path in zip(levels, contour.get_paths(), strict=True):
        k, t = path.vertices.T
        np.testing.assert_allclose((t - k) * rate / LN10, level, atol=1e-6)


def test_a_flat_bound_is_written_instead_of_drawn(ax):
    plot_norms(norms_of(0.01), log_bound_rate=0.01, ax=ax)
    assert not contours(ax) and f"{0.01 / LN10:+.4f} decades a step" in ax.get_title()
    plain = ax.figure.add_subplot()
    plot_norms(norms_of(-2.0), ax=plain)
    assert not contours(plain) and not plain.get_title()


def test_heatmap_wants_one_sequence(ax):
    with pytest.raises(ValueError, match=r"plot_norms: log_norm has shape \(2, 3, 3\)"):
        plot_norms(Norms(*np.zeros((2, 2, 3, 3)), np.ones((2, 3, 3), bool)), ax=ax)


def depth_of(tables):
    """A dict as of block_norms(by="layer"), whose row "top" is given."""
    return {"0": {}, "top": {of: Norms(t, np.zeros_like(t), np.isfinite(t)) for of, t in tables.items()}}


@pytest.mark.parametrize("rows", [slice(None), slice(-1, None)], ids=["all pairs", "at=[T]"])
def test_depth_time_shows_the_last_row_of_the_top_layer_by_lag(ax, rows):
    lower, top = norms_of(-0.5), norms_of(0.25)
    lower.log_norm[6, 6], lower.log_norm[6, 0] = -np.inf, np.nan
    blocks = depth_of({"0": lower.log_norm[rows], "top": top.log_norm[rows]})
    assert plot_depth_time(blocks, ax=ax) is ax
    for row, table in zip(image_of(ax), (lower, top), strict=True):
        expected = table.log_norm[6, 5::-1] / LN10
        np.testing.assert_allclose(np.ma.filled(row, np.nan), expected)
    assert ax.images[-1].get_extent() == [0.5, 6.5, -0.5, 1.5]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "top"]
    assert "steps" in ax.get_xlabel() and "layer" in ax.get_ylabel() and labels(ax) == ["NaN"]
    assert r"\log_{10}" in ax.figure.axes[1].get_ylabel()


def test_depth_time_hatches_at_the_lag_that_is_not_certified(ax):
    blocks = depth_of({"top": norms_of(-1.0).log_norm})
    blocks["top"]["top"].certified[6, 4] = False
    plot_depth_time(blocks, ax=ax)
    assert hatched(ax) == {(0, 2)}


@pytest.mark.parametrize(
    "table",
    [np.zeros((2, 3, 3)), norms_of(-1.0).log_norm[3:4], norms_of(-1.0).log_norm[-1:, ::-1], np.zeros((1, 1))],
    ids=["batch", "earlier time", "lags", "T = 0"],
)
def test_depth_time_wants_all_k_of_the_last_step(ax, table):
    with pytest.raises(ValueError, match=r"plot_depth_time: the tables have shape"):
        plot_depth_time(depth_of({"top": table}), ax=ax)


def test_without_axes_a_new_figure_is_made():
    before = plt.get_fignums()
    for ax in (plot_norm_by_lag(NormByLag(*np.zeros((4, 3)))), plot_norms(norms_of(-1.0))):
        assert ax.figure.number not in before
        plt.close(ax.figure)
    assert plt.get_fignums() == before
