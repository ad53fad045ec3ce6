"""Chromium for tests: a page opened from a file, with its console lines and the requested URLs."""

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
def open_page(browser, path, width=1440, **context_options):
    """The file in a page that may load nothing else. It has ``console_lines`` and ``requested_urls``."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **context_options)
    page = context.new_page()
    page.console_lines, page.requested_urls = [], []
    page.on("console", lambda message: page.console_lines.append(message.text))
    page.on("pageerror", lambda error: page.console_lines.append(str(error)))
    page.on("request", lambda request: page.requested_urls.append(request.url))
    context.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
    page.goto(path.as_uri())
    yield page
    context.close()


def axe_violations(page, selector=None, rules=None):
    """What axe finds wrong with the page, or with the part of it at ``where``."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    report = axe.Axe().run(page, context=selector, options=rules or {}).response
    assert len(report["passes"]) >= 1
    return [f"{violation['id']}: {violation['nodes'][0]['html'][:200]}" for violation in report["violations"]]
