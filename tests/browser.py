"""Chromium for tests: a page opened from a file, with what it said and asked for."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium of the system"),
    # Playwright's own clean-up may leave a socket to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@contextmanager
def chromium():
    """The system's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def opened(browser, path, width=1440, **given):
    """The file in a page, which is kept from loading anything: what it ``said`` and what it ``asked`` for."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **given)
    page = context.new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    context.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
    page.goto(path.as_uri())
    yield page
    context.close()


def violations(page, where=None, rules=None):
    """What axe finds wrong with the page, or with the part of it at ``where``."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    found = axe.Axe().run(page, context=where, options=rules or {}).response
    assert len(found["passes"]) >= 1
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]
