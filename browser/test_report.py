"""The report in a real browser: it answers pointer, keyboard and slider with the numbers of results.npz."""

import re

import jax
import numpy as np
import pytest
from playwright.sync_api import expect

import jaxrnn
from jaxrnn.cli import main

WIDE, NARROW = {"width": 1400, "height": 1000}, {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    options = "--task adding --length 60 --cell elman,lstm --hidden 8 --steps 60 --windows full --seeds 1"
    assert main(["report", *options.split(), "--quiet", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def snapshots(folder):
    """name of the cell -> Snapshots."""
    return {name: study.snapshots for name, study in jaxrnn.load(folder / "results.npz")["studies"].items()}


@pytest.fixture
def page(open_page, folder):
    return open_page((folder / "index.html").as_uri(), viewport=WIDE)


def shown(page):
    """(t, k, log10 of the norm) that the panel says."""
    text = page.locator("#pair").inner_text().replace("−", "-")
    t, k = re.search(r"t = (\d+), k = (\d+)", text).groups()
    norm = re.search(r"log₁₀: (-?[\d.]+)", text)
    return int(t), int(k), float(norm[1])


def expected(found, moment, t, k):
    row, column = (int(np.flatnonzero(found.times == step)[0]) for step in (t, k))
    return found.spectra.log_sigma[moment, row, column, 0] / np.log(10)


def point_at(page, found, t, k):
    """Move the pointer to the middle of a pair's cell; margins are those of explorer.js."""
    box = page.locator("#map").bounding_box()
    cell = (box["width"] - 44 - 8) / len(found.times)
    row, column = (int(np.flatnonzero(found.times == step)[0]) for step in (t, k))
    page.mouse.move(box["x"] + 44 + (column + 0.5) * cell, box["y"] + box["height"] - 38 - (row + 0.5) * cell)


def test_the_page_is_one_small_file(folder):
    assert (folder / "index.html").stat().st_size < 2_000_000


def test_the_pointer_is_answered_with_that_pairs_norm(page, snapshots):
    found = snapshots["elman"]
    assert list(found.times) == list(range(0, 61, 2))
    for t, k in [(60, 30), (8, 8), (44, 2)]:
        page.locator("#map").scroll_into_view_if_needed()
        point_at(page, found, t, k)
        assert shown(page)[:2] == (t, k)
        assert abs(shown(page)[2] - expected(found, -1, t, k)) < 1e-3
        expect(page.locator("#pair")).to_contain_text("Certified")
    assert page.locator("#spectrum circle").count() == int(found.spectra.certified[-1, 22, 1].sum())


def test_the_slider_goes_back_through_the_training(page, snapshots):
    found, slider = snapshots["elman"], page.locator("#moment")
    assert list(found.steps) == [0, 20, 40, 60]
    at_end, before = shown(page), page.locator("#by-lag path").first.get_attribute("d")
    slider.focus()
    for moment in (2, 1, 0):
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#steps")).to_have_text(str(found.steps[moment]))
        assert abs(shown(page)[2] - expected(found, moment, 60, 0)) < 1e-3
    assert shown(page) != at_end and page.locator("#by-lag path").first.get_attribute("d") != before


def test_arrow_keys_move_on_the_map_and_stop_at_its_edge(page, snapshots):
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    assert shown(page)[:2] == (60, 2)
    page.keyboard.press("Shift+ArrowDown")
    t, k, norm = shown(page)
    assert (t, k) == (50, 2) and abs(norm - expected(snapshots["elman"], -1, t, k)) < 1e-3
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert shown(page)[:2] == (50, 50)
    page.keyboard.press("ArrowDown")
    assert shown(page)[:2] == (50, 50), "t cannot be before k"


def test_a_pair_can_be_typed_and_is_brought_into_range(page):
    for name, value, pair in [("k", "31", (60, 30)), ("t", "20", (20, 20)), ("t", "999", (60, 20))]:
        page.locator(f"#{name}").fill(value)
        page.keyboard.press("Tab")
        assert shown(page)[:2] == pair


def test_another_network_shows_its_own_numbers(page, snapshots):
    page.get_by_label("lstm", exact=True).first.check()
    assert abs(shown(page)[2] - expected(snapshots["lstm"], -1, 60, 0)) < 1e-3
    expect(page.locator("#pair")).to_contain_text(re.compile("of 16|All 16"))


def test_curves_are_switched_on_and_off(page):
    for chart, label, before, after in [("#by-lag", "lstm", 2, 1), ("#loss", "elman, full BPTT", 2, 1)]:
        assert page.locator(f"{chart} path").count() == before
        page.locator(f"{chart}-legend").get_by_label(label, exact=True).click()
        assert page.locator(f"{chart} path").count() == after


def test_every_control_has_a_name_and_the_panel_is_announced(page):
    names = page.locator("#explorer").aria_snapshot()
    for line in [
        'slider "Training step',
        'radio "elman" [checked]',
        'spinbutton "t"',
        'spinbutton "k"',
        "status",
    ]:
        assert line in names, names
    assert (
        page.locator("#explorer").get_by_role("application").get_attribute("aria-label").startswith("Norms")
    )
    assert page.locator("#moment").get_attribute("aria-valuetext") == "60 training steps"


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_light_and_dark_fit_the_window(open_page, folder, viewport):
    grounds, maps = {}, {}
    for scheme in ("light", "dark"):
        page = open_page((folder / "index.html").as_uri(), viewport=viewport, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        maps[scheme] = page.evaluate("document.getElementById('map').toDataURL()")
    assert grounds["light"] == "rgb(255, 255, 255)" and grounds["dark"] != grounds["light"]
    assert maps["dark"] != maps["light"], "the map is drawn in the colours of the page"


def test_without_scripts_the_pictures_are_there_and_the_controls_are_not(open_page, folder):
    page = open_page((folder / "index.html").as_uri(), java_script_enabled=False)
    assert page.locator("img").count() == 7 and not page.locator("#explorer").is_visible()


def test_what_the_browser_unpacks_is_what_the_tables_hold(page, snapshots):
    """All pairs at once, also those nobody points at."""
    found = snapshots["lstm"]
    text = page.evaluate(
        "(() => { const n = JSON.parse(document.getElementById('numbers').textContent)[1];"
        " const b = Uint8Array.from(atob(n.norm), (c) => c.charCodeAt(0));"
        " return Array.from(new Float32Array(b.buffer)); })()"
    )
    t, k = np.tril_indices(len(found.times))
    expected = jax.tree.leaves(found.spectra)[0][:, t, k, 0] / np.log(10)
    np.testing.assert_allclose(np.reshape(text, expected.shape), expected, rtol=1e-6)
