"""A headless Chromium, and pages that may ask for nothing from outside."""

import os
import shutil

import pytest
from pages import QUICK_XLA
from playwright.sync_api import sync_playwright

os.environ.setdefault("XLA_FLAGS", QUICK_XLA)

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.fail("no Chromium on this machine; install one, such as with: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """url -> page; fails at the end if a page had an error or asked for an address that is not local."""
    contexts, troubles = [], []

    def open_(url, **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda r: troubles.append(r.url) if not _local(r.url, url) else None)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not troubles


def _local(url, start):
    """Of a file, only itself; of a server, only that server."""
    allowed = start if start.startswith("file:") else "/".join(start.split("/")[:3])
    return url.startswith((allowed, "data:", "blob:", allowed.replace("http", "ws")))
