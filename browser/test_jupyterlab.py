"""The notebook with live controls in a real JupyterLab: Run All, move a control, the picture changes."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "explore.ipynb"
QUIET = {
    "IdentityProvider.token": "",
    "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    "ServerApp.allow_root": "True",
    "ServerApp.open_browser": "False",
    "ServerApp.port": "0",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a JupyterLab with the notebook alone in its folder."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(NOTEBOOK, folder)
    options = [f"--{name}={value}" for name, value in QUIET.items()]
    log = folder.parent / "lab.log"
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}", *options]
    # make sets a backend that draws into files, which the kernel would inherit.
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process,
    ):
        try:
            yield _address(process, log)
        finally:
            process.terminate()


def _address(process, log):
    """From the server's log, within a minute."""
    for _ in range(120):
        for line in log.read_text().splitlines():
            if (start := line.find("http://localhost:")) >= 0:
                return line[start:].split("/lab")[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.5)
    raise TimeoutError(log.read_text())


def test_run_all_then_move_a_control_and_the_picture_changes(open_page, server):
    page = open_page(f"{server}/lab/tree/explore.ipynb", viewport={"width": 1400, "height": 1200})
    # Asked to run before its kernel is there, JupyterLab asks back which kernel is meant.
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("#jp-mainmenu-run").get_by_text("Run All Cells", exact=True).click()
    picture = page.locator(".jupyter-widgets img")
    expect(picture).to_be_visible(timeout=120_000)
    before = picture.get_attribute("src")

    page.locator(".jupyter-widgets", has_text="lag").last.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".widget-readout", has_text="21")).to_be_visible()
    expect(picture).not_to_have_attribute("src", before, timeout=30_000)

    changed = picture.get_attribute("src")
    page.get_by_role("button", name="gru", exact=True).click()
    expect(picture).not_to_have_attribute("src", changed, timeout=60_000)
    expect(page.get_by_role("combobox", name="activation")).to_be_disabled()
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
