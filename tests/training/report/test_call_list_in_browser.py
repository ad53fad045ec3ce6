"""The call list in Chromium: filters find the lead, nothing is loaded, and it can be read by everyone."""

from __future__ import annotations

import polars as pl
import pytest
from browser import MARKS, axe_violations, chromium, open_page
from small_model import build_small_model

from training.call_list import CallListOptions, call_list_of_file
from training.data.dataset import flat_features, flat_rows
from training.report.call_list_page import call_list_page

pytestmark = MARKS
LEADS = pl.DataFrame(
    {
        "lead_id": [f"L{n:03}" for n in range(60)],
        "visits": [float(n % 31) for n in range(60)],
        "city": [("Bern", "Graz", None)[n % 3] for n in range(60)],
    }
)


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module", params=["en", "de"])
def page_path(request, tmp_path_factory):
    folder, features = tmp_path_factory.mktemp("list"), flat_features(LEADS, ())
    model = build_small_model(features, flat_rows(features, LEADS), flat=True, id_column="id")
    own = pl.DataFrame(
        {"name": [f"Frau Österle {n}" for n in range(60)], "owner": ["Ada", "Ben", "Cem & Co"] * 20}
    )
    LEADS.rename({"lead_id": "id"}).hstack(own).write_csv(folder / "leads.csv")
    options = CallListOptions(60, "owner", ("name",), request.param)
    page = call_list_page(call_list_of_file(model, folder / "leads.csv", options, print), request.param)
    (folder / "list.html").write_text(page, encoding="utf-8")
    return folder / "list.html"


def visible(page):
    return [lead.inner_text() for lead in page.locator(".leads > li").all() if lead.is_visible()]


@pytest.mark.parametrize("width", [390, 1440])
def test_filters_find_leads_and_nothing_is_loaded(browser, page_path, width):
    with open_page(browser, page_path, width) as page:
        assert len(visible(page)) == 60
        page.fill("#search", "österle 17")
        (text,) = visible(page)
        assert "Frau Österle 17" in text
        page.fill("#search", "")
        page.select_option("#owner", "Cem & Co")
        assert len(visible(page)) == 20
        grade = page.locator(".leads > li:visible").first.get_attribute("data-grade")
        page.select_option("#grade", grade)
        assert 0 < len(visible(page)) <= 20
        assert str(len(visible(page))) in page.locator("#count").inner_text()
        assert page.console_lines == []
        assert page.requested_urls == [page_path.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nobody_is_shut_out(browser, page_path):
    with open_page(browser, page_path) as page:
        page.locator("summary").first.click()
        assert axe_violations(page) == []
