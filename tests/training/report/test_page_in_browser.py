"""The page in Chromium: it works, loads nothing, obeys the keyboard, and holds what it offers to save."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import pytest
from browser import MARKS, axe_violations, chromium, open_page
from report_inputs import report_input

from models import artifact
from training.analysis.inputs import report_input as of_fitted
from training.analysis.inputs import report_settings
from training.config.settings import load_config
from training.data.load import read_dataset
from training.pipeline.fit_model import train_model
from training.report.layout import BLOCKS
from training.report.render import render
from training.report.report import build_report
from training.simulation.export import write_csv
from training.simulation.simulator import simulate

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module", params=["history", "flat"])
def page_path(request, tmp_path_factory):
    """The page of a company with a history, and of a flat export that knows no time."""
    folder = tmp_path_factory.mktemp(request.param)
    inputs = of_a_history(folder) if request.param == "history" else report_input(600, time_ordered=False)
    report = build_report(inputs)
    path = folder / "report.html"
    path.write_text(render(report), encoding="utf-8")
    return path, report


def of_a_history(folder):
    """The demo's company, smaller: read from its export, trained, evaluated on later leads."""
    write_csv(simulate(1000, seed=3), folder)
    config = load_config(folder / "leadloop.toml")
    fitted = train_model(read_dataset(config, folder), config.training)
    model = artifact.save(fitted.model, folder / "model")
    return of_fitted(fitted, model, company=report_settings(config))


@pytest.fixture
def page(browser, page_path):
    with open_page(browser, page_path[0]) as visible:
        yield visible


def test_a_page_says_nothing_to_the_console_and_asks_for_nothing(page, page_path):
    page.click('button[data-lang="de"]')
    page.locator("#slider").press("ArrowRight")
    assert page.console_lines == []
    assert page.requested_urls == [page_path[0].as_uri()]


def test_every_block_is_there_or_says_why_not(page):
    for block in BLOCKS:
        section = page.locator(f"section#{block}")
        assert section.count() == 1
        assert len(section.inner_text()) > 40


def test_a_key_on_the_slider_moves_figures_and_dot(page, page_path):
    report = page_path[1]
    slider, says, dot = page.locator("#slider"), page.locator("#slider-says"), page.locator(".chosen")
    before = says.inner_text(), dot.get_attribute("cx")
    slider.focus()
    slider.press("End")
    assert before != (says.inner_text(), dot.get_attribute("cx"))
    assert "100% of all" in says.inner_text()
    whole = report.worth.weekly or 100
    per_week = whole * report.summary.base_rate
    digits = 1 if per_week < 10 else 0
    assert f"about {per_week:,.{digits}f}".removesuffix(".0") in says.inner_text()
    assert slider.get_attribute("aria-valuetext") == says.inner_text()
    assert says.get_attribute("aria-live") == "polite"


def test_the_language_is_switched_without_another_page(page):
    page.click('button[data-lang="de"]')
    assert page.evaluate("document.documentElement.lang") == "de"
    assert page.locator("#worth h2").inner_text() == "Nutzen des Modells"
    assert page.title().startswith("Lead-Scoring-Bericht")
    page.locator("#slider").press("Home")
    assert "Leads" in page.locator("#slider-says").inner_text()
    page.click('button[data-lang="en"]')
    assert page.locator("#worth h2").inner_text() == "Value of the model"
    assert page.evaluate("document.activeElement.dataset.lang") == "en"


def test_a_download_holds_the_table(page, page_path):
    with page.expect_download() as started:
        page.locator("#calibration a[download]").last.scroll_into_view_if_needed()
        page.locator("section#calibration h3:has-text('Grades') ~ p a[download]").first.click()
    assert started.value.suggested_filename == "predicted-and-observed-by-grade.csv"
    text = Path(started.value.path()).read_text(encoding="utf-8-sig")
    head, *rows = csv.reader(StringIO(text))
    assert head == ["Grade", "Leads", "Predicted", "Observed (interval)", *head[4:]]
    assert len(head) == 6
    grades = page_path[1].calibration.grades
    assert [row[0] for row in rows] == [grade.name for grade in grades]
    assert [float(row[4]) for row in rows] == pytest.approx([grade.observed.low for grade in grades])


@pytest.mark.parametrize("width", [1440, 390])
def test_a_page_fits(browser, page_path, width):
    with open_page(browser, page_path[0], width) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("scheme", "where", "rules"),
    [("light", None, {}), ("dark", "#worth", {"runOnly": ["color-contrast"]})],
)
def test_a_page_is_accessible(browser, page_path, scheme, where, rules):
    """The dark page has the same elements, so only its colours are looked at, where each of them is used."""
    with open_page(browser, page_path[0], 390, color_scheme=scheme) as page:
        assert axe_violations(page, where, rules) == []


def test_without_scripts_the_page_is_whole(browser, page_path):
    with open_page(browser, page_path[0], java_script_enabled=False) as page:
        assert not page.locator("#slider").is_visible()
        assert not page.locator(".languages").is_visible()
        page.locator("#worth summary").first.click()
        assert page.locator("#worth details table").first.is_visible()


def test_paper_shows_the_tables_and_hides_what_cannot_be_pressed(page):
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#calibration details table").first.is_visible()
    assert not page.locator("#slider").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
